"""Work continues where nobody reads what it prints."""

import io
import os
import subprocess
import sys

import pytest

from seqlab.streams import BrokenPipeSafeStream, ignore_broken_pipe


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
