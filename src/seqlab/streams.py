"""Printing that survives a closed pipe: the reader, such as `tee` or a terminal, may be gone before the work is done."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any


class BrokenPipeSafeStream:
    """Wraps a stream and drops output once the reader has closed the pipe, instead of raising in the middle of a step."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write, or drop the text if nobody reads any more."""
        try:
            return self.stream.write(text)
        except OSError:
            self.redirect_to_devnull()
            return len(text)

    def flush(self) -> None:
        """Flush, or drop what is buffered if nobody reads any more."""
        try:
            self.stream.flush()
        except OSError:
            self.redirect_to_devnull()

    def redirect_to_devnull(self) -> None:
        """Drop all further output, including what Python flushes when it exits."""
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())


def prepare_streams() -> None:
    """Print `?` for what the terminal's encoding lacks, and to nowhere if standard output or error is closed (`>&-`)."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # for the life of the process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


@contextmanager
def ignore_broken_pipe() -> Iterator[None]:
    """Keep working after the reader of standard output or standard error has gone."""
    prepare_streams()
    with redirect_stdout(BrokenPipeSafeStream(sys.stdout)), redirect_stderr(BrokenPipeSafeStream(sys.stderr)):
        yield


def signal_safe_print(text: str) -> None:
    """Write to standard error from a signal handler, which must neither wait for a lock nor fail."""
    with suppress(OSError):
        os.write(2, text.encode())
