"""Checkpoints: tensors and plain Python, written whole, with checksums beside them in `SHA256SUMS`.

While a run is being trained its last two full states are kept, `last.ckpt` and `previous.ckpt`.
"""

import hashlib
import os
from pathlib import Path
from typing import IO, Any, cast

from seqlab.errors import UserError
from seqlab.files import compute_sha256, sync_folder, write_atomically

LAST, PREVIOUS, CHECKSUMS = "last.ckpt", "previous.ckpt", "SHA256SUMS"


def save_checkpoint(path: Path, value: dict[str, Any], previous: Path | None = None) -> None:
    """torch.save, so that a kill at any moment leaves a whole checkpoint; `previous` is where the one before goes.

    OSError where the disk is full, the one before being whole. The sums first name old and new, then what is there: a
    file that a kill leaves is always among them.
    """
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    known = read_checksums(path.parent)
    partial = path.with_name(f"{path.name}.part")
    try:
        with open(partial, "wb", buffering=0) as file:
            watched = HashingWriter(file)
            try:
                torch.save(value, cast(IO[bytes], watched))
            except Exception:  # of whatever kind torch makes of it
                if watched.error:  # torch hides it behind an error of its own
                    raise watched.error from None
                raise
            os.fsync(file.fileno())
        digest = watched.digest.hexdigest()
        write_checksums(path.parent, [*known, (digest, path.name)])
        if previous and path.exists():
            path.replace(previous)
            moved = [(old, previous.name) for old, name in known if name == path.name]
            known = [*(entry for entry in known if entry[1] != previous.name), *moved]
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)
    write_checksums(path.parent, [*(entry for entry in known if entry[1] != path.name), (digest, path.name)])


class HashingWriter:
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


def read_checksums(folder: Path) -> list[tuple[str, str]]:
    """(sha256, name) of the checkpoints in a folder, in the format of `sha256sum`."""
    file = folder / CHECKSUMS
    lines = file.read_text().splitlines() if file.exists() else []
    return [(line[:64], line[66:]) for line in lines]


def write_checksums(folder: Path, entries: list[tuple[str, str]]) -> None:
    """Write `SHA256SUMS`, atomically."""
    text = "".join(f"{digest}  {name}\n" for digest, name in entries)
    write_atomically(folder / CHECKSUMS, lambda partial: partial.write_text(text))


def latest_checkpoint(run: Path) -> Path | None:
    """The full state to go on from: `last.ckpt`, or the one before where a kill came between two renames."""
    there = [path for name in (LAST, PREVIOUS) if (path := run / "checkpoints" / name).exists()]
    return there[0] if there else None


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint and its checksum."""
    if path.exists():
        path.unlink()
        write_checksums(path.parent, [entry for entry in read_checksums(path.parent) if entry[1] != path.name])


def restore_previous(run: Path) -> None:
    """Put `previous.ckpt` in the place of a `last.ckpt` that is damaged or gone. Raises Mistake where it is whole."""
    folder = run / "checkpoints"
    if (folder / LAST).exists() and checksum_ok(folder / LAST):
        raise UserError(f"{folder / LAST} is whole, and newer than {PREVIOUS}: go on from it with resume={run}.")
    entry = (compute_sha256(folder / PREVIOUS), LAST)
    write_checksums(folder, [*read_checksums(folder), entry])
    (folder / PREVIOUS).replace(folder / LAST)
    write_checksums(folder, [*(known for known in read_checksums(folder) if known[1] not in (LAST, PREVIOUS)), entry])


def checksum_ok(path: Path) -> bool:
    """Whether a checkpoint is what was written; one that has no checksum beside it is believed."""
    known = read_checksums(path.parent)
    return path.name not in {name for _, name in known} or compute_sha256(path) in {digest for digest, _ in known}


def check_checksum(path: Path) -> None:
    """Raises Mistake for a checkpoint that is not what was written, and offers the one before."""
    if checksum_ok(path):
        return
    before = path.with_name(PREVIOUS)
    remedy = "take another checkpoint, or start anew"
    if path.name == LAST and before.exists() and checksum_ok(before):
        remedy = f"the one before is whole: go on from it with resume={before}"
    raise UserError(f"{path} is damaged (its sha256 is not the one in {CHECKSUMS}): {remedy}.")


def load_checkpoint(path: Path, mmap: bool = False) -> dict[str, Any]:
    """torch.load of tensors and plain Python only; `mmap` reads no tensor before it is used, and checks no sum.

    Raises Mistake for anything else, and for a file that is not what was written.
    """
    import torch

    try:
        if not mmap:
            check_checksum(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except FileNotFoundError:
        raise UserError(
            f"There is no checkpoint {path}: choose another with checkpoint=best or checkpoint=last."
        ) from None
    except UserError:
        raise
    except Exception as error:  # torch raises many kinds, as what it reads is damaged or crafted
        check_checksum(path)
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{path} is not a checkpoint of tensors and plain Python ({reason[:80]}): "
            "it is damaged or was not written by seqlab; nothing of it was run. Take another one."
        ) from error
