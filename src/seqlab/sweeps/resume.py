"""Going on with a sweep: what is missing, failed or interrupted runs again, from its last checkpoint if it has one."""

import time
from pathlib import Path
from typing import Any

from seqlab.config.nodes import find_differences, flatten
from seqlab.errors import UserError
from seqlab.files import compute_sha256, lock_folder
from seqlab.launch.create import ComposedRun
from seqlab.runs import folder as runs
from seqlab.runs.run_info import is_running
from seqlab.sweeps import create, manifest, source
from seqlab.sweeps.create import ComposeJobs
from seqlab.sweeps.manifest import Job, Sweep
from seqlab.sweeps.run import check_launcher_settings, is_local, run_jobs, run_search
from seqlab.sweeps.slurm import is_active

PATIENCE = 5.0  # seconds for what a killed sweep left to end


def resume_sweep(folder: Path, settings: dict[str, Any], compose: ComposeJobs, frozen: bool) -> int:
    """Run what is missing, failed or interrupted; exit status.

    Raises Mistake where what would be composed today is not what was frozen, unless `frozen`.
    """
    sweep = manifest.read_sweep(folder)
    with lock_folder(sweep.folder):
        sweep = manifest.read_sweep(folder)
        sweep.settings |= settings
        check_launcher_settings(sweep.settings)
        refresh_states(sweep)
        over = ("done", "pruned", "failed") if sweep.search else ("done", "pruned")  # a failed trial is a result
        todo = [job for job in sweep.jobs if job.state not in over]
        check_data_files(sweep)
        new = [job for job in todo if not (frozen and is_complete(sweep.path(job)))]
        today = compose(sweep, [job.words for job in new]) if new else []
        composed = dict(zip((job.number for job in new), today, strict=True))
        revalidate(sweep, todo, composed)
        if edited := source.changed_files(sweep.source):
            print(f"source      {len(edited)} files were edited since the sweep began, such as {edited[0]}")
            sweep.source = source.source_checksums()
        sweep.write()
        return run_search(sweep, compose) if sweep.search else run_jobs(sweep)


def refresh_states(sweep: Sweep) -> None:
    """What each run itself says of its state, for a sweep that was killed before it could note it.

    Raises Mistake where one is still running, on a cluster or because it was started by hand.
    """
    for job in sweep.jobs:
        if job.state == "pruned":
            continue
        file = sweep.path(job) / "run.json"
        record: dict[str, Any] = runs.read_run_info(sweep.path(job)) if file.exists() else {"status": "pending"}
        if record["status"] in ("pending", "running") and not is_local(sweep.settings) and is_active(sweep, job):
            raise UserError(
                f"{job.name} waits or runs on the cluster as {job.submitted}: wait for it, or cancel it there."
            )
        deadline = time.monotonic() + PATIENCE
        while record["status"] == "running" and is_running(record, remote=not is_local(sweep.settings)):
            if time.monotonic() > deadline:
                there = record["process"]
                raise UserError(
                    f"{sweep.path(job)} is being trained by process {there['pid']} on {there['host']}: wait for it, or stop it."
                )
            time.sleep(0.1)  # the jobs of a sweep that was killed die with it, but not before it
            record = runs.read_run_info(sweep.path(job))
        job.state = {"running": "interrupted"}.get(record["status"], record["status"])


def check_data_files(sweep: Sweep) -> None:
    """The files that jobs have read must be what they were. Raises Mistake."""
    records = [runs.read_run_info(sweep.path(job)) for job in sweep.jobs if (sweep.path(job) / "run.json").exists()]
    for file, digest in {pair for record in records for pair in (record["data"] or {}).items()}:
        if not Path(file).is_file():
            raise UserError(f"{file}, which this sweep was begun with, is not there: bring it back.")
        if compute_sha256(Path(file)) != digest:
            raise UserError(
                f"{file} is not what this sweep was begun with: bring the old file back, or begin a new sweep."
            )


def revalidate(sweep: Sweep, todo: list[Job], composed: dict[int, ComposedRun]) -> None:
    """Make jobs ready to run; one that was refused is written now, if it can be. Raises Mistake for a difference.

    `composed` is what would be composed today, by the job's number, of all jobs for which that matters.
    """
    lines: list[str] = []
    bases = {}
    for job in todo:
        if (today := composed.get(job.number)) is None:
            continue
        bases[job.number], _ = create.check_job(today)
        written = is_complete(sweep.path(job))
        if written and not today.error:
            configs = flatten(runs.read_config(sweep.path(job))), flatten(today.config)
            lines += [f"{job.name[:3]} {key}: {before} -> {now}" for key, before, now in find_differences(*configs)]
        elif written:
            lines.append(f"{job.name[:3]} is refused today: {today.error}")
    if lines:
        more = f"\n  … and {len(lines) - 12} more" if len(lines) > 12 else ""
        raise UserError(
            "What would be composed today is not what this sweep was begun with:\n  "
            + "\n  ".join(lines[:12])
            + more
            + "\nChange the configs back, or run those that were written with sweep.use_saved_configs=true."
        )
    for job in todo:
        if is_complete(sweep.path(job)):
            job.state, job.error = "pending", None
        else:
            create.write_job(sweep.path(job), composed[job.number], bases[job.number], job)
    sweep.write()


def is_complete(folder: Path) -> bool:
    """Whether a job's folder is whole: a kill may have come before, and one that was refused has no config."""
    return (folder / "config.yaml").exists() and (folder / "run.json").exists()
