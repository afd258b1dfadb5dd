"""Work continues where nobody reads what it prints, and what is printed fits the terminal."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seqlab.streams import BrokenPipeSafeStream, WordWrapper, ignore_broken_pipe, replace_control_characters


class Full(io.StringIO):
    """A stream that takes nothing."""

    def write(self, text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise OSError(5, "the terminal is gone")


def test_a_stream_without_a_reader_falls_silent() -> None:
    stream = BrokenPipeSafeStream(Full())
    assert stream.write("abc") == 3
    stream.flush()
    assert not stream.isatty()


def test_a_terminal_obeys_nothing_that_a_model_writes() -> None:
    written = "a\tb\r\nc\x1b[2J\x00\x9b\rd\N{FAMILY}\N{ZERO WIDTH JOINER}é\n"
    assert (
        replace_control_characters(written) == "a\tb\r\nc\ufffd[2J\ufffd\ufffd\ufffdd\N{FAMILY}\N{ZERO WIDTH JOINER}é\n"
    )


def test_streams_are_put_back(capsys: pytest.CaptureFixture) -> None:
    before = sys.stdout, sys.stderr
    with ignore_broken_pipe():
        print("heard")
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr().out == "heard\n"


def test_a_program_whose_reader_is_gone_comes_to_its_end() -> None:
    code = "import sys\nfrom seqlab.streams import ignore_broken_pipe\nwith ignore_broken_pipe():\n"
    code += "    for _ in range(100_000): print('and so on')\nsys.exit(7)"
    reader, writer = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    os.close(reader)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (7, "")


@pytest.mark.parametrize("words", ["runs", "train trainer.max_epochs=1 device=cpu"])
@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-"])
def test_a_closed_output_stops_nothing(closed: str, words: str, tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m seqlab {words} {closed}"], cwd=tmp_path, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_what_a_terminal_cannot_show_is_a_question_mark(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "seqlab", "train", "-h"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()


def test_ctrl_c_within_a_finalizer_is_not_forgotten() -> None:
    code = """
import time
from seqlab.errors import run_cli

class Closes:
    def __del__(self):
        raise KeyboardInterrupt

def work():
    Closes()
    time.sleep(30)

raise SystemExit(run_cli(work))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (130, "seqlab: Stopped.\n")


class Terminal(io.StringIO):
    """A terminal of 20 columns."""

    def isatty(self) -> bool:
        return True


def show(stream: io.StringIO, text: str, piece: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((20, 9)))
    wrapper = WordWrapper(stream)
    for start in range(0, len(text), piece):
        wrapper.write(text[start : start + piece])
    wrapper.finish()
    return stream.getvalue()


@pytest.mark.parametrize("piece", [1, 3, 100])
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a short line", "a short line\n"),
        ("x" * 9 + " " + "y" * 10 + " next", "x" * 9 + " " + "y" * 10 + "\nnext\n"),  # as wide as the terminal
        ("x" * 20 + "\n\n  two\n", "x" * 20 + "\n\n  two\n"),
        ("x" * 20 + " \ntwo ", "x" * 20 + "\ntwo \n"),
        ("x" * 30 + " y", "x" * 30 + "\ny\n"),
        ("後" * 10 + " ab", "後" * 10 + "\nab\n"),
        ("ab " + "後" * 12, "ab " + "後" * 8 + "\n" + "後" * 4 + "\n"),
        ("", ""),
    ],
)
def test_words_are_wrapped_to_the_terminal(text: str, shown: str, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert show(Terminal(), text, piece, monkeypatch) == shown


@pytest.mark.parametrize("text", ["x" * 50 + "  \n\t y " * 9 + "\n", "後" * 40 + "  end\n", "\n\n \n", " a  b\n"])
def test_a_pipe_gets_the_text_as_it_is(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert show(io.StringIO(), text, 2, monkeypatch) == text


def test_a_chinese_text_is_shown_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((20, 9)))
    stream = Terminal()
    wrapper = WordWrapper(stream)
    for number, character in enumerate("今天天气很好", 1):
        wrapper.write(character)
        assert stream.getvalue() == "今天天气很好"[:number]
