"""A sweep from its beginning, or again from where it stopped, to its table."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from seqlab.freeze import Composed
from seqlab.mistakes import Mistake
from seqlab.report.files import make
from seqlab.report.tables import show
from seqlab.runs import folder as runs
from seqlab.runs.folder import short
from seqlab.sweeps import freezing, manifest, source
from seqlab.sweeps.display import Display
from seqlab.sweeps.local import Local
from seqlab.sweeps.manifest import Job, Sweep
from seqlab.sweeps.process import fork_server
from seqlab.sweeps.scheduler import Launcher, Scheduler
from seqlab.tracking.tensorboard import write_images

Compose = Callable[[Sweep, list[list[str]]], list[Composed]]


def new(jobs: list[Composed], options: list[str], settings: dict[str, Any], start: bool) -> int:
    """Check and freeze all jobs, then run them unless they are only to be written; exit status."""
    context = fork_server() if start and is_local(settings) else None  # imports what the jobs need meanwhile
    bases = freezing.checked(jobs)
    sweep = freezing.begin(next(job for job in jobs if not job.refused), options, settings)
    freezing.add(sweep, jobs, bases)
    if not start:
        print(
            f"{len(jobs)} runs written to {short(sweep.folder)}; start them with: seqlab train sweep.resume={short(sweep.folder)}"
        )
        return 1 if sweep.count("failed") else 0
    with manifest.held(sweep.folder):
        return run_all(sweep, context)


def run_all(sweep: Sweep, context: Any) -> int:
    """Run what is pending of a grid, and report; exit status."""
    todo = [job for job in sweep.jobs if job.state == "pending"]
    configs = [runs.read_config(sweep.path(job)) for job in todo]
    if todo:
        launcher = launcher_of(sweep, context, configs)
        announce("sweep", sweep, len(todo), "job", launcher)
        with Display(sweep, len(todo), launcher.slots) as display:
            Scheduler(sweep, launcher, display).run(lambda: todo.pop(0) if todo else None)
    return conclude(sweep)


def announce(kind: str, sweep: Sweep, count: int, unit: str, launcher: Launcher) -> None:
    """Say what begins, and where."""
    several = "s" if count > 1 else ""
    print(
        f"{kind:<11} {short(sweep.folder)}: {count} {unit}{several}, {min(launcher.slots, count)} at once", flush=True
    )


def new_search(
    search: dict[str, Any],
    samples: list[Composed],
    compose: Callable[[list[list[str]]], list[Composed]],
    options: list[str],
    settings: dict[str, Any],
) -> int:
    """Begin a search: `search` is `{"blocks": words and ranges of each, "sweep": the config's node}`; exit status.

    `samples` is a trial of each block. Raises Mistake where it is refused.
    """
    context = fork_server() if is_local(settings) else None
    freezing.checked(samples)
    config = samples[0].config
    search |= {"objective": config["objective"], "seed": config["seed"]}
    sweep = freezing.begin(samples[0], options, settings, search)
    sweep.write()
    with manifest.held(sweep.folder):
        return search_all(sweep, context, lambda _, jobs: compose(jobs), [sample.config for sample in samples])


def search_all(sweep: Sweep, context: Any, compose: Compose, configs: list[dict[str, Any]] | None = None) -> int:
    """Run what a search has left, and report; exit status: 0 where at least one trial is done."""
    from seqlab.sweeps.search import Search

    search = Search(sweep, compose)
    search.catch_up()
    configs = configs or [runs.read_config(sweep.path(job)) for job in sweep.jobs if job.state != "failed"]
    launcher = launcher_of(sweep, context, configs)
    total = search.node["trials"] * len(search.blocks)
    announce("search", sweep, total, "trial", launcher)
    with Display(sweep, total, launcher.slots) as display:
        Scheduler(sweep, launcher, display).run(search.ask, search.tell, search.hopeless)
    conclude(sweep)
    return 0 if sweep.count("done") else 1


def is_local(settings: dict[str, Any]) -> bool:
    """Whether jobs run on this machine, without submitit."""
    return "cluster" not in settings


def launcher_of(sweep: Sweep, context: Any, configs: list[dict[str, Any]]) -> Launcher:
    """Where the sweep's jobs run."""
    if is_local(sweep.settings):
        return Local(context or fork_server(), sweep.settings, configs)
    from seqlab.sweeps.slurm import Slurm

    return Slurm(sweep.settings)


def conclude(sweep: Sweep) -> int:
    """The table at the end, and the exit status: 0 where every job is done, or was pruned."""
    made = make(sweep.folder)
    show(made)
    if made.figures:
        write_images(sweep.folder / "report", made.figures)
    bad = sweep.count("failed", "interrupted")
    print(f"{sweep.count('done')} of {len(sweep.jobs)} runs done in {short(sweep.folder)}", flush=True)
    if bad:
        print(
            f"{bad} failed; once that is mended, run them again with: seqlab train sweep.resume={short(sweep.folder)}"
        )
    return 1 if bad else 0


def again(folder: Path, settings: dict[str, Any], compose: Compose, frozen: bool) -> int:
    """Run what is missing, failed or interrupted; exit status.

    Raises Mistake where what would be composed today is not what was frozen, unless `frozen`.
    """
    sweep = manifest.read(folder)
    with manifest.held(sweep.folder):
        sweep = manifest.read(folder)
        sweep.settings |= settings
        context = fork_server() if is_local(sweep.settings) else None
        look_again(sweep)
        over = ("done", "pruned", "failed") if sweep.search else ("done", "pruned")  # a failed trial is a result
        todo = [job for job in sweep.jobs if job.state not in over]
        composed = compose(sweep, [job.words for job in todo])
        refreeze(sweep, todo, composed, frozen)
        if edited := source.edited(sweep.source):
            print(f"source      {len(edited)} files were edited since the sweep began, such as {edited[0]}")
            sweep.source = source.checksums()
        sweep.write()
        return search_all(sweep, context, compose) if sweep.search else run_all(sweep, context)


def look_again(sweep: Sweep) -> None:
    """What each run itself says of its state, for a sweep that was killed before it could note it."""
    for job in sweep.jobs:
        file = sweep.path(job) / "run.json"
        status = runs.read_record(sweep.path(job))["status"] if file.exists() else "pending"
        if job.state != "pruned":
            job.state = {"running": "interrupted"}.get(status, status)


def refreeze(sweep: Sweep, todo: list[Job], composed: list[Composed], frozen: bool) -> None:
    """Make jobs ready to run; one that was refused is written now, if it can be. Raises Mistake for a difference."""
    lines: list[str] = []
    bases = {}
    for job, today in zip(todo, composed, strict=True):
        written = is_written(sweep.path(job))
        if frozen and written:
            continue
        bases[job.number], _ = freezing.check_one(today)
        if written and not today.refused:
            lines += [f"{job.name[:3]} {line}" for line in differing(runs.read_config(sweep.path(job)), today.config)]
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
    for job, today in zip(todo, composed, strict=True):
        folder = sweep.path(job)
        if is_written(folder):
            job.state, job.error = "pending", None
        else:
            freezing.fill(folder, today, bases.get(job.number), job)
    sweep.write()


def is_written(folder: Path) -> bool:
    """Whether a job's folder is whole: a kill may have come before, and one that was refused has no config."""
    return (folder / "config.yaml").exists() and (folder / "run.json").exists()


def differing(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """`key: before -> now` of what differs between two configs."""
    one, other = runs.flat(before), runs.flat(now)
    for key in dict.fromkeys([*one, *other]):
        if one.get(key) != other.get(key):
            yield f"{key}: {one.get(key)} -> {other.get(key)}"
