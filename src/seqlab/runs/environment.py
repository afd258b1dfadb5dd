"""What a run ran on: process, code, versions, hardware, data."""

import os
import platform
import subprocess
import warnings
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from seqlab.files import compute_sha256
from seqlab.runs.process import process_identity

PACKAGES = ("seqlab", "torch", "lightning", "hydra-core", "torchmetrics", "tiktoken", "numpy")


def collect_environment(processes: int = 1) -> dict[str, Any]:
    """The keys `process`, `git`, `versions` and `hardware` of run.json; `processes` train on this machine."""
    import torch

    from seqlab.device import hardware_name

    return {
        "process": process_identity(),
        "git": git_state(Path(__file__)),
        "versions": {"python": platform.python_version()} | {package: version(package) for package in PACKAGES},
        "hardware": {
            "device": hardware_name(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "processes": processes,
        },
    }


def git_state(file: Path) -> dict[str, Any] | None:
    """Commit of the checkout that tracks a file, and whether tracked files differ from it; None outside of a checkout."""

    def run_git(*words: str) -> str | None:
        command = ["git", "--no-optional-locks", "-C", str(file.parent), *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if run_git("ls-files", "--error-unmatch", str(file)) is None:  # seqlab itself is not what is checked out
        return None
    commit = run_git("rev-parse", "HEAD")
    return (
        {"commit": commit, "dirty": bool(run_git("status", "--porcelain", "--untracked-files=no"))} if commit else None
    )


def compute_checksums(files: Iterable[Path]) -> dict[str, str]:
    """sha256 by path."""
    return {str(file): compute_sha256(file) for file in files}


def warn_if_changed(files: list[Path], info: dict[str, Any]) -> None:
    """Warn if a run's own data are not what it was trained on."""
    known = set((info["data"] or {}).values())
    for file, digest in compute_checksums(files).items():
        if digest not in known:
            warnings.warn(f"{file} is not what this run was trained on: its sha256 is another one.", stacklevel=2)
