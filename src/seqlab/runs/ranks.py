"""Which of the processes that train one run together this is, and how they tell the first one why they died."""

import os
import time
from contextlib import suppress
from pathlib import Path

RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID")  # torchrun's, Lightning's, Slurm's; in Lightning's own order


def get_rank() -> int:
    """The rank of this process; 0 where it is alone."""
    return next((int(os.environ[name]) for name in RANK_VARIABLES if name in os.environ), 0)


def is_externally_launched() -> bool:
    """Whether torchrun or Slurm started this process, which know the ranks of several machines."""
    return "RANK" in os.environ or "SLURM_PROCID" in os.environ


def report_error(run: Path, number: int, error: str) -> None:
    """Leave word of why a rank died, unless there is some already, or the run is gone."""
    file = run / f"rank-{number}.error"
    if not file.exists():
        with suppress(FileNotFoundError):
            partial = file.with_suffix(".part")
            partial.write_text(error)
            partial.replace(file)


def first_error(run: Path, patience: float = 0.0) -> str | None:
    """What the rank that died first died of, if word of it comes within so many seconds."""
    deadline = time.monotonic() + patience
    while True:
        with suppress(FileNotFoundError):  # the first rank may take the words away between two looks
            if files := sorted(run.glob("rank-*.error"), key=lambda file: file.stat().st_mtime):
                return f"{files[0].stem.replace('-', ' ')}: {files[0].read_text()}"
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.1)


def clear_errors(run: Path) -> None:
    """Take the words away."""
    for file in run.glob("rank-*.error"):
        file.unlink(missing_ok=True)
