"""Checkpoints: tensors and plain Python, written whole, with checksums beside them in `SHA256SUMS`.

While a run is being trained its last two full states are kept, `last.ckpt` and `previous.ckpt`.
"""

import hashlib
import os
from pathlib import Path
from typing import IO, Any, cast

from seqlab.errors import Mistake
from seqlab.files import sha256, sync, write_atomically

LAST, PREVIOUS, SUMS = "last.ckpt", "previous.ckpt", "SHA256SUMS"


def save(path: Path, value: dict[str, Any], previous: Path | None = None) -> None:
    """torch.save, so that a kill at any moment leaves a whole checkpoint; `previous` is where the one before goes.

    OSError where the disk is full, the one before being whole. The sums first name old and new, then what is there: a
    file that a kill leaves is always among them.
    """
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    known = sums(path.parent)
    partial = path.with_name(f"{path.name}.part")
    try:
        with open(partial, "wb", buffering=0) as file:
            watched = Watched(file)
            try:
                torch.save(value, cast(IO[bytes], watched))
            except Exception:  # of whatever kind torch makes of it
                if watched.error:  # torch hides it behind an error of its own
                    raise watched.error from None
                raise
            os.fsync(file.fileno())
        digest = watched.digest.hexdigest()
        write_sums(path.parent, [*known, (digest, path.name)])
        if previous and path.exists():
            path.replace(previous)
            moved = [(old, previous.name) for old, name in known if name == path.name]
            known = [*(entry for entry in known if entry[1] != previous.name), *moved]
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync(path.parent)
    write_sums(path.parent, [*(entry for entry in known if entry[1] != path.name), (digest, path.name)])


class Watched:
    """A file that computes the checksum of what is written to it, and remembers why it could not be written."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, block: Any) -> int:
        """Write all of a block; on a full disk, swallow the rest and keep the error."""
        size = memoryview(block).nbytes
        view = memoryview(block).cast("B")
        self.digest.update(view)
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


def sums(folder: Path) -> list[tuple[str, str]]:
    """(sha256, name) of the checkpoints in a folder, in the format of `sha256sum`."""
    file = folder / SUMS
    lines = file.read_text().splitlines() if file.exists() else []
    return [(line[:64], line[66:]) for line in lines]


def write_sums(folder: Path, entries: list[tuple[str, str]]) -> None:
    """Write `SHA256SUMS`, atomically."""
    text = "".join(f"{digest}  {name}\n" for digest, name in entries)
    write_atomically(folder / SUMS, lambda partial: partial.write_text(text))


def newest(run: Path) -> Path | None:
    """The full state to go on from: `last.ckpt`, or the one before where a kill came between two renames."""
    there = [path for name in (LAST, PREVIOUS) if (path := run / "checkpoints" / name).exists()]
    return there[0] if there else None


def remove(path: Path) -> None:
    """Remove a checkpoint and its checksum."""
    if path.exists():
        path.unlink()
        write_sums(path.parent, [entry for entry in sums(path.parent) if entry[1] != path.name])


def go_back(run: Path) -> None:
    """Put `previous.ckpt` in the place of a `last.ckpt` that is damaged or gone. Raises Mistake where it is whole."""
    folder = run / "checkpoints"
    if (folder / LAST).exists() and is_whole(folder / LAST):
        raise Mistake(f"{folder / LAST} is whole, and newer than {PREVIOUS}: go on from it with resume={run}.")
    entry = (sha256(folder / PREVIOUS), LAST)
    write_sums(folder, [*sums(folder), entry])
    (folder / PREVIOUS).replace(folder / LAST)
    write_sums(folder, [*(known for known in sums(folder) if known[1] not in (LAST, PREVIOUS)), entry])


def is_whole(path: Path) -> bool:
    """Whether a checkpoint is what was written; one that has no checksum beside it is believed."""
    known = sums(path.parent)
    return path.name not in {name for _, name in known} or sha256(path) in {digest for digest, _ in known}


def check(path: Path) -> None:
    """Raises Mistake for a checkpoint that is not what was written, and offers the one before."""
    if is_whole(path):
        return
    before = path.with_name(PREVIOUS)
    remedy = "take another checkpoint, or start anew"
    if path.name == LAST and before.exists() and is_whole(before):
        remedy = f"the one before is whole: go on from it with resume={before}"
    raise Mistake(f"{path} is damaged (its sha256 is not the one in {SUMS}): {remedy}.")


def load(path: Path, mmap: bool = False) -> dict[str, Any]:
    """torch.load of tensors and plain Python only; `mmap` reads no tensor before it is used, and checks no sum.

    Raises Mistake for anything else, and for a file that is not what was written.
    """
    import torch

    try:
        if not mmap:
            check(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except FileNotFoundError:
        raise Mistake(
            f"There is no checkpoint {path}: choose another with checkpoint=best or checkpoint=last."
        ) from None
    except Mistake:
        raise
    except Exception as error:  # torch raises many kinds, as what it reads is damaged or crafted
        check(path)
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise Mistake(
            f"{path} is not a checkpoint of tensors and plain Python ({reason[:80]}): "
            "it is damaged or was not written by seqlab; nothing of it was run. Take another one."
        ) from error
