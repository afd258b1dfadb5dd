"""Checkpoint files: tensors and plain Python, written whole, with their checksums beside them in `SHA256SUMS`.

While a run is trained its last two full states are kept, `last.ckpt` and `previous.ckpt`.
"""

import hashlib
import io
from pathlib import Path
from typing import IO, Any, cast

from seqlab.errors import UserError
from seqlab.files import compute_sha256, read_checksums, sync_folder, write_atomically, write_checksums

LAST, PREVIOUS, BEST, CHECKSUMS = "last.ckpt", "previous.ckpt", "best.ckpt", "SHA256SUMS"

STATE_REMEDY = "keep tensors and plain Python (numbers, texts, lists, dictionaries) in it alone"


def save_checkpoint(path: Path, value: dict[str, Any], previous: Path | None = None) -> None:
    """torch.save, so that a kill at any moment leaves a whole checkpoint; the one at `path` moves to `previous`.

    Raises OSError if the disk is full, and UserError for what could not be read back; the previous checkpoint is whole then.
    The checksums first name old and new file, then what is there, so that a file which a kill leaves is always among them.
    """
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    known = read_checksums(path.parent / CHECKSUMS)
    with write_atomically(path) as partial:
        with open(partial, "wb", buffering=0) as file:
            writer = HashingWriter(file)
            try:
                torch.save(value, cast(IO[bytes], writer))
            except Exception:  # torch hides the OSError behind errors of its own, of several types
                if writer.error:
                    raise writer.error from None
                raise
        check_readable(partial, "The checkpoint")
        digest = writer.digest.hexdigest()
        write_checksums(path.parent / CHECKSUMS, [*known, (digest, path.name)])
        if previous and path.exists():
            path.replace(previous)
            moved = [(old, previous.name) for old, name in known if name == path.name]
            known = [*(entry for entry in known if entry[1] != previous.name), *moved]
    sync_folder(path.parent)
    write_checksums(
        path.parent / CHECKSUMS, [*(entry for entry in known if entry[1] != path.name), (digest, path.name)]
    )


def check_state(state: Any, what: str) -> None:
    """Refuse a part of a checkpoint-to-be that could not be written or read back. Raises UserError."""
    import torch

    try:
        torch.save(state, buffer := io.BytesIO())
    except Exception as error:  # of pickle, and of what is pickled
        raise UserError(f"{what} cannot be saved ({error}): {STATE_REMEDY}.") from error
    buffer.seek(0)
    check_readable(buffer, what)


def check_readable(file: Any, what: str) -> None:
    """Refuse what torch.save has written and `load_checkpoint` would not read. Raises UserError."""
    import torch

    if unsafe := torch.serialization.get_unsafe_globals_in_checkpoint(file):
        raise UserError(f"{what} holds {', '.join(sorted(unsafe))}, which cannot be read back: {STATE_REMEDY}.")


class HashingWriter:
    """A file that hashes what is written to it, and remembers why it could not be written."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, block: Any) -> int:
        """Write a whole block. On a full disk, keep the error and drop the rest."""
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
        """Raise what happened while writing; nothing is buffered."""
        if self.error:
            raise self.error


def latest_checkpoint(run: Path) -> Path | None:
    """The full state to continue from: `last.ckpt`, or `previous.ckpt` if a kill came between two renames."""
    paths = [path for name in (LAST, PREVIOUS) if (path := run / "checkpoints" / name).exists()]
    return paths[0] if paths else None


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint and its checksum."""
    if path.exists():
        path.unlink()
        write_checksums(
            path.parent / CHECKSUMS,
            [entry for entry in read_checksums(path.parent / CHECKSUMS) if entry[1] != path.name],
        )


def restore_previous(run: Path) -> None:
    """Replace a damaged or missing `last.ckpt` with `previous.ckpt`. Raises UserError if `last.ckpt` is whole."""
    folder = run / "checkpoints"
    if (folder / LAST).exists() and checksum_ok(folder / LAST):
        raise UserError(f"{folder / LAST} is whole, and newer than {PREVIOUS}: continue from it with resume={run}.")
    entry = (compute_sha256(folder / PREVIOUS), LAST)
    write_checksums(folder / CHECKSUMS, [*read_checksums(folder / CHECKSUMS), entry])
    (folder / PREVIOUS).replace(folder / LAST)
    others = [known for known in read_checksums(folder / CHECKSUMS) if known[1] not in (LAST, PREVIOUS)]
    write_checksums(folder / CHECKSUMS, [*others, entry])


def checksum_ok(path: Path) -> bool:
    """True if a checkpoint matches its checksum, or has none."""
    known = read_checksums(path.parent / CHECKSUMS)
    return path.name not in {name for _, name in known} or compute_sha256(path) in {digest for digest, _ in known}


def check_checksum(path: Path) -> None:
    """Raises UserError for a damaged checkpoint, and offers the previous one if that is whole."""
    if checksum_ok(path):
        return
    previous = path.with_name(PREVIOUS)
    remedy = "use another checkpoint, or start a new run"
    if path.name == LAST and previous.exists() and checksum_ok(previous):
        remedy = f"the previous one is whole: continue from it with resume={previous}"
    raise UserError(f"{path} is damaged (its sha256 is not the one in {CHECKSUMS}): {remedy}.")


def load_checkpoint(path: Path, mmap: bool = False) -> dict[str, Any]:
    """torch.load of tensors and plain Python only. `mmap` reads no tensor before it is used, and skips the checksum.

    Raises UserError for anything else, and for a file that does not match its checksum.
    """
    import torch

    try:
        if not mmap:
            check_checksum(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except FileNotFoundError:
        raise UserError(
            f"There is no checkpoint {path}: choose another one with checkpoint=best or checkpoint=last."
        ) from None
    except UserError:
        raise
    except Exception as error:  # torch raises many types, depending on how the file is damaged or crafted
        check_checksum(path)
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{path} is not a checkpoint of tensors and plain Python ({reason[:80]}): "
            "it is damaged or was not written by seqlab; nothing of it was executed. Use another one."
        ) from error
