"""The rank of this process among those of a data-parallel run, and how a rank reports why it failed."""

import os
import time
from contextlib import suppress
from pathlib import Path

from seqlab.files import write_atomically

RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID")  # torchrun's, Lightning's, Slurm's; in Lightning's own order


def get_rank() -> int:
    """The rank of this process; 0 if it is alone."""
    return next((int(os.environ[name]) for name in RANK_VARIABLES if name in os.environ), 0)


def is_externally_launched() -> bool:
    """True if torchrun or Slurm started this process; they know the ranks of several machines."""
    return "RANK" in os.environ or "SLURM_PROCID" in os.environ


def report_error(run: Path, rank: int, error: str) -> None:
    """Write why a rank failed into the run folder, unless it has reported already or the folder is gone."""
    file = run / f"rank-{rank}.error"
    if not file.exists():
        with suppress(FileNotFoundError), write_atomically(file) as partial:
            partial.write_text(error, encoding="utf-8")


def first_error(run: Path, wait_seconds: float = 0.0) -> str | None:
    """The error of the rank that reported first, waiting up to `wait_seconds` for a report."""
    deadline = time.monotonic() + wait_seconds
    while True:
        with suppress(FileNotFoundError):  # rank 0 may clear the reports between two looks
            if files := sorted(run.glob("rank-*.error"), key=lambda file: file.stat().st_mtime):
                return f"{files[0].stem.replace('-', ' ')}: {files[0].read_text(encoding='utf-8')}"
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.1)


def clear_errors(run: Path) -> None:
    """Remove the reports."""
    for file in run.glob("rank-*.error"):
        file.unlink(missing_ok=True)
