"""A terminal of 80 columns."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path


class Terminal:
    """A command of seqlab on a terminal: type into it, and read what it shows, without colours."""

    def __init__(self, *words: str, folder: Path) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
        environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR")}
        command = [sys.executable, "-m", "seqlab", *words]
        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment | {"TERM": "xterm"}, start_new_session=True, **streams
        )
        os.close(theirs)
        self.raw = b""

    @property
    def shown(self) -> str:
        """All that was shown so far."""
        text = self.raw.decode(errors="replace")
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).replace("\r\n", "\n")

    def type_in(self, text: str) -> None:
        """Press keys."""
        os.write(self.ours, text.encode())

    def wait_for(self, pattern: str, after: int = 0, seconds: float = 60) -> None:
        """Read until a pattern is shown, of what came after so many characters."""
        end = time.monotonic() + seconds
        while not re.search(pattern, self.shown[after:]):
            assert time.monotonic() < end, f"{pattern} is not shown: {self.shown}"
            assert self.read_block(), f"{pattern} is not shown at the end: {self.shown}"

    def read_block(self) -> bool:
        """Read what has come; false at the end."""
        try:
            assert select.select([self.ours], [], [], 60)[0], f"nothing more is shown: {self.shown}"
            block = os.read(self.ours, 65536)
        except OSError:  # how Linux says that the other side was closed
            return False
        self.raw += block
        return bool(block)

    def finish(self) -> str:
        """Read to the end; return all that was shown."""
        while self.read_block():
            pass
        self.process.wait()
        os.close(self.ours)
        return self.shown


def on_terminal(*words: str, folder: Path) -> str:
    """What a command shows."""
    return Terminal(*words, folder=folder).finish()
