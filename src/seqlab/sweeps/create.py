"""Composed jobs -> the folder of a sweep with those of its runs."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seqlab.errors import UserError
from seqlab.files import write_json
from seqlab.launch import create
from seqlab.launch.create import ComposedRun
from seqlab.runs import folder as runs
from seqlab.runs.run_info import new_run_info, timestamp
from seqlab.sweeps import source
from seqlab.sweeps.manifest import Job, Sweep, job_name, job_names

ComposeJobs = Callable[[Sweep, list[list[str]]], list[ComposedRun]]  # what words come to today, typed as a sweep's were


def create_sweep(
    first: ComposedRun, options: list[str], settings: dict[str, Any], search: dict[str, Any] | None = None
) -> Sweep:
    """Make the folder of a sweep, which has no jobs yet. It is called by its `sweep=` or `experiment=`."""
    called = [first.choices.get(group, "none") for group in ("sweep", "experiment")]
    title = next((title for title in called if title != "none"), "multirun")
    folder = runs.create_run_folder(Path(first.config["paths"]["runs"]), f"sweep-{title}")
    return Sweep(folder, first.command, options, os.getcwd(), settings, source.source_checksums(), timestamp(), search)


def check_jobs(jobs: list[ComposedRun]) -> list[Any]:
    """The base of each job. What one is refused for stands in its `refused`; raises Mistake where that is all of them."""
    both = [check_job(job) for job in jobs]
    if not jobs:
        raise UserError("This sweep is empty: give at least one value to sweep over, or one block in sweep.blocks.")
    refused = [job for job in jobs if job.error]
    if len(refused) == len(jobs):
        raise UserError(refused[0].error)
    for line in dict.fromkeys(taken for _, taken in both if taken):
        print(line, flush=True)
    return [base for base, _ in both]


def check_job(job: ComposedRun) -> tuple[Any, str | None]:
    """A job's base, and what `device=auto` took; what it is refused for stands in its `refused`."""
    if not job.error:
        try:
            return create.check_run(job)
        except UserError as mistake:
            job.error = str(mistake)
    return None, None


def add_jobs(sweep: Sweep, jobs: list[ComposedRun], bases: list[Any]) -> None:
    """Write all jobs to the manifest, then make and fill their folders: a kill between leaves a sweep to resume."""
    called = job_names([job.overrides for job in jobs])
    sweep.jobs = [Job(n, title, job.overrides) for n, (title, job) in enumerate(zip(called, jobs, strict=True))]
    sweep.write()
    for entry, job, base in zip(sweep.jobs, jobs, bases, strict=True):
        write_job(sweep.path(entry), job, base, entry)
    sweep.write()


def add_trial(sweep: Sweep, job: ComposedRun, base: Any, drawn: list[str], trial: list[int]) -> Job:
    """The same for a search's next job, which is named by what was drawn."""
    words = dict(word.split("=", 1) for word in job.overrides)
    number = len(sweep.jobs)
    entry = Job(number, job_name(number, {key: words[key] for key in drawn}), job.overrides, trial=trial)
    sweep.jobs.append(entry)
    write_job(sweep.path(entry), job, base, entry)
    sweep.write()
    return entry


def write_job(folder: Path, job: ComposedRun, base: Any, entry: Job) -> None:
    """Make and write a job's folder; of one that was refused only run.json, as failed."""
    folder.mkdir(exist_ok=True)
    if job.error:
        known = {"command": job.command, "overrides": job.overrides, "choices": job.choices}
        write_json(folder / "run.json", new_run_info(status="failed", error=job.error, ended=timestamp(), **known))
        entry.state, entry.error = "failed", job.error
    else:
        create.write_run_folder(job, folder, base)
        entry.state, entry.error = "pending", None
