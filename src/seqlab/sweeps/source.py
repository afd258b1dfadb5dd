"""The code that the jobs of a sweep import, by its checksums: was it edited since?"""

import importlib.util
import os
from pathlib import Path

from seqlab.errors import UserError
from seqlab.files import compute_sha256


def source_files() -> list[Path]:
    """The Python files of seqlab and of the packages that the user allows."""
    packages = ["seqlab", *filter(None, os.environ.get("SEQLAB_ALLOW", "").split(","))]
    found: list[Path] = []
    for name in packages:
        try:
            spec = importlib.util.find_spec(name)
        except ImportError:  # a job will say it
            continue
        for folder in (spec and spec.submodule_search_locations) or []:
            found += Path(folder).rglob("*.py")
        if spec and spec.origin and not spec.submodule_search_locations:
            found.append(Path(spec.origin))
    return sorted(found)


def source_checksums() -> dict[str, str]:
    """File -> sha256."""
    return {str(file): compute_sha256(file) for file in source_files()}


def check_unchanged(then: dict[str, str]) -> None:
    """Refuse a job whose process would import other code than the jobs before it. Raises Mistake."""
    if files := changed_files(then):
        raise UserError(
            f"{files[0]} was edited since the sweep began, and this job's process would import it anew: "
            "let the sweep end, and run these jobs with sweep.resume=last."
        )


def changed_files(then: dict[str, str]) -> list[str]:
    """The files that are not what they were, or were not there, or no longer are."""
    now = source_checksums()
    return sorted(file for file in then.keys() | now.keys() if then.get(file) != now.get(file))
