"""What is printed while work goes on: whoever reads it, such as tee or a terminal, may be gone before the work is done."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any


class BrokenPipeSafeStream:
    """A stream that falls silent where its reader is gone, instead of raising in the middle of a step."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write, if anyone reads."""
        try:
            return self.stream.write(text)
        except OSError:
            return self.silence(text)

    def flush(self) -> None:
        """Flush, if anyone reads."""
        try:
            self.stream.flush()
        except OSError:
            self.silence("")

    def silence(self, text: str) -> int:
        """Send all that is still to come to nowhere, what Python flushes when it ends included."""
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())
        return len(text)


@contextmanager
def ignore_broken_pipe() -> Iterator[None]:
    """Go on with the work where nobody reads any more."""
    with redirect_stdout(BrokenPipeSafeStream(sys.stdout)), redirect_stderr(BrokenPipeSafeStream(sys.stderr)):
        yield


def signal_safe_print(text: str) -> None:
    """Write to the terminal from a signal handler, which must neither wait for a lock nor fail."""
    with suppress(OSError):
        os.write(2, text.encode())
