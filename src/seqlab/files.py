"""Files: where they are looked up, downloaded once, locked, and written so that they are the old one or the new one."""

import hashlib
import http.client
import json
import os
import re
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from seqlab.errors import UserError
from seqlab.streams import print_wrapped

SILENT_SECONDS = 2.0  # of waiting for another process
DOWNLOAD_ERRORS = (urllib.error.URLError, http.client.HTTPException, OSError)
REMEMBERED_BYTES = 1 << 20  # larger files are not read twice by a process for their checksum


def cache_folder() -> Path:
    """`$SEQLAB_CACHE`, else `seqlab` in `$XDG_CACHE_HOME`, else `~/.cache/seqlab`."""
    own = os.environ.get("SEQLAB_CACHE")
    return expand_path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seqlab"


def expand_path(path: str | Path) -> Path:
    """A path that begins with `~` or a `$VARIABLE`, with that replaced; any other is taken as it is typed."""
    first, slash, rest = str(path).partition("/")
    return (
        Path(f"{os.path.expandvars(first)}{slash}{rest}").expanduser()
        if first.startswith("$")
        else Path(os.path.expanduser(path))  # noqa: PTH111  # Path's own raises for a user that there is not
    )


def compute_sha256(path: Path) -> str:
    """The file's checksum in hexadecimal. A large file is read again only if its size or its times have changed."""
    status = Path(path).stat()
    if status.st_size < REMEMBERED_BYTES:
        return read_sha256(path)
    return remembered_sha256(path, (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))


def read_sha256(path: Path) -> str:
    """The checksum of what a file holds now."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_to_name(text: str) -> str:
    """Six hexadecimal digits of a text's sha256, for a name."""
    return hashlib.sha256(text.encode()).hexdigest()[:6]


@cache
def remembered_sha256(path: Path, identity: tuple[int, ...]) -> str:
    """The checksum of a file while its identity is this one."""
    return read_sha256(path)


# ---------------------------------------------------------------------- look-up and download


def find_file(
    path: str,
    folders: Iterable[str] = (),
    url: str | None = None,
    sha256: str | None = None,
    remedy: str = "data.path=<file>",
) -> Path:
    """Find the file at `path` itself, in `$SEQLAB_DATA`, in `folders`, in the cache; else download it.

    Raises UserError if it is nowhere, listing the places and what to type instead (`remedy`), and if a download does not
    have the checksum `sha256`.
    """
    if expand_path(path).is_file():
        return expand_path(path).resolve()
    if expand_path(path).is_dir():
        raise UserError(f"{path} is a folder: name a file in it with {remedy}.")
    if expand_path(path).exists():
        raise UserError(f"{path} is not a regular file: name one with {remedy}.")
    relative, places = path.lstrip("/"), lookup_places(folders)
    for folder in places:
        if (folder / relative).is_file():
            return (folder / relative).resolve()
    looked = ", ".join(str(place) for place in [Path(path), *places])
    if url is None:
        raise UserError(f"There is no file {path} (looked in {looked}): name an existing one with {remedy}.")
    try:
        return download_file(url, cache_folder() / relative, sha256)
    except DOWNLOAD_ERRORS as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"There is no file {path} (looked in {looked}) and {url} cannot be reached ({reason}): "
            f"put the file into one of these folders, name its folder with SEQLAB_DATA=<folder>, or type {remedy}."
        ) from error


def lookup_places(folders: Iterable[str]) -> list[Path]:
    """The folders in which a file is looked up that is not at its path itself."""
    return [*(expand_path(folder) for folder in (os.environ.get("SEQLAB_DATA"), *folders) if folder), cache_folder()]


def download_file(url: str, target: Path, expected: str | None) -> Path:
    """Download to `target` under a lock, with a progress bar, checked against the sha256 `expected`."""
    from rich.progress import wrap_file

    with lock_file(target):
        if target.is_file():  # another process was faster
            return target
        with write_atomically(target) as partial:
            with urllib.request.urlopen(url, timeout=30) as response:
                size = int(response.headers.get("Content-Length") or 0)
                progress = wrap_file(response, size, description=f"Downloading {target.name}")
                with progress as source, open(partial, "wb") as out:
                    while block := source.read(1 << 16):
                        out.write(block)
            if size and (received := partial.stat().st_size) != size:
                raise OSError(f"the download ended after {received} of {size} bytes")
            actual = compute_sha256(partial)
            if expected and actual != expected:
                raise UserError(
                    f"{url} has sha256 {actual} instead of {expected}: put a good copy at {target} yourself."
                )
    return target


# ---------------------------------------------------------------------- writing


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; if the block succeeds, flush it to disk and rename it to `path`.

    The block writes a file there, or makes a folder. A kill at any moment leaves the previous file whole. The parent
    folder must exist: that of a run that was removed does not come back.
    """
    partial = path.with_name(f".{path.name}.seqlab")  # no name that a user's own file would have
    remove_partial(partial)  # that a kill has left
    try:
        yield partial
        if partial.is_file():
            with open(partial, "rb") as file:
                os.fsync(file.fileno())
        partial.replace(path)
    finally:
        remove_partial(partial)


@contextmanager
def write_output(path: Path) -> Iterator[Path]:
    """As `write_atomically`, at a place that the user has named; its folder is made. Raises UserError if it cannot be."""
    target = path.resolve()  # a link stays one
    if (path.is_symlink() or target.exists()) and not (target.is_file() or target.is_dir()):
        raise UserError(f"{path} cannot be written (a device, or a link to nothing): name another place.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(target) as partial:
            yield partial
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}): name another place.") from error


def remove_partial(partial: Path) -> None:
    """Remove what was not finished."""
    if partial.is_dir():
        shutil.rmtree(partial, ignore_errors=True)
    else:
        partial.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write plain data as JSON, atomically."""
    with write_atomically(path) as partial:
        partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read an object from JSON. Raises UserError for a damaged file."""
    return check_mapping(path, json.loads)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a mapping from YAML. Raises UserError for a damaged file."""
    return check_mapping(path, lambda text: yaml.load(text, YamlLoader))  # a SafeLoader


def dump_yaml(value: dict[str, Any], **options: Any) -> str:
    """Plain data as YAML, in its order."""
    return yaml.dump(value, Dumper=YamlDumper, sort_keys=False, allow_unicode=True, **options)


class YamlLoader(yaml.SafeLoader):
    """Reads 1e-3 as a number, as YAML 1.2 and Hydra do, and PyYAML does not. Refuses a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping. Raises ConstructorError for a key that stands twice, of which PyYAML takes the last."""
        seen: list[Any] = []
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands twice", key.start_mark)
            seen.append(key.value)
        return super().construct_mapping(node, deep)


class YamlDumper(yaml.SafeDumper):
    """Quotes a text such as 1e-3, so that it is read as the text that it was."""


EXPONENT = re.compile(r"[-+]?\d[\d_]*(\.\d*)?[eE][-+]?\d+$")
for style in (YamlLoader, YamlDumper):
    style.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENT, list("-+0123456789"))


def check_mapping(path: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
    """What a file holds, parsed. Raises UserError for a file that cannot be parsed, or holds something else."""
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(
            f"{path} is damaged ({str(error).splitlines()[0]}): restore it, or remove its folder."
        ) from error
    if not isinstance(content, dict):
        raise UserError(
            f"{path} is damaged (it holds {type(content).__name__}, not a mapping): restore it, or remove its folder."
        )
    return content


def read_safetensors(path: Path) -> dict[str, Any]:
    """Read the tensors of a file by their names. Raises UserError for a damaged file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}): restore it.") from error


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows cannot open folders
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------------- checksums


def read_checksums(file: Path) -> list[tuple[str, str]]:
    """(sha256, name) of a file that `sha256sum` has written, or could have; none if there is no such file.

    Raises UserError if it is damaged.
    """
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
    for number, line in enumerate(lines, 1):
        if not re.fullmatch("[0-9a-f]{64} [ *].+", line):
            raise UserError(f"{file} is damaged in line {number}: restore it, or remove it to use the files unchecked.")
    return [(line[:64], line[66:]) for line in lines]


def write_checksums(file: Path, entries: Iterable[tuple[str, str]]) -> None:
    """Write checksums as `sha256sum` does, atomically."""
    with write_atomically(file) as partial:
        partial.write_text("".join(f"{digest}  {name}\n" for digest, name in entries), encoding="utf-8")


# ---------------------------------------------------------------------- locks


@contextmanager
def lock_file(target: Path, notice: str = "") -> Iterator[None]:
    """Hold an exclusive lock beside `target`, so that ranks and parallel jobs prepare it once.

    `notice` is printed if another process holds it for a while.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.with_name(f"{target.name}.lock"))
    try:
        held = lock.acquire(timeout=SILENT_SECONDS if notice else -1)
    except Timeout:
        print_wrapped(notice, sys.stderr)
        held = lock.acquire()
    with held:
        yield
