"""Going on with a sweep: what is missing, failed or interrupted runs again, from its last checkpoint if it has one."""

import time
from pathlib import Path
from typing import Any

from seqlab.config.nodes import differences, flat
from seqlab.errors import Mistake
from seqlab.files import held, sha256
from seqlab.launch.create import Composed
from seqlab.runs import folder as runs
from seqlab.runs.run_info import alive
from seqlab.sweeps import create, manifest, source
from seqlab.sweeps.create import Compose
from seqlab.sweeps.manifest import Job, Sweep
from seqlab.sweeps.run import check_settings, is_local, run_all, search_all
from seqlab.sweeps.slurm import is_there

PATIENCE = 5.0  # seconds for what a killed sweep left to end


def again(folder: Path, settings: dict[str, Any], compose: Compose, frozen: bool) -> int:
    """Run what is missing, failed or interrupted; exit status.

    Raises Mistake where what would be composed today is not what was frozen, unless `frozen`.
    """
    sweep = manifest.read(folder)
    with held(sweep.folder):
        sweep = manifest.read(folder)
        sweep.settings |= settings
        check_settings(sweep.settings)
        look_again(sweep)
        over = ("done", "pruned", "failed") if sweep.search else ("done", "pruned")  # a failed trial is a result
        todo = [job for job in sweep.jobs if job.state not in over]
        check_data(sweep)
        new = [job for job in todo if not (frozen and is_written(sweep.path(job)))]
        today = compose(sweep, [job.words for job in new]) if new else []
        composed = dict(zip((job.number for job in new), today, strict=True))
        refreeze(sweep, todo, composed)
        if edited := source.edited(sweep.source):
            print(f"source      {len(edited)} files were edited since the sweep began, such as {edited[0]}")
            sweep.source = source.checksums()
        sweep.write()
        return search_all(sweep, compose) if sweep.search else run_all(sweep)


def look_again(sweep: Sweep) -> None:
    """What each run itself says of its state, for a sweep that was killed before it could note it.

    Raises Mistake where one is still running, on a cluster or because it was started by hand.
    """
    for job in sweep.jobs:
        if job.state == "pruned":
            continue
        file = sweep.path(job) / "run.json"
        record: dict[str, Any] = runs.read_record(sweep.path(job)) if file.exists() else {"status": "pending"}
        if record["status"] in ("pending", "running") and not is_local(sweep.settings) and is_there(sweep, job):
            raise Mistake(
                f"{job.name} waits or runs on the cluster as {job.submitted}: wait for it, or cancel it there."
            )
        deadline = time.monotonic() + PATIENCE
        while record["status"] == "running" and alive(record, elsewhere=not is_local(sweep.settings)):
            if time.monotonic() > deadline:
                there = record["process"]
                raise Mistake(
                    f"{sweep.path(job)} is being trained by process {there['pid']} on {there['host']}: wait for it, or stop it."
                )
            time.sleep(0.1)  # the jobs of a sweep that was killed die with it, but not before it
            record = runs.read_record(sweep.path(job))
        job.state = {"running": "interrupted"}.get(record["status"], record["status"])


def check_data(sweep: Sweep) -> None:
    """The files that jobs have read must be what they were. Raises Mistake."""
    records = [runs.read_record(sweep.path(job)) for job in sweep.jobs if (sweep.path(job) / "run.json").exists()]
    for file, digest in {pair for record in records for pair in (record["data"] or {}).items()}:
        if not Path(file).is_file():
            raise Mistake(f"{file}, which this sweep was begun with, is not there: bring it back.")
        if sha256(Path(file)) != digest:
            raise Mistake(
                f"{file} is not what this sweep was begun with: bring the old file back, or begin a new sweep."
            )


def refreeze(sweep: Sweep, todo: list[Job], composed: dict[int, Composed]) -> None:
    """Make jobs ready to run; one that was refused is written now, if it can be. Raises Mistake for a difference.

    `composed` is what would be composed today, by the job's number, of all jobs for which that matters.
    """
    lines: list[str] = []
    bases = {}
    for job in todo:
        if (today := composed.get(job.number)) is None:
            continue
        bases[job.number], _ = create.check_one(today)
        written = is_written(sweep.path(job))
        if written and not today.refused:
            configs = flat(runs.read_config(sweep.path(job))), flat(today.config)
            lines += [f"{job.name[:3]} {key}: {before} -> {now}" for key, before, now in differences(*configs)]
        elif written:
            lines.append(f"{job.name[:3]} is refused today: {today.refused}")
    if lines:
        more = f"\n  … and {len(lines) - 12} more" if len(lines) > 12 else ""
        raise Mistake(
            "What would be composed today is not what this sweep was begun with:\n  "
            + "\n  ".join(lines[:12])
            + more
            + "\nChange the configs back, or run those that were written with sweep.frozen=true."
        )
    for job in todo:
        if is_written(sweep.path(job)):
            job.state, job.error = "pending", None
        else:
            create.fill(sweep.path(job), composed[job.number], bases[job.number], job)
    sweep.write()


def is_written(folder: Path) -> bool:
    """Whether a job's folder is whole: a kill may have come before, and one that was refused has no config."""
    return (folder / "config.yaml").exists() and (folder / "run.json").exists()
