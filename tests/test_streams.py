"""Work continues where nobody reads what it prints."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from seqlab.streams import BrokenPipeSafeStream, ignore_broken_pipe, replace_control_characters


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
