"""Composed jobs -> the folder of a sweep with those of its runs."""

import os
from pathlib import Path
from typing import Any

from seqlab import freeze
from seqlab.freeze import Composed
from seqlab.mistakes import Mistake
from seqlab.runs import folder as runs
from seqlab.runs.files import write_json
from seqlab.runs.record import now, pending
from seqlab.sweeps import source
from seqlab.sweeps.manifest import Job, Sweep, names


def begin(first: Composed, options: list[str], settings: dict[str, Any], search: dict[str, Any] | None = None) -> Sweep:
    """Make the folder of a sweep, which has no jobs yet. It is called by its `sweep=` or `experiment=`."""
    called = [first.choices.get(group, "none") for group in ("sweep", "experiment")]
    name = next((name for name in called if name != "none"), "multirun")
    folder = runs.dated(Path(first.config["paths"]["runs"]), f"sweep-{name}")
    sweep = Sweep(folder, first.command, options, os.getcwd(), settings, source.checksums(), now(), search)
    sweep.write()
    return sweep


def checked(jobs: list[Composed]) -> list[Any]:
    """The base of each job. What one is refused for stands in its `refused`; raises Mistake where that is all of them."""
    both = [check_one(job) for job in jobs]
    if not jobs:
        raise Mistake("This sweep is empty: give at least one value to sweep over, or one block in sweep.blocks.")
    refused = [job for job in jobs if job.refused]
    if len(refused) == len(jobs):
        others = f" (and so are the {len(jobs) - 1} other jobs)" if len(jobs) > 1 else ""
        raise Mistake(refused[0].refused + others)
    for line in dict.fromkeys(taken for _, taken in both if taken):
        print(line, flush=True)
    return [base for base, _ in both]


def check_one(job: Composed) -> tuple[Any, str | None]:
    """A job's base, and what `device=auto` took; what it is refused for stands in its `refused`."""
    if not job.refused:
        try:
            return freeze.check(job)
        except Mistake as mistake:
            job.refused = str(mistake)
    return None, None


def add(sweep: Sweep, jobs: list[Composed], bases: list[Any]) -> None:
    """Make and fill the folders of jobs; of one that was refused only run.json, as failed."""
    called = names([job.overrides for job in jobs])
    for number, (job, base, name) in enumerate(zip(jobs, bases, called, strict=True)):
        folder = runs.make(sweep.folder, name)
        entry = Job(number, folder.name, job.overrides)
        fill(folder, job, base, entry)
        sweep.jobs.append(entry)
    sweep.write()


def fill(folder: Path, job: Composed, base: Any, entry: Job) -> None:
    """Write a job's folder, or why there is nothing to run."""
    if job.refused:
        known = {"command": job.command, "overrides": job.overrides, "choices": job.choices}
        write_json(folder / "run.json", pending(status="failed", error=job.refused, ended=now(), **known))
        entry.state, entry.error = "failed", job.refused
    else:
        freeze.write(job, folder, base)
        entry.state, entry.error = "pending", None
