"""The code that a run imports, by its checksums: has it been edited since?"""

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from seqlab.config.targets import user_packages
from seqlab.errors import UserError
from seqlab.files import compute_sha256
from seqlab.streams import print_wrapped


def source_files(packages: Iterable[str]) -> list[Path]:
    """The Python files of packages and modules."""
    files: list[Path] = []
    for name in packages:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):  # a job will report it
            continue
        for folder in (spec and spec.submodule_search_locations) or []:
            files += Path(folder).rglob("*.py")
        is_module = spec and spec.has_location and not spec.submodule_search_locations
        if is_module and spec and spec.origin and Path(spec.origin).is_file():  # it may be removed after its import
            files.append(Path(spec.origin))
    return sorted(files)


def source_checksums() -> dict[str, str]:
    """File -> sha256 of seqlab and of the packages that the user allows."""
    return {str(file): compute_sha256(file) for file in source_files(["seqlab", *user_packages()])}


def user_code_checksums() -> dict[str, str]:
    """File -> sha256 of the packages that the user allows."""
    return {str(file): compute_sha256(file) for file in source_files(user_packages())}


def check_unchanged(recorded: dict[str, str]) -> None:
    """Refuse a job whose process would import other code than the jobs before it. Raises UserError."""
    if files := changed_files(recorded, source_checksums()):
        raise UserError(
            f"{files[0]} was edited since the sweep started, and this job's process would import the new code: "
            "let the sweep finish, and run these jobs with sweep.resume=last."
        )


def warn_if_edited(run: Path, info: dict[str, Any]) -> None:
    """Say that the user's own code, as far as it may be imported now, is not what a run was trained with."""
    recorded, now = info["code"] or {}, user_code_checksums()
    if files := sorted(file for file in recorded if now.get(file, recorded[file]) != recorded[file]):
        more = f" and {len(files) - 1} more were" if len(files) > 1 else " was"
        print_wrapped(f"Warning: {files[0]}{more} edited since {run} was trained with it.", sys.stderr)


def changed_files(recorded: dict[str, str], now: dict[str, str]) -> list[str]:
    """The files that were edited, added or removed."""
    return sorted(file for file in recorded.keys() | now.keys() if recorded.get(file) != now.get(file))
