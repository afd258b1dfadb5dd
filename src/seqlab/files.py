"""Where data and tokenizer files are looked up, and how they are downloaded once."""

import fcntl
import hashlib
import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seqlab.errors import UserError


def cache_folder() -> Path:
    """`$SEQLAB_CACHE`, else `seqlab` in `$XDG_CACHE_HOME`, else `~/.cache/seqlab`."""
    own = os.environ.get("SEQLAB_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seqlab"


def compute_sha256(path: Path) -> str:
    """The file's checksum in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_file(
    path: str,
    folders: Iterable[str] = (),
    url: str | None = None,
    sha256: str | None = None,
    remedy: str = "data.path=<file>",
) -> Path:
    """The file that `path` names: as it stands, else in `$SEQLAB_DATA`, in `folders`, in the cache, else downloaded.

    Raises Mistake where it is nowhere, saying what was looked for where and what to type instead (`remedy`), and where
    a download does not have the checksum `sha256`.
    """
    if Path(path).expanduser().is_file():
        return Path(path).expanduser().resolve()
    relative = path.lstrip("/")
    looked = [Path(folder).expanduser() for folder in (os.environ.get("SEQLAB_DATA"), *folders) if folder]
    for folder in [*looked, cache_folder()]:
        if (folder / relative).is_file():
            return (folder / relative).resolve()
    where = ", ".join(str(place) for place in [Path(path), *looked, cache_folder()])
    if url is None:
        raise UserError(f"There is no file {path} (looked for as {where}): give one that exists with {remedy}.")
    try:
        return download_file(url, cache_folder() / relative, sha256)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"There is no {path} (looked for as {where}) and {url} cannot be reached ({reason}): "
            f"put the file into one of these folders, or type {remedy}."
        ) from error


def download_file(url: str, target: Path, expected: str | None) -> Path:
    """Download to `target` with a progress bar: under a lock, checked by sha256, and renamed into place when whole."""
    from rich.progress import wrap_file

    with lock_file(target):
        if target.is_file():  # another process was faster
            return target
        partial = target.with_name(target.name + ".part")
        with urllib.request.urlopen(url, timeout=30) as response:
            size = int(response.headers.get("Content-Length") or 0)
            with (
                wrap_file(response, size, description=f"Downloading {target.name}") as source,
                open(partial, "wb") as out,
            ):
                while block := source.read(1 << 16):
                    out.write(block)
        if size and (arrived := partial.stat().st_size) != size:
            partial.unlink()
            raise OSError(f"it broke off after {arrived} of {size} bytes")
        actual = compute_sha256(partial)
        if expected and actual != expected:
            partial.unlink()
            raise UserError(f"{url} has sha256 {actual} instead of {expected}: fetch a good copy by hand to {target}.")
        partial.replace(target)
    return target


@contextmanager
def lock_file(target: Path) -> Iterator[None]:
    """Hold an exclusive lock beside `target`, so that ranks and parallel jobs prepare it once."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target.with_name(target.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


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
        raise UserError(f"{path} is damaged ({error}): bring it back, or take its folder away.") from error


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
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
        raise UserError(f"{folder} is being run by another process: wait for it, or stop it with Ctrl-C.") from None
    except OSError:  # it has none: run.json still names the process
        pass


def sync_folder(folder: Path) -> None:
    """Make renames in a folder last through a power cut, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
