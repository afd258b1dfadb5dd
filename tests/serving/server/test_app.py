"""The server by OpenAI's own client: texts, conversations, streams, samples, stop strings, probabilities, refusals."""

import concurrent.futures
import random
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

TALK: Any = [{"role": "user", "content": "Hi"}]
DRAWN: dict[str, Any] = {"max_tokens": 24, "temperature": 1.0, "seed": 5}


def connect(url: str, key: str = "none") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


def test_texts_are_those_of_the_notebook(serve: Callable, make_run: Callable) -> None:
    run = make_run(context_length=128)
    client = connect(serve({"tiny": run}).url)
    assert [model.id for model in client.models.list()] == ["tiny"]
    found = client.completions.create(model="tiny", prompt="One", **DRAWN)
    options = {"max_new_tokens": 24, "temperature": 1.0}
    assert found.choices[0].text == run.generate("One", seed=5, **options)
    assert found.choices[0].finish_reason == "length"
    assert (found.usage.prompt_tokens, found.usage.completion_tokens, found.usage.total_tokens) == (3, 24, 27)
    several = client.completions.create(model="tiny", prompt=["One", "Two"], n=2, **DRAWN)
    alone = [run.generate(prompt, seed=seed, **options) for prompt in ("One", "Two") for seed in (5, 6)]
    assert [choice.text for choice in several.choices] == alone
    assert several.usage.prompt_tokens == 6
    by_ids = client.completions.create(model="tiny", prompt=[list(b"One"), list(b"Two")], **DRAWN)
    assert [choice.text for choice in by_ids.choices] == alone[::2]


def test_conversations_are_those_of_the_notebook(serve: Callable, make_run: Callable) -> None:
    run = make_run(style="phi", context_length=128)
    client = connect(serve({"tiny": run}).url)
    found = client.chat.completions.create(model="tiny", messages=TALK, **DRAWN)
    assert found.choices[0].message.role == "assistant"
    assert found.choices[0].message.content == run.chat(TALK, max_new_tokens=24, temperature=1.0, seed=5)
    parts: Any = [{"role": "user", "content": [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]}]
    assert (
        client.chat.completions.create(model="tiny", messages=parts, **DRAWN).choices[0].message
        == found.choices[0].message
    )


@pytest.mark.parametrize("n", [1, 3])
def test_streams_add_up_to_the_whole(n: int, serve: Callable) -> None:
    client = connect(serve().url)
    options: Any = DRAWN | {"model": "tiny", "n": n, "stream_options": {"include_usage": True}}
    whole = client.completions.create(prompt="日本", **{k: v for k, v in options.items() if k != "stream_options"})
    texts, reasons = [""] * n, [None] * n
    for chunk in client.completions.create(prompt="日本", stream=True, **options):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            reasons[choice.index] = choice.finish_reason or reasons[choice.index]
    assert texts == [choice.text for choice in whole.choices]
    assert reasons == [choice.finish_reason for choice in whole.choices]
    assert chunk.usage == whole.usage
    said = client.chat.completions.create(messages=TALK, **{k: v for k, v in options.items() if k != "stream_options"})
    answers = [""] * n
    for chunk in client.chat.completions.create(messages=TALK, stream=True, **options):
        for choice in chunk.choices:
            answers[choice.index] += choice.delta.content or ""
    assert answers == [choice.message.content for choice in said.choices]


def test_a_text_ends_before_a_stop_string(serve: Callable, make_run: Callable) -> None:
    client = connect(serve({"tiny": make_run("gru")}).url)
    whole = client.completions.create(model="tiny", prompt="One", **DRAWN).choices[0].text
    stop = whole[5:7]
    for given in (stop, ["\0never\0", stop]):
        choice = client.completions.create(model="tiny", prompt="One", stop=given, **DRAWN).choices[0]
        assert (choice.text, choice.finish_reason) == (whole[: whole.index(stop)], "stop")


def test_probabilities_are_told(serve: Callable, make_run: Callable) -> None:
    run = make_run(context_length=128)
    client = connect(serve({"tiny": run}).url)
    options: Any = {"model": "tiny", "max_tokens": 8, "temperature": 0}
    noted = client.completions.create(prompt="One", logprobs=2, **options).choices[0]
    ours = run.complete(["One"], max_new_tokens=8, logprobs=2)[0].sequence
    expected = [one.logprob for one in ours.logprobs]
    texts = [run.tokenizer.decode([token]) for token in ours.new_tokens]
    names = [
        f"token_id:{i}" if "\N{REPLACEMENT CHARACTER}" in t else t for i, t in zip(ours.new_tokens, texts, strict=True)
    ]
    assert noted.logprobs.tokens == names
    assert noted.logprobs.token_logprobs == pytest.approx(expected, abs=1e-4)
    assert noted.logprobs.text_offset == list(range(8))
    assert all(
        max(top.values()) == pytest.approx(one) for top, one in zip(noted.logprobs.top_logprobs, expected, strict=True)
    )
    many = client.completions.create(prompt="One", logprobs=20, **options).choices[0].logprobs
    assert {len(top) for top in many.top_logprobs} == {20}  # parts of characters have names of their own
    found = [top[name] for top, name in zip(many.top_logprobs, many.tokens, strict=True)]
    assert found == many.token_logprobs
    said = client.chat.completions.create(messages=TALK, logprobs=True, top_logprobs=3, **options).choices[0]
    assert len(said.logprobs.content) == 8
    assert all(len(one.top_logprobs) == 3 for one in said.logprobs.content)
    streamed = [
        one
        for chunk in client.chat.completions.create(
            messages=TALK, logprobs=True, top_logprobs=3, stream=True, **options
        )
        for choice in chunk.choices
        for one in (choice.logprobs.content if choice.logprobs else [])
    ]
    assert streamed == said.logprobs.content


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        ({"model": "other"}, 404, "model='other' is not served here: use tiny"),
        ({"max_tokens": 0}, 400, "max_tokens does not fit"),
        ({"max_tokens": 10**6}, 400, "more than this server gives"),
        ({"temperature": 3}, 400, "temperature does not fit"),
        ({"temperature": 0, "n": 2}, 400, "all the same"),
        ({"prompt": ""}, 400, "has no token"),
        ({"prompt": "a" * 200}, 400, "200 tokens, and this model reads at most 128"),
        ({"prompt": [999]}, 400, "There is no token 999: the ids of this tokenizer go from 0 to 256"),
        ({"prompt": [-1]}, 400, "There is no token -1"),
        ({"prompt": 5}, 400, "prompt does not fit"),
        ({"stop": ""}, 400, "would end every text"),
        ({"stop": 5}, 400, "stop does not fit"),
        ({"extra_body": {"stream": "yes"}}, 400, "stream does not fit"),
        ({"extra_body": {"strange": 5}}, 400, "strange is not supported here: leave it out"),
        ({"prompt": []}, 400, "0 texts in one request"),
        ({"prompt": ["a"] * 81}, 400, "81 texts in one request"),
        ({"extra_body": {"min_tokens": 20}}, 400, "min_new_tokens=20 is more than max_new_tokens=16"),
        ({"extra_body": {"stream_options": {}}}, 400, "stream_options has no effect without stream=true"),
        ({"logit_bias": {"a": 1}}, 400, "as whole numbers in quotes"),
        ({"logit_bias": {"999": 1}}, 400, "token 999"),
        ({"suffix": "x"}, 400, "suffix is not supported here: leave it out"),
    ],
)
def test_what_does_not_fit_is_refused(request_: Any, status: int, message: str, serve: Callable) -> None:
    client = connect(serve().url)
    with pytest.raises(openai.APIStatusError, match=message) as error:
        client.completions.create(**{"model": "tiny", "prompt": "One", **request_})
    assert error.value.status_code == status
    assert client.completions.create(model="tiny", prompt="One").choices


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "messages does not fit"),
        ([{"role": "user", "content": "a"}] * 513, "messages does not fit"),
        ([{"role": "robot", "content": "Hi"}], "messages.0.role does not fit"),
        ([{"role": "assistant", "content": "a"}, *TALK], "Message 1 answers nothing"),
        (
            [*TALK, {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}, *TALK],
            "Message 3 answers",
        ),
        ([{"role": "user", "content": "Hi", "name": "me"}], "messages.0.name is not supported here"),
        ([{"role": "user", "content": ""}], "The last message must be a user's"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "messages.0.content"),
        ([{"role": "user", "content": "a" * 500}], "this model reads at most 128: shorten it"),
    ],
)
def test_conversations_that_do_not_fit_are_refused(messages: Any, message: str, serve: Callable) -> None:
    with pytest.raises(openai.BadRequestError, match=message):
        connect(serve().url).chat.completions.create(model="tiny", messages=messages)


def test_a_key_is_needed_where_there_is_one(serve: Callable) -> None:
    url = serve(key="secret").url
    assert connect(url, "secret").models.list().data
    for key in ("wrong", "secret2", "Secret", "sécret"):
        answer = httpx.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {key}".encode()})
        assert answer.status_code == 401, key
        assert "key is missing or wrong" in answer.json()["error"]["message"]
    assert httpx.get(f"{url}/metrics").status_code == 401
    assert httpx.get(f"{url}/health").json() == {"status": "ok"}
    assert "<title>seqlab" in httpx.get(url).text


def test_several_runs_are_chosen_by_the_model(serve: Callable, make_run: Callable) -> None:
    runs = {"a": make_run(context_length=128), "b": make_run("gru")}
    client = connect(serve(runs).url)
    for name, run in runs.items():
        found = client.completions.create(model=name, prompt="One", **DRAWN).choices[0].text
        assert found == run.generate("One", max_new_tokens=24, temperature=1.0, seed=5)
    with pytest.raises(openai.NotFoundError, match="use one of a, b"):
        client.completions.create(model="c", prompt="One")


def test_what_has_no_place_in_the_queue_is_refused(serve: Callable) -> None:
    server = serve(rows=2, waiting=2)
    with pytest.raises(openai.BadRequestError, match=r"5 texts in one request .* ask for 1 to 4"):
        connect(server.url).completions.create(model="tiny", prompt="One", n=5)
    stream = connect(server.url).completions.create(
        model="tiny", prompt="One", n=3, stream=True, max_tokens=1000, logit_bias={"256": -100}
    )
    next(stream)
    with pytest.raises(openai.RateLimitError, match="try again later"):
        connect(server.url).completions.create(model="tiny", prompt="One", n=2)
    stream.response.close()
    assert_empty(server)
    assert len(connect(server.url).completions.create(model="tiny", prompt="One", n=4).choices) == 4


def test_an_answer_that_takes_too_long_is_ended(serve: Callable) -> None:
    server = serve(seconds=0.1, new_tokens=100_000)
    options: Any = {
        "model": "tiny",
        "prompt": "One",
        "max_tokens": 100_000,
        "logit_bias": {"256": -100},
    }  # without an end
    with pytest.raises(openai.InternalServerError, match="took too long") as error:
        connect(server.url).completions.create(**options)
    assert error.value.status_code == 504
    with pytest.raises(openai.APIError, match="took too long"):
        list(connect(server.url).completions.create(stream=True, **options))
    assert_empty(server)


def test_bodies_have_a_limit(serve: Callable) -> None:
    url = serve(body_bytes=1000).url
    for content in (b"x" * 2000, iter([b"x" * 600] * 3)):
        answer = httpx.post(f"{url}/v1/completions", content=content)
        assert answer.status_code == 413
        assert "send less" in answer.json()["error"]["message"]


def test_a_model_that_fails_is_said_and_the_server_lives(serve: Callable, make_run: Callable) -> None:
    run = make_run("uncached")
    server = serve({"tiny": run})
    forward = run.model.forward

    def fail(tokens: Any) -> Any:
        raise RuntimeError("out of memory")

    run.model.forward = fail
    with pytest.raises(openai.InternalServerError, match=r"The server failed \(GenerationError: out of memory\)"):
        connect(server.url).completions.create(model="tiny", prompt="One")
    run.model.forward = forward
    assert connect(server.url).completions.create(model="tiny", prompt="One").choices
    assert_empty(server)


def test_metrics_count_what_was_done(serve: Callable) -> None:
    server = serve()
    connect(server.url).completions.create(model="tiny", prompt="One", max_tokens=7, temperature=0)
    text = httpx.get(f"{server.url}/metrics").text
    assert 'seqlab_generated_tokens_total{model="tiny"} 7.0' in text
    assert 'seqlab_prompt_tokens_total{model="tiny"} 3.0' in text
    assert 'seqlab_requests_total{path="/v1/completions",status="200"} 1.0' in text
    assert 'seqlab_running_texts{model="tiny"} 0.0' in text


def test_many_clients_some_of_which_hang_up(serve: Callable, make_run: Callable) -> None:
    run = make_run(context_length=128)
    server = serve({"tiny": run}, rows=8, waiting=300)
    prompts = [f"Prompt {number} " * (1 + number % 5) for number in range(200)]

    def ask(number: int) -> str | None:
        rng = random.Random(number)
        client = connect(server.url)
        options: Any = {
            "model": "tiny",
            "prompt": prompts[number],
            "max_tokens": 30,
            "temperature": 1.0,
            "seed": number,
        }
        if rng.random() < 0.3:  # hangs up in the middle
            stream = client.completions.create(stream=True, **options)
            for _ in range(rng.randint(0, 5)):
                next(stream)
            stream.response.close()
            return None
        if rng.random() < 0.2:
            with pytest.raises((openai.APITimeoutError, openai.APIConnectionError)):
                client.with_options(timeout=0.02).completions.create(**options | {"max_tokens": 1000})
            return None
        return client.completions.create(**options).choices[0].text

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        found = list(pool.map(ask, range(200)))
    for number, text in enumerate(found):
        if text is not None:
            assert text == run.generate(prompts[number], max_new_tokens=30, temperature=1.0, seed=number), number
    assert_empty(server)


def assert_empty(server: Any) -> None:
    """No row is left of those who are gone."""
    for _ in range(500):
        text = httpx.get(f"{server.url}/metrics").text
        if 'running_texts{model="tiny"} 0.0' in text and 'waiting_texts{model="tiny"} 0.0' in text:
            break
    assert server.worker.listeners == {}
    assert server.worker.running == 0


def test_a_name_of_another_site_is_not_answered(serve: Callable) -> None:
    for key, statuses in ((None, [200, 200, 403, 403]), ("secret", [200, 200, 200, 200])):
        url = serve(key=key).url
        hosts = ["localhost:8000", "[::1]:8000", "evil.example", "127.0.0.1.evil.example:8000"]
        assert [httpx.get(f"{url}/health", headers={"Host": host}).status_code for host in hosts] == statuses


def test_a_conversation_of_many_turns_is_cut_in_moments(serve: Callable, make_run: Callable) -> None:
    client = connect(serve({"tiny": make_run(style="phi", context_length=128)}).url)
    turns: Any = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}] * 250
    found = client.chat.completions.create(model="tiny", messages=[*turns, *TALK], n=3, max_tokens=4)
    once = client.chat.completions.create(model="tiny", messages=[*turns, *TALK], max_tokens=4)
    assert found.usage.prompt_tokens == once.usage.prompt_tokens <= 124


def test_a_padded_vocabulary_is_not_reached(serve: Callable, make_run: Callable) -> None:
    run = make_run()
    run.config["model"]["vocab_size"] = 257
    run.tokenizer.vocab_size = 200  # the model's is larger
    client = connect(serve({"tiny": run}).url)
    with pytest.raises(openai.BadRequestError, match="There is no token 250"):
        client.completions.create(model="tiny", prompt=[250], extra_body={"repetition_penalty": 1.2})
    with pytest.raises(openai.BadRequestError, match="token 230"):
        client.completions.create(model="tiny", prompt="One", logit_bias={"230": 1})


def test_what_clients_send_without_asking_for_anything(serve: Callable) -> None:
    client = connect(serve().url)
    found = client.chat.completions.create(model="tiny", messages=TALK, max_tokens=4)
    talk: Any = [*TALK, found.choices[0].message.model_dump(), *TALK]  # as it came
    empty: Any = {"presence_penalty": 0, "n": None, "stop": None, "response_format": {"type": "text"}, "tools": []}
    assert client.chat.completions.create(model="tiny", messages=talk, max_tokens=4, extra_body=empty).choices
    assert client.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.BadRequestError, match="presence_penalty is not supported here"):
        client.chat.completions.create(model="tiny", messages=TALK, presence_penalty=0.5)
