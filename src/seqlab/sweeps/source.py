"""The code that the jobs of a sweep import, by its checksums: has it been edited since?"""

import importlib.util
from pathlib import Path

from seqlab.config.targets import user_packages
from seqlab.errors import UserError
from seqlab.files import compute_sha256


def source_files() -> list[Path]:
    """The Python files of seqlab and of the packages that the user allows."""
    files: list[Path] = []
    for name in ("seqlab", *user_packages()):
        try:
            spec = importlib.util.find_spec(name)
        except ImportError:  # a job will report it
            continue
        for folder in (spec and spec.submodule_search_locations) or []:
            files += Path(folder).rglob("*.py")
        if spec and spec.origin and not spec.submodule_search_locations:
            files.append(Path(spec.origin))
    return sorted(files)


def source_checksums() -> dict[str, str]:
    """File -> sha256."""
    return {str(file): compute_sha256(file) for file in source_files()}


def check_unchanged(recorded: dict[str, str]) -> None:
    """Refuse a job whose process would import other code than the jobs before it. Raises UserError."""
    if files := changed_files(recorded):
        raise UserError(
            f"{files[0]} was edited since the sweep started, and this job's process would import the new code: "
            "let the sweep finish, and run these jobs with sweep.resume=last."
        )


def changed_files(recorded: dict[str, str]) -> list[str]:
    """The files that were edited, added or removed."""
    now = source_checksums()
    return sorted(file for file in recorded.keys() | now.keys() if recorded.get(file) != now.get(file))
