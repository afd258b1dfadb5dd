"""Runs a sweep, new or resumed, to its report."""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from seqlab.config.signatures import check_arguments
from seqlab.errors import UserError
from seqlab.launch.create import ComposedRun
from seqlab.loggers import write_images
from seqlab.report.files import write_report
from seqlab.report.rows import Report
from seqlab.runs.folder import read_config, relative_to_cwd
from seqlab.runs.process import lock_folder
from seqlab.streams import print_wrapped
from seqlab.sweeps.create import ComposeJobs, add_jobs, check_jobs, create_sweep
from seqlab.sweeps.display import Display
from seqlab.sweeps.local import LocalLauncher
from seqlab.sweeps.manifest import Sweep
from seqlab.sweeps.scheduler import Launcher, Scheduler
from seqlab.sweeps.slurm import SlurmLauncher

SEARCH_SLOTS = 8  # trials at once on a cluster: a search learns from the trials before


@dataclass
class SweepResult:
    """A sweep that has come to its end, and its report."""

    sweep: Sweep
    report: Report

    @property
    def exit_status(self) -> int:
        """0 if every job of a grid, or any trial of a search, is done; pruned trials are as good as done."""
        is_good = self.sweep.count("done") if self.sweep.search else not self.sweep.count("failed", "interrupted")
        return 0 if is_good else 1


def write_sweep(jobs: list[ComposedRun], options: list[str], settings: dict[str, Any]) -> Sweep:
    """Check all jobs of a grid and write their folders. Raises UserError if none can run."""
    check_launcher_settings(settings)
    sources = check_jobs(jobs)
    sweep = create_sweep(next(job for job in jobs if not job.error), options, settings)
    add_jobs(sweep, jobs, sources)
    return sweep


def write_search(
    search: dict[str, Any], samples: list[ComposedRun], options: list[str], settings: dict[str, Any]
) -> Sweep:
    """Write the folder of a search: `search` is `{"blocks": overrides and ranges of each, "sweep": the config's node}`.

    `samples` is a trial of each block. Raises UserError if one is refused.
    """
    check_launcher_settings(settings)
    check_jobs(samples)
    config = samples[0].config
    if refusal := next((sample.error for sample in samples if sample.error), None):
        raise UserError(refusal)
    if any(sample.config["objective"] != config["objective"] for sample in samples):
        raise UserError("The blocks of this search have several objectives: give all of them one objective.metric.")
    search |= {"objective": config["objective"], "seed": config["seed"]}
    sweep = create_sweep(samples[0], options, settings, search)
    sweep.write()
    return sweep


def run_grid(sweep: Sweep) -> SweepResult:
    """Run the pending jobs of a grid, and report."""
    with lock_folder(sweep.folder):
        return run_jobs(sweep)


def run_jobs(sweep: Sweep) -> SweepResult:
    """The same for a sweep that is locked."""
    todo = [job for job in sweep.jobs if job.state == "pending"]
    configs = [read_config(sweep.path(job)) for job in todo]
    if todo:
        launcher = build_launcher(sweep, configs)
        print_sweep_header("sweep", sweep, len(todo), "job", launcher)
        with Display(sweep, len(todo), launcher.slots) as display:
            Scheduler(sweep, launcher, display).run(lambda: todo.pop(0) if todo else None)
    return finish_sweep(sweep)


def run_search(
    sweep: Sweep, compose: Callable[[list[list[str]]], list[ComposedRun]], samples: list[ComposedRun]
) -> SweepResult:
    """Run a new search, and report."""
    with lock_folder(sweep.folder):
        return run_trials(sweep, lambda _, jobs: compose(jobs), [sample.config for sample in samples])


def run_trials(sweep: Sweep, compose: ComposeJobs, configs: list[dict[str, Any]] | None = None) -> SweepResult:
    """Run what a search that is locked has left, and report."""
    from seqlab.sweeps.search import Search, storage_errors

    with storage_errors(sweep.folder):
        search = Search(sweep, compose)
        search.recover()
    configs = configs or [read_config(sweep.path(job)) for job in sweep.jobs if job.state != "failed"]
    launcher = build_launcher(sweep, configs)
    total = search.node["trials"] * len(search.blocks) - sweep.count("done", "failed", "pruned")
    if total:
        print_sweep_header("search", sweep, total, "trial", launcher)
    with storage_errors(sweep.folder), Display(sweep, total, launcher.slots) as display:
        Scheduler(sweep, launcher, display).run(search.ask, search.tell, search.should_prune)
    return finish_sweep(sweep)


def finish_sweep(sweep: Sweep) -> SweepResult:
    """Write the report, with its figures for TensorBoard too."""
    report = write_report(sweep.folder)
    if report.figures:
        write_images(sweep.folder / "report", report.figures)
    return SweepResult(sweep, report)


def print_sweep_header(kind: str, sweep: Sweep, count: int, unit: str, launcher: Launcher) -> None:
    """Say what starts, and where."""
    plural = "s" if count > 1 else ""
    parallel = min(launcher.slots, count)
    print_wrapped(f"{kind:<11} {relative_to_cwd(sweep.folder)}: {count} {unit}{plural}, {parallel} at once")


def is_local(settings: dict[str, Any]) -> bool:
    """True if jobs run on this machine, without submitit."""
    return "cluster" not in settings


def build_launcher(sweep: Sweep, configs: list[dict[str, Any]]) -> Launcher:
    """Where the sweep's jobs run."""
    if is_local(sweep.settings):
        return LocalLauncher(configs, **sweep.settings)
    return SlurmLauncher(SEARCH_SLOTS if sweep.search else sys.maxsize, **sweep.settings)


def check_launcher_settings(settings: dict[str, Any]) -> None:
    """Refuse settings that a launcher does not take. Raises UserError."""
    launcher = LocalLauncher if is_local(settings) else SlurmLauncher
    check_arguments(settings, launcher, "hydra.launcher", injected=("configs", "max_slots"))
    if not is_local(settings) and importlib.util.find_spec("submitit") is None:
        raise UserError("hydra/launcher=slurm needs submitit: pip install 'seqlab[slurm]'.")
