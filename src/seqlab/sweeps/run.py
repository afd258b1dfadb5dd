"""A sweep from its beginning, or again from where it stopped, to its table."""

import importlib.util
import sys
from collections.abc import Callable
from typing import Any

from seqlab.errors import UserError
from seqlab.files import lock_folder
from seqlab.launch.create import ComposedRun
from seqlab.loggers import write_images
from seqlab.report.files import write_report
from seqlab.report.tables import print_report
from seqlab.runs import folder as runs
from seqlab.runs.folder import relative_to_cwd
from seqlab.sweeps import create
from seqlab.sweeps.create import ComposeJobs
from seqlab.sweeps.display import Display
from seqlab.sweeps.local import LocalLauncher
from seqlab.sweeps.manifest import Sweep
from seqlab.sweeps.scheduler import Launcher, Scheduler


def start_sweep(jobs: list[ComposedRun], options: list[str], settings: dict[str, Any], start: bool) -> int:
    """Check and freeze all jobs, then run them unless they are only to be written; exit status."""
    check_launcher_settings(settings)
    bases = create.check_jobs(jobs)
    sweep = create.create_sweep(next(job for job in jobs if not job.error), options, settings)
    create.add_jobs(sweep, jobs, bases)
    if not start:
        where = relative_to_cwd(sweep.folder)
        print(f"{len(jobs)} runs written to {where}; start them with: seqlab train sweep.resume={where}")
        return 1 if sweep.count("failed") else 0
    with lock_folder(sweep.folder):
        return run_jobs(sweep)


def run_jobs(sweep: Sweep) -> int:
    """Run what is pending of a grid, and report; exit status."""
    todo = [job for job in sweep.jobs if job.state == "pending"]
    configs = [runs.read_config(sweep.path(job)) for job in todo]
    if todo:
        launcher = build_launcher(sweep, configs)
        print_sweep_header("sweep", sweep, len(todo), "job", launcher)
        with Display(sweep, len(todo), launcher.slots) as display:
            Scheduler(sweep, launcher, display).run(lambda: todo.pop(0) if todo else None)
    return finish_sweep(sweep)


def print_sweep_header(kind: str, sweep: Sweep, count: int, unit: str, launcher: Launcher) -> None:
    """Say what begins, and where."""
    several = "s" if count > 1 else ""
    at_once = min(launcher.slots, count)
    print(f"{kind:<11} {relative_to_cwd(sweep.folder)}: {count} {unit}{several}, {at_once} at once", flush=True)


def start_search(
    search: dict[str, Any],
    samples: list[ComposedRun],
    compose: Callable[[list[list[str]]], list[ComposedRun]],
    options: list[str],
    settings: dict[str, Any],
) -> int:
    """Begin a search: `search` is `{"blocks": words and ranges of each, "sweep": the config's node}`; exit status.

    `samples` is a trial of each block. Raises Mistake where it is refused.
    """
    check_launcher_settings(settings)
    create.check_jobs(samples)
    config = samples[0].config
    if refused := next((sample.error for sample in samples if sample.error), None):
        raise UserError(refused)
    if any(sample.config["objective"] != config["objective"] for sample in samples):
        raise UserError("The blocks of this search have several objectives: give all of them one objective.metric.")
    search |= {"objective": config["objective"], "seed": config["seed"]}
    sweep = create.create_sweep(samples[0], options, settings, search)
    sweep.write()
    with lock_folder(sweep.folder):
        return run_search(sweep, lambda _, jobs: compose(jobs), [sample.config for sample in samples])


def run_search(sweep: Sweep, compose: ComposeJobs, configs: list[dict[str, Any]] | None = None) -> int:
    """Run what a search has left, and report; exit status: 0 where at least one trial is done."""
    from seqlab.sweeps.search import Search, storage_errors

    with storage_errors(sweep.folder):
        search = Search(sweep, compose)
        search.recover()
    configs = configs or [runs.read_config(sweep.path(job)) for job in sweep.jobs if job.state != "failed"]
    launcher = build_launcher(sweep, configs)
    total = search.node["trials"] * len(search.blocks) - sweep.count("done", "failed", "pruned")
    if total:
        print_sweep_header("search", sweep, total, "trial", launcher)
    with storage_errors(sweep.folder), Display(sweep, total, launcher.slots) as display:
        Scheduler(sweep, launcher, display).run(search.ask, search.tell, search.should_prune)
    finish_sweep(sweep)
    return 0 if sweep.count("done") else 1


def is_local(settings: dict[str, Any]) -> bool:
    """Whether jobs run on this machine, without submitit."""
    return "cluster" not in settings


def build_launcher(sweep: Sweep, configs: list[dict[str, Any]]) -> Launcher:
    """Where the sweep's jobs run."""
    if is_local(sweep.settings):
        return LocalLauncher(sweep.settings, configs)
    from seqlab.sweeps.slurm import SlurmLauncher

    return SlurmLauncher(sweep.settings, 8 if sweep.search else sys.maxsize)  # a search learns from the trials before


def finish_sweep(sweep: Sweep) -> int:
    """The table at the end, and the exit status: 0 where every job is done, or was pruned."""
    made = write_report(sweep.folder)
    print_report(made)
    if made.figures:
        write_images(sweep.folder / "report", made.figures)
    bad = sweep.count("failed", "interrupted")
    where = relative_to_cwd(sweep.folder)
    print(f"{sweep.count('done')} of {len(sweep.jobs)} runs done in {where}", flush=True)
    if bad and sweep.search:
        print(f"{bad} trials failed, which is a result too: they are not run again")
    elif bad:
        print(f"{bad} failed; once that is mended, run them again with: seqlab train sweep.resume={where}")
    return 1 if bad else 0


def check_launcher_settings(settings: dict[str, Any]) -> None:
    """Refuse settings of a launcher that cannot be. Raises Mistake."""
    jobs, minutes = settings["jobs"], settings["timeout_minutes"]
    if jobs is not None and (type(jobs) is not int or jobs < 1):
        raise UserError(f"hydra.launcher.jobs={jobs} is out of range: give 1 or more.")
    if (minutes is not None or not is_local(settings)) and (type(minutes) not in (int, float) or not minutes > 0):
        raise UserError(f"hydra.launcher.timeout_minutes={minutes} is out of range: give more than 0.")
    if not is_local(settings) and importlib.util.find_spec("submitit") is None:
        raise UserError("hydra/launcher=slurm needs submitit: pip install 'seqlab[slurm]'.")
