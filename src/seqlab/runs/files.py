"""Files that are either the old one or the new one, never half of it."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seqlab.mistakes import Mistake


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Call `write` with a temporary name beside `path`, sync, and rename: a kill at any moment leaves one whole file.

    Makes no folder: that of a run which was taken away does not come back.
    """
    partial = path.with_name(f"{path.name}.part")
    try:
        write(partial)
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, value: Any, indent: int = 2) -> None:
    """Write plain data as JSON, atomically."""
    write_atomically(path, lambda partial: partial.write_text(json.dumps(value, indent=indent) + "\n"))


def read_json(path: Path) -> Any:
    """Plain data from JSON. Raises Mistake for a file that is damaged, which nothing of ours leaves."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise Mistake(f"{path} is damaged ({error}): bring it back, or take its folder away.") from error


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder against another process that wants to hold it; let go with the process. Raises Mistake."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def lock(descriptor: int, folder: Path) -> None:
    """Lock an opened folder, where the file system has locks. Raises Mistake where another process has locked it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Mistake(f"{folder} is being run by another process: wait for it, or stop it with Ctrl-C.") from None
    except OSError:  # it has none: run.json still names the process
        pass


def sync(folder: Path) -> None:
    """Make renames in a folder last through a power cut, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
