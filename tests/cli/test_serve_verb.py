"""The verb serve: its address, its key, several runs, and signals."""

import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import in_group


@pytest.fixture
def run(seqlab: Callable, tiny: list[str]) -> str:
    """A run of a small model over the story."""
    assert seqlab(*tiny, "tokenizer=byte", "name=river").status == 0
    return "run=last"


def start(*words: str, folder: Path) -> tuple[Any, str]:
    """A server on a free port, and its address."""
    command = [sys.executable, "-m", "seqlab", "serve", *words, "device=cpu", "port=0"]
    process = in_group(command, cwd=folder, stdout=-1, stderr=-2, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    lines = []
    for line in process.stdout:
        lines.append(line)
        if found := re.match(r"page +(http://\S+)", line):
            return process, found[1]
    raise AssertionError("".join(lines))


def test_a_signal_lets_answers_end(run: str, tmp_path: Path) -> None:
    process, url = start(run, "max_new_tokens=1000000", folder=tmp_path)
    assert httpx.get(f"{url}/v1/models").json()["data"][0]["id"] == "river"
    body = {"prompt": "The", "max_tokens": 3000, "logit_bias": {"256": -100}, "seed": 1}
    found: list[Any] = []
    client = threading.Thread(
        target=lambda: found.append(httpx.post(f"{url}/v1/completions", json=body, timeout=60).json())
    )
    client.start()
    while 'running_texts{model="river"} 1.0' not in httpx.get(f"{url}/metrics").text:
        pass
    process.send_signal(signal.SIGTERM)
    client.join()
    assert found[0]["usage"]["completion_tokens"] == 3000
    assert process.wait(30) in (0, -signal.SIGTERM)
    assert "Traceback" not in process.stdout.read()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")


def test_several_runs(run: str, tiny: list[str], seqlab: Callable, tmp_path: Path) -> None:
    assert seqlab(*tiny, "tokenizer=byte", "name=mill").status == 0
    process, url = start("run=[river,mill]", folder=tmp_path)
    assert [model["id"] for model in httpx.get(f"{url}/v1/models").json()["data"]] == ["river", "mill"]
    process.send_signal(signal.SIGINT)
    process.wait(30)
    assert "Traceback" not in process.stdout.read()


def test_addresses_that_cannot_be_had(run: str, seqlab: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        for words, message in (
            ([f"port={port}"], f"port={port} of 127.0.0.1 cannot be used"),
            (["port=99999999"], "cannot be used"),
            (["port=-1"], "port=-1 does not fit"),
            (["host=0.0.0.0"], "put a key that they need into $SEQLAB_API_KEY first"),
            (["host=example.org"], "put a key that they need into $SEQLAB_API_KEY first"),
            (["max_rows=0"], "max_rows=0 does not fit"),
            (["timeout=0"], "timeout=0 does not fit"),
            (["run=[river,river]"], "is served as river already: name it once"),
        ):
            given = words if words[0].startswith("run=") else [run, *words]
            answer = seqlab("serve", *given, "device=cpu")
            assert answer.status != 0
            assert message in " ".join(answer.err.split()), answer.err
