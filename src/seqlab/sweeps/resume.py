"""Resumes a sweep: what is missing, failed or interrupted runs again, from its last checkpoint if it has one."""

import time
from pathlib import Path
from typing import Any

from seqlab.config.nodes import find_differences, flatten
from seqlab.config.source import changed_files, source_checksums
from seqlab.config.targets import check_targets
from seqlab.errors import UserError
from seqlab.files import compute_sha256
from seqlab.launch.create import ComposedRun
from seqlab.runs.folder import read_config
from seqlab.runs.pending_resume import discard_resume
from seqlab.runs.process import is_running, lock_folder
from seqlab.runs.run_info import read_run_info
from seqlab.streams import print_wrapped
from seqlab.sweeps.create import ComposeJobs, check_job, write_job
from seqlab.sweeps.manifest import Job, Sweep, read_sweep
from seqlab.sweeps.run import SweepResult, check_launcher_settings, is_local, run_jobs, run_trials
from seqlab.sweeps.slurm import is_active

GRACE_SECONDS = 5.0  # for the jobs of a killed sweep to end
MAX_LINES = 12  # of a difference that are shown


def resume_sweep(folder: Path, settings: dict[str, Any], compose: ComposeJobs, use_saved_configs: bool) -> SweepResult:
    """Run what is missing, failed or interrupted.

    Raises UserError if what would be composed today differs from the saved configs, unless `use_saved_configs`.
    """
    with lock_folder(read_sweep(folder).folder):
        sweep = read_sweep(folder)
        sweep.settings |= settings
        check_launcher_settings(sweep.settings)
        refresh_states(sweep)
        finished = ("done", "pruned", "failed") if sweep.search else ("done", "pruned")  # a failed trial is a result
        todo = [job for job in sweep.jobs if job.state not in finished]
        for job in todo:
            if is_complete(sweep.path(job)):
                check_targets(read_config(sweep.path(job)))
        check_data_files(sweep)
        to_compose = [job for job in todo if not (use_saved_configs and is_complete(sweep.path(job)))]
        composed = compose(sweep, [job.overrides for job in to_compose]) if to_compose else []
        revalidate(sweep, todo, dict(zip((job.number for job in to_compose), composed, strict=True)))
        if todo and (files := changed_files(sweep.source, source_checksums())):
            print_wrapped(f"source      {len(files)} files were edited since the sweep started, such as {files[0]}")
            sweep.source = source_checksums()
        sweep.write()
        return run_trials(sweep, compose) if sweep.search else run_jobs(sweep)


def refresh_states(sweep: Sweep) -> None:
    """Read each job's state from its run.json, since a sweep that was killed may not have recorded it.

    Raises UserError if a job still runs, on a cluster or because it was started by hand.
    """
    for job in sweep.jobs:
        if job.state == "pruned":
            continue
        run = sweep.path(job)
        discard_resume(run)  # of the job alone, that was killed before its first step
        info: dict[str, Any] = read_run_info(run) if (run / "run.json").exists() else {"status": "pending"}
        if info["status"] in ("pending", "running") and not is_local(sweep.settings) and is_active(sweep, job):
            raise UserError(
                f"{job.name} waits or runs on the cluster as {job.submitted}: wait for it, or cancel it there."
            )
        deadline = time.monotonic() + GRACE_SECONDS
        while info["status"] == "running" and is_running(info, trust_other_hosts=not is_local(sweep.settings)):
            if time.monotonic() > deadline:
                process = info["process"]
                raise UserError(
                    f"{run} is being trained by process {process['pid']} on {process['host']}: wait for it, or stop it."
                )
            time.sleep(0.1)  # the jobs of a killed sweep end with it, but not before it
            info = read_run_info(run)
        job.state = {"running": "interrupted"}.get(info["status"], info["status"])


def check_data_files(sweep: Sweep) -> None:
    """The files that jobs have read must not have changed. Raises UserError."""
    infos = [read_run_info(sweep.path(job)) for job in sweep.jobs if (sweep.path(job) / "run.json").exists()]
    for file, digest in {pair for info in infos for pair in (info["data"] or {}).items()}:
        if not Path(file).is_file():
            raise UserError(f"{file}, which this sweep was started with, is missing: restore it.")
        if compute_sha256(Path(file)) != digest:
            raise UserError(f"{file} has changed since this sweep was started: restore it, or start a new sweep.")


def revalidate(sweep: Sweep, todo: list[Job], composed: dict[int, ComposedRun]) -> None:
    """Make jobs ready to run; one that was refused is written now, if it can be. Raises UserError for a difference.

    `composed` is what would be composed today, by the job's number, of the jobs for which that matters.
    """
    differences: list[str] = []
    sources = {}
    for job in todo:
        if (today := composed.get(job.number)) is None:
            continue
        sources[job.number], _ = check_job(today)
        if not is_complete(sweep.path(job)):
            continue
        if today.error:
            differences.append(f"{job.name[:3]} is refused today: {today.error}")
        else:
            saved = flatten(read_config(sweep.path(job)))
            changes = find_differences(saved, flatten(today.config))
            if today.choices.get("device") == "auto":  # measured then, perhaps not today
                changes = (change for change in changes if change[0] != "trainer.precision")
            differences += [f"{job.name[:3]} {key}: {before} -> {now}" for key, before, now in changes]
    if differences:
        more = f"\n  … and {len(differences) - MAX_LINES} more" if len(differences) > MAX_LINES else ""
        raise UserError(
            "What would be composed today differs from what this sweep was started with:\n  "
            + "\n  ".join(differences[:MAX_LINES])
            + more
            + "\nChange the configs back, or run the saved ones with sweep.use_saved_configs=true."
        )
    for job in todo:
        if is_complete(sweep.path(job)):
            job.state, job.error = "pending", None
        else:
            write_job(sweep.path(job), composed[job.number], sources[job.number], job)
    sweep.write()


def is_complete(folder: Path) -> bool:
    """True if a job's folder is complete: a kill may have come before, and one that was refused has no config."""
    return (folder / "config.yaml").exists() and (folder / "run.json").exists()
