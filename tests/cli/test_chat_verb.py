"""The verb chat on a terminal of 80 columns: answers as they come, commands, Ctrl-C, and a pipe in its place."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from terminal import Terminal


@pytest.fixture
def run(seqlab: Callable, tiny: list[str]) -> str:
    """A run of a small model over the story, with room for a conversation."""
    assert seqlab(*tiny, "data.context_length=256", "data.val_fraction=0.3", "tokenizer=byte").status == 0
    return "run=last"


def test_a_conversation(run: str, tmp_path: Path) -> None:
    terminal = Terminal("chat", run, "device=cpu", "max_new_tokens=60", folder=tmp_path)
    terminal.wait_for("> $")
    assert "a plain transcript" in terminal.shown
    for line, expected in (
        ("Hello there\r", r"\d+ tokens, [\d.]+ tokens/s\)\n> $"),
        ('"""one\rtwo"""\r', r"tokens/s\)\n> $"),
        ("/retry\r", r"tokens/s\)\n> $"),
        ("/set temperature=0\r", r"temperature=0, .*\n> $"),
        ("/set temperature=-1\r", r"temperature=-1 does not fit: it must be a number of at least 0.\n> $"),
        ("/set colour=red\r", r"colour is not one of max_new_tokens[\s\S]*\n> $"),
        ("/set top_k=3\r", r"top_k=3 has no effect at temperature=0[\s\S]*\n> $"),
        ("/set temperature=0.5 top_k=none seed=x\r", r"seed=x does not fit[\s\S]*\n> $"),
        ("/set\r", r"temperature=0, (?!.*top_k).*\n> $"),  # nothing of what was refused
        ("/fly\r", r"/fly is not a command."),
        ("/save talk.json\r", r"written     talk.json\n> $"),
        ("/reset\r", r"A new conversation.\n> $"),
        ("/retry\r", r"no message to answer again: type one.\n> $"),
        ("/help\r", r"stops an answer\n> $"),
        ("x" * 300 + "\r", r"this model reads at most 256: shorten it.\n> $"),
    ):
        before = len(terminal.shown)
        terminal.type_in(line)
        terminal.wait_for(expected, before)
    terminal.type_in("/quit\r")
    shown = terminal.finish()
    assert terminal.process.returncode == 0
    assert "Traceback" not in shown
    too_long = [line for line in shown.split("\n") if len(line) > 80 and "xxxx" not in line]
    assert too_long == []
    talk = json.loads((tmp_path / "talk.json").read_text())
    assert [message["role"] for message in talk] == ["user", "assistant"] * 2
    assert [message["content"] for message in talk[::2]] == ["Hello there", "one\ntwo"]


def test_ctrl_c_stops_an_answer_and_not_the_program(run: str, tmp_path: Path) -> None:
    terminal = Terminal("chat", run, "device=cpu", "max_new_tokens=1000000", folder=tmp_path)
    terminal.wait_for("> $")
    terminal.type_in("Hello\r")
    terminal.wait_for(r"Hello\n[\s\S]")  # it answers
    terminal.process.send_signal(signal.SIGINT)
    terminal.wait_for(r"stopped\)\n> $")
    time.sleep(0.5)  # until the line is read
    terminal.process.send_signal(signal.SIGINT)
    terminal.wait_for(r"/quit leaves\)\n> $")
    terminal.type_in("\x04")
    assert "Traceback" not in terminal.finish()
    assert terminal.process.returncode == 0


def test_turns_that_do_not_fit_are_left_out_and_said(run: str, tmp_path: Path) -> None:
    terminal = Terminal("chat", run, "device=cpu", "max_new_tokens=40", folder=tmp_path)
    for number in range(4):
        terminal.wait_for("> $", len(terminal.shown) - 2)
        before = len(terminal.shown)
        terminal.type_in(f"Message {number} of some length, so that it takes room\r")
        terminal.wait_for(r"tokens/s\)\n> $", before)
    terminal.type_in("/quit\r")
    assert "older messages do not fit into the context any more" in terminal.finish()


def test_a_pipe_is_answered_line_by_line(run: str, seqlab: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("Hello\n/quit\n"))
    answer = seqlab("chat", run, "device=cpu", "max_new_tokens=5")
    assert answer.status == 0
    assert "> " not in answer.out


def test_what_is_no_language_model_is_refused(seqlab: Callable) -> None:
    assert seqlab("train", "model=gru", "trainer.max_epochs=1", "device=cpu").status == 0
    for verb in ("chat", "serve"):
        answer = seqlab(verb, "run=last", "device=cpu")
        assert answer.status != 0
        assert "is not a language model" in answer.err
