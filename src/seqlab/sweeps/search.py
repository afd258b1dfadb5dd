"""Sweeps that draw values from ranges instead of trying all of them, by Optuna's ask and tell."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seqlab.errors import UserError
from seqlab.launch.create import ComposedRun
from seqlab.runs import metrics_log
from seqlab.runs.run_info import read_run_info
from seqlab.seeding import derive_seed
from seqlab.sweeps import create
from seqlab.sweeps.create import ComposeJobs
from seqlab.sweeps.manifest import Job, Sweep

STORAGE = "search.sqlite3"  # in the sweep's folder
SAMPLERS, PRUNERS = ("random", "tpe"), (None, "median", "halving")


def import_optuna() -> Any:
    """The package, which is an extra. Raises UserError if it is missing."""
    try:
        import optuna
    except ModuleNotFoundError:
        raise UserError("sweep.sampler needs Optuna: pip install 'seqlab[sweep]'.") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def check_search(node: dict[str, Any], blocks: list[dict[str, Any]]) -> None:
    """Refuse a search that cannot work. Raises UserError."""
    for key, value, options in (("sampler", node["sampler"], SAMPLERS), ("pruner", node["pruner"], PRUNERS)):
        if value not in options:
            raise UserError(f"sweep.{key}={value} is unknown: use {' or '.join(str(o or 'null') for o in options)}.")
    if type(node["trials"]) is not int or node["trials"] < 1:
        raise UserError(f"sweep.trials={node['trials']} is not a number of trials: give 1 or more.")
    if node["seeds"] is not None:
        raise UserError("sweep.seeds repeats the jobs of a grid, and a search draws its own: leave it out.")
    if not all(block["ranges"] for block in blocks):
        raise UserError(
            "This search has nothing to draw: give a range, such as optimizer.lr=tag(log,interval(1e-4,1e-1))."
        )
    for block in blocks:
        for key, drawn in block["ranges"].items():
            build_distribution(key, drawn)


def build_distribution(key: str, drawn: dict[str, Any]) -> Any:
    """Optuna's distribution for a range. Raises UserError for an impossible one."""
    distributions = import_optuna().distributions
    try:
        if "choices" in drawn:
            return distributions.CategoricalDistribution(drawn["choices"])
        is_whole = isinstance(drawn["low"], int) and isinstance(drawn["high"], int)
        return (distributions.IntDistribution if is_whole else distributions.FloatDistribution)(**drawn)
    except (ValueError, OverflowError) as error:
        raise UserError(f"{key} cannot be drawn from {drawn}: {error}") from error


def lowest_sample(ranges: dict[str, dict[str, Any]]) -> list[str]:
    """The overrides of a sample trial: the first choices, and the lower ends of ranges."""
    return [f"{key}={drawn['choices'][0] if 'choices' in drawn else drawn['low']}" for key, drawn in ranges.items()]


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Raises UserError if the state of the search cannot be written, as on a full disk."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, import_optuna().exceptions.StorageInternalError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise UserError(
            f"{folder / STORAGE} cannot be written ({reason}): free some space, and continue with sweep.resume={folder}."
        ) from error


class Search:
    """A study for each block, one block after another. What was asked and not told, the jobs' `trial` says."""

    def __init__(self, sweep: Sweep, compose: ComposeJobs) -> None:
        self.sweep, self.compose = sweep, compose
        search = sweep.search or {}
        self.blocks, self.node, self.seed = search["blocks"], search["sweep"], search["seed"]
        self.metric, mode = search["objective"]["metric"], search["objective"]["mode"]
        optuna = import_optuna()
        pruners = {"median": optuna.pruners.MedianPruner, "halving": optuna.pruners.SuccessiveHalvingPruner}
        pruner = pruners[self.node["pruner"]]() if self.node["pruner"] else optuna.pruners.NopPruner()
        if sweep.jobs and not (sweep.folder / STORAGE).exists():
            raise UserError(
                f"{sweep.folder / STORAGE}, the state of the search, is gone: restore it, or start a new search."
            )
        storage = f"sqlite:///{sweep.folder / STORAGE}"
        direction = {"min": "minimize", "max": "maximize"}[mode]
        self.studies = [
            optuna.create_study(
                storage=storage, study_name=f"block {n}", load_if_exists=True, direction=direction, pruner=pruner
            )
            for n in range(len(self.blocks))
        ]
        self.reported: dict[int, tuple[int, int]] = {}  # job -> size of its metrics file, last step reported
        self.interrupted: list[Job] = []

    def sampler(self, number: int) -> Any:
        """The sampler of a trial: what it draws depends on seed, trial and what was told, also after a kill."""
        samplers = import_optuna().samplers
        seed = derive_seed(self.seed, "search", number) % 2**32
        if self.node["sampler"] == "random":
            return samplers.RandomSampler(seed=seed)
        return samplers.TPESampler(seed=seed)

    def ask(self) -> Job | None:
        """The next job: one that was interrupted, else a new trial of the first block that lacks some."""
        if self.interrupted:
            return self.interrupted.pop(0)
        for number, (block, study) in enumerate(zip(self.blocks, self.studies, strict=True)):
            started = sum(job.trial is not None and job.trial[0] == number for job in self.sweep.jobs)
            if started < self.node["trials"]:
                study.sampler = self.sampler(started)
                drawn = study.ask({key: build_distribution(key, value) for key, value in block["ranges"].items()})
                return self.create_trial(block["overrides"], drawn.params, [number, drawn.number])
        return None

    def create_trial(self, overrides: list[str], params: dict[str, Any], trial: list[int]) -> Job:
        """Compose a trial and write its folder."""
        overrides = [*overrides, *(f"{key}={value}" for key, value in params.items())]
        try:
            (composed,) = self.compose(self.sweep, [overrides])
        except UserError as error:  # such as a yaml that is just being edited
            composed = ComposedRun(overrides=overrides, command=self.sweep.command, error=str(error))
        source, _ = create.check_job(composed)
        return create.add_trial(self.sweep, composed, source, list(params), trial)

    def get_trial(self, job: Job) -> Any:
        """The study's trial of a job."""
        block, number = job.trial or (0, 0)
        study = self.studies[block]
        return import_optuna().trial.Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)

    def tell(self, job: Job) -> None:
        """Tell the study what a trial reached; a value that is not finite is a failed trial."""
        states = import_optuna().trial.TrialState
        block, number = job.trial or (0, 0)
        if job.state == "interrupted":
            return  # it continues
        value = None
        if job.state != "failed":
            self.report_metrics(job)
            value = read_run_info(self.sweep.path(job))["metrics"]["best"].get(self.metric)
        is_good = job.state == "done" and value is not None and math.isfinite(value)
        state = states.COMPLETE if is_good else states.PRUNED if job.state == "pruned" else states.FAIL
        self.studies[block].tell(number, value if is_good else None, state=state, skip_if_finished=True)

    def should_prune(self, job: Job) -> bool:
        """True if the pruner stops a running trial, once its new validation values are reported."""
        return self.report_metrics(job) and self.get_trial(job).should_prune()

    def report_metrics(self, job: Job) -> bool:
        """Report what a trial has validated since the last time to the pruner; false if there was nothing."""
        file = self.sweep.path(job) / metrics_log.FILE_NAME
        size_before, last_step = self.reported.get(job.number, (0, 0))
        size = file.stat().st_size if file.exists() else 0  # before reading: it may grow
        if not self.node["pruner"] or size == size_before:
            return False
        trial = self.get_trial(job)
        points = [p for p in metrics_log.read_metrics(file.parent) if p["step"] > last_step and self.metric in p]
        for point in points:
            trial.report(point[self.metric], point["step"])
        self.reported[job.number] = (size, points[-1]["step"] if points else last_step)
        return bool(points)

    def recover(self) -> None:
        """After a kill: tell what was not told, continue interrupted jobs, give up trials that got no folder."""
        states = import_optuna().trial.TrialState
        jobs = {tuple(job.trial or ()): job for job in self.sweep.jobs}
        for block, study in enumerate(self.studies):
            for trial in study.get_trials(states=(states.RUNNING,)):
                job = jobs.get((block, trial.number))
                if job is None:
                    study.tell(trial.number, state=states.FAIL)
                elif job.state in ("pending", "interrupted"):
                    self.interrupted.append(job)
                else:
                    self.tell(job)
