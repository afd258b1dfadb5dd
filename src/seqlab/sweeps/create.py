"""Composed jobs -> the folder of a sweep with those of its runs."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seqlab.config.source import source_checksums
from seqlab.errors import UserError
from seqlab.files import write_json
from seqlab.launch.create import ComposedRun, check_run, write_run_folder
from seqlab.runs import run_info
from seqlab.runs.folder import create_run_folder
from seqlab.streams import print_wrapped
from seqlab.sweeps.manifest import Job, Sweep, job_name, job_names

ComposeJobs = Callable[
    [Sweep, list[list[str]]], list[ComposedRun]
]  # overrides composed today, where the sweep was typed


def create_sweep(
    first: ComposedRun, options: list[str], settings: dict[str, Any], search: dict[str, Any] | None = None
) -> Sweep:
    """Make the folder of a sweep without jobs, named by `name=`, else by its `sweep=` or `experiment=`."""
    names = [first.config.get("name"), *(first.choices.get(group) for group in ("sweep", "experiment"))]
    title = next((name for name in names if name and name != "none"), "multirun")
    folder = create_run_folder(Path(first.config["paths"]["runs"]), f"sweep-{title}")
    created = run_info.timestamp()
    return Sweep(folder, first.command, options, os.getcwd(), settings, source_checksums(), created, search)


def check_jobs(jobs: list[ComposedRun]) -> list[Any]:
    """The source of each job's weights. A refusal is kept in its `error`; raises UserError if all jobs are refused."""
    checked = [check_job(job) for job in jobs]
    if not jobs:
        raise UserError("This sweep is empty: give at least one value to sweep over, or one block in sweep.blocks.")
    refused = [job for job in jobs if job.error]
    if len(refused) == len(jobs):
        raise UserError(refused[0].error)
    for number, job in enumerate(jobs):
        if job.error:
            print_wrapped(f"refused     {number:03d}: {job.error}")
    for message in dict.fromkeys(message for _, message in checked if message):
        print_wrapped(message)
    return [source for source, _ in checked]


def check_job(job: ComposedRun) -> tuple[Any, str | None]:
    """The source of a job's weights, and what `device=auto` chose; a refusal is kept in its `error`."""
    if not job.error:
        try:
            return check_run(job)
        except UserError as error:
            job.error = str(error)
    return None, None


def add_jobs(sweep: Sweep, jobs: list[ComposedRun], sources: list[Any]) -> None:
    """Write all jobs to the manifest, then their folders: a kill in between leaves a sweep that can be resumed."""
    names = job_names([job.overrides for job in jobs])
    sweep.jobs = [Job(n, name, job.overrides) for n, (name, job) in enumerate(zip(names, jobs, strict=True))]
    sweep.write()
    for entry, job, source in zip(sweep.jobs, jobs, sources, strict=True):
        write_job(sweep.path(entry), job, source, entry)
    sweep.write()


def add_trial(sweep: Sweep, job: ComposedRun, source: Any, drawn: list[str], trial: list[int]) -> Job:
    """The same for the next job of a search, which is named by what was drawn."""
    values = dict(override.split("=", 1) for override in job.overrides)
    number = len(sweep.jobs)
    entry = Job(number, job_name(number, {key: values[key] for key in drawn}), job.overrides, trial=trial)
    sweep.jobs.append(entry)
    write_job(sweep.path(entry), job, source, entry)
    sweep.write()
    return entry


def write_job(folder: Path, job: ComposedRun, source: Any, entry: Job) -> None:
    """Make and write a job's folder; for a job that was refused only run.json, as failed."""
    folder.mkdir(exist_ok=True)
    if job.error:
        known = {"command": job.command, "overrides": job.overrides, "choices": job.choices}
        info = run_info.new_run_info(status="failed", error=job.error, ended=run_info.timestamp(), **known)
        write_json(folder / run_info.FILE_NAME, info)
        entry.state, entry.error = "failed", job.error
    else:
        write_run_folder(job, folder, source)
        entry.state, entry.error = "pending", None
