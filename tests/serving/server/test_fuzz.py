"""A thousand requests of wrong shapes: each is refused in a sentence, and the server answers the next one."""

import json
import random
from collections.abc import Callable
from typing import Any

import httpx

PATHS = ["/v1/completions", "/v1/chat/completions"]
GOOD = {
    "/v1/completions": {"model": "tiny", "prompt": "One", "max_tokens": 2, "temperature": 0},
    "/v1/chat/completions": {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 2,
        "temperature": 0,
    },
}
ODD: list[Any] = [
    None, True, -1, 0, 1e308, 10**40, "", "x", "\ud800", "\0", [], [[]], [None], {}, {"a": {"b": []}}, [[-1]], [10**9],
    ["a", 1], [{"role": "user"}], [{"role": "user", "content": None}], [{"role": [], "content": {}}], "NaN", 0.5, [True],
]  # fmt: skip
KEYS = """model prompt messages max_tokens temperature top_p top_k min_p n stop seed logit_bias stream stream_options logprobs
top_logprobs min_tokens repetition_penalty user max_completion_tokens tools echo best_of response_format""".split()
BODIES = [b"", b"{", b"[]", b"null", b"5", b'"x"', b"\xff\xfe", b"[" * 3000, b'{"a":' * 500, b'{"prompt": NaN}']


def make_request(rng: random.Random) -> tuple[str, bytes]:
    """A path, and a body that is odd in one or several places."""
    path = rng.choice(PATHS)
    if rng.random() < 0.1:
        return path, rng.choice(BODIES)
    body: dict[str, Any] = dict(GOOD[path])
    for _ in range(rng.randint(1, 3)):
        key = rng.choice(KEYS)
        if rng.random() < 0.15:
            body.pop(key, None)
        else:
            body[key] = rng.choice(ODD)
    return path, json.dumps(body).encode()


def test_no_request_ends_the_server(serve: Callable) -> None:
    url = serve(new_tokens=8).url
    rng = random.Random(0)
    refused = 0
    with httpx.Client(base_url=url, timeout=30) as client:
        for number in range(1000):
            path, body = make_request(rng)
            kind = "application/json" if rng.random() < 0.95 else rng.choice(["text/plain", "", "multipart/form-data"])
            answer = client.post(path, content=body, headers={"Content-Type": kind})
            assert answer.status_code < 500, (number, body, answer.text)
            if answer.status_code != 200:
                refused += 1
                message = answer.json()["error"]["message"]
                assert message.endswith("."), message
                assert "Traceback" not in message
            if number % 50 == 0:
                assert client.post(path, json=GOOD[path]).status_code == 200
        for method in ("PUT", "DELETE", "PATCH", "GET"):
            assert client.request(method, "/v1/completions").status_code == 405
        assert client.get("/../etc/passwd").status_code == 404
        assert "Allow" in client.put("/v1/completions").headers
    assert 600 < refused < 1000
