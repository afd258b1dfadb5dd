"""Files that are either the old one or the new one, never half of it."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

from seqlab.mistakes import Mistake


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Call `write` with a temporary name beside `path`, sync, and rename: a kill at any moment leaves one whole file."""
    path.parent.mkdir(parents=True, exist_ok=True)
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


def save_tensors(path: Path, value: dict[str, Any]) -> None:
    """torch.save, atomically; OSError where the disk is full, the previous file being whole."""
    import torch

    def write(partial: Path) -> None:
        with open(partial, "wb", buffering=0) as file:
            watched = Watched(file)
            try:
                torch.save(value, cast(IO[bytes], watched))
            except Exception:
                if watched.error:  # torch hides it behind an error of its own
                    raise watched.error from None
                raise

    write_atomically(path, write)


class Watched:
    """A file that remembers why it could not be written."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, block: Any) -> int:
        """Write all of a block; on a full disk, swallow the rest and keep the error."""
        size = memoryview(block).nbytes
        view = memoryview(block).cast("B")
        try:
            while view and self.error is None:
                view = view[self.file.write(view) :]
        except OSError as error:
            self.error = error
        return size

    def flush(self) -> None:
        """Nothing is buffered; raise what happened while writing."""
        if self.error:
            raise self.error


def load_tensors(path: Path, mmap: bool = False) -> dict[str, Any]:
    """torch.load of tensors and plain Python only; `mmap` reads no tensor before it is used.

    Raises Mistake for anything else.
    """
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except FileNotFoundError:
        raise Mistake(
            f"There is no checkpoint {path}: choose another with checkpoint=best or checkpoint=last."
        ) from None
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise Mistake(
            f"{path} is not a checkpoint of tensors and plain Python ({reason[:80]}): "
            "it is damaged or was not written by seqlab; nothing of it was run. Take another one."
        ) from error
