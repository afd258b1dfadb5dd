"""Sweeps that draw values from ranges instead of going through all of them, by Optuna's ask and tell."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seqlab.errors import UserError
from seqlab.launch.create import ComposedRun
from seqlab.runs import folder as runs
from seqlab.runs.metrics_log import FILE_NAME as CURVE
from seqlab.runs.metrics_log import read_metrics
from seqlab.seeding import derive_seed
from seqlab.sweeps import create
from seqlab.sweeps.create import ComposeJobs
from seqlab.sweeps.manifest import Job, Sweep

STORAGE = "search.sqlite3"  # in the sweep's folder
SAMPLERS, PRUNERS = ("random", "tpe"), (None, "median", "halving")


def import_optuna() -> Any:
    """The package, which is an extra. Raises Mistake where it is missing."""
    try:
        import optuna
    except ModuleNotFoundError:
        raise UserError("sweep.sampler needs Optuna: pip install 'seqlab[sweep]'.") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def check_search(node: dict[str, Any], blocks: list[dict[str, Any]]) -> None:
    """Refuse a search that cannot be. Raises Mistake."""
    for key, value, options in (("sampler", node["sampler"], SAMPLERS), ("pruner", node["pruner"], PRUNERS)):
        if value not in options:
            raise UserError(f"sweep.{key}={value} is unknown: take {' or '.join(str(o or 'null') for o in options)}.")
    if type(node["trials"]) is not int or node["trials"] < 1:
        raise UserError(f"sweep.trials={node['trials']} is no number of trials: give 1 or more.")
    if node["seeds"] is not None:
        raise UserError("sweep.seeds repeats the jobs of a grid, and a search draws each of its own: leave it out.")
    if not all(block["ranges"] for block in blocks):
        raise UserError(
            "This search has nothing to draw: give a range, such as optimizer.lr=tag(log,interval(1e-4,1e-1))."
        )
    for block in blocks:
        for key, drawn in block["ranges"].items():
            build_distribution(key, drawn)


def build_distribution(key: str, drawn: dict[str, Any]) -> Any:
    """Optuna's distribution for what is drawn. Raises Mistake for a range that is none."""
    distributions = import_optuna().distributions
    try:
        if "choices" in drawn:
            return distributions.CategoricalDistribution(drawn["choices"])
        whole = isinstance(drawn["low"], int) and isinstance(drawn["high"], int)
        kind = distributions.IntDistribution if whole else distributions.FloatDistribution
        return kind(**drawn)
    except (ValueError, OverflowError) as error:
        raise UserError(f"{key} cannot be drawn from {drawn}: {error}") from error


def lowest_sample(ranges: dict[str, dict[str, Any]]) -> list[str]:
    """The words of a trial that no one has drawn: choices by the first one, ranges by their lower end."""
    return [f"{key}={drawn['choices'][0] if 'choices' in drawn else drawn['low']}" for key, drawn in ranges.items()]


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Raises Mistake where what the search knows cannot be written, as on a full disk."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, import_optuna().exceptions.StorageInternalError) as error:
        why = str(error.__cause__ or error).splitlines()[0]
        raise UserError(
            f"{folder / STORAGE} cannot be written ({why}): make room, and go on with sweep.resume={folder}."
        ) from error


class Search:
    """A study for each block, one block after another; what was asked and not told is known by the jobs' `trial`."""

    def __init__(self, sweep: Sweep, compose: ComposeJobs) -> None:
        self.sweep, self.compose = sweep, compose
        node = sweep.search or {}
        self.blocks, self.node, self.seed = node["blocks"], node["sweep"], node["seed"]
        self.metric, mode = node["objective"]["metric"], node["objective"]["mode"]
        package = import_optuna()
        pruners = {"median": package.pruners.MedianPruner, "halving": package.pruners.SuccessiveHalvingPruner}
        pruner = pruners[self.node["pruner"]]() if self.node["pruner"] else package.pruners.NopPruner()
        if sweep.jobs and not (sweep.folder / STORAGE).exists():
            raise UserError(
                f"{sweep.folder / STORAGE}, what the search knows, is gone: bring it back, or begin a new search."
            )
        storage = f"sqlite:///{sweep.folder / STORAGE}"
        directions = {"min": "minimize", "max": "maximize"}
        self.studies = [
            package.create_study(
                storage=storage, study_name=f"block {n}", load_if_exists=True, direction=directions[mode], pruner=pruner
            )
            for n in range(len(self.blocks))
        ]
        self.seen: dict[int, tuple[int, int]] = {}  # job -> size of its curve's file, last step reported
        self.again: list[Job] = []

    def sampler(self, number: int) -> Any:
        """The sampler of a trial: drawing is a function of seed, trial and what was told, also after a kill."""
        samplers = import_optuna().samplers
        seed = derive_seed(self.seed, "search", number) % 2**32
        if self.node["sampler"] == "random":
            return samplers.RandomSampler(seed=seed)
        return samplers.TPESampler(seed=seed)

    def ask(self) -> Job | None:
        """The next job: one that was interrupted, else a new trial of the first block that lacks some."""
        if self.again:
            return self.again.pop(0)
        for number, (block, study) in enumerate(zip(self.blocks, self.studies, strict=True)):
            begun = sum(job.trial is not None and job.trial[0] == number for job in self.sweep.jobs)
            if begun < self.node["trials"]:
                study.sampler = self.sampler(begun)
                drawn = study.ask({key: build_distribution(key, value) for key, value in block["ranges"].items()})
                return self.create_trial(block["words"], drawn.params, [number, drawn.number])
        return None

    def create_trial(self, words: list[str], params: dict[str, Any], trial: list[int]) -> Job:
        """Compose and freeze a trial."""
        words = [*words, *(f"{key}={value}" for key, value in params.items())]
        try:
            (composed,) = self.compose(self.sweep, [words])
        except UserError as mistake:  # such as a yaml that is just being edited
            composed = ComposedRun(overrides=words, command=self.sweep.command, error=str(mistake))
        base, _ = create.check_job(composed)
        return create.add_trial(self.sweep, composed, base, list(params), trial)

    def get_trial(self, job: Job) -> Any:
        """The study's trial of a job."""
        block, number = job.trial or (0, 0)
        study = self.studies[block]
        return import_optuna().trial.Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)

    def tell(self, job: Job) -> None:
        """What a trial came to; a value that is no number is a failed trial."""
        states = import_optuna().trial.TrialState
        block, number = job.trial or (0, 0)
        if job.state == "interrupted":
            return  # it goes on
        value = None
        if job.state != "failed":
            self.report_metrics(job)
            value = runs.read_run_info(self.sweep.path(job))["metrics"]["best"].get(self.metric)
        good = job.state == "done" and value is not None and math.isfinite(value)
        state = states.COMPLETE if good else states.PRUNED if job.state == "pruned" else states.FAIL
        self.studies[block].tell(number, value if good else None, state=state, skip_if_finished=True)

    def should_prune(self, job: Job) -> bool:
        """Whether the pruner gives a running trial up, once its new validation values are reported."""
        return self.report_metrics(job) and self.get_trial(job).should_prune()

    def report_metrics(self, job: Job) -> bool:
        """Give the pruner what a trial has validated since the last time; whether there was anything."""
        file = self.sweep.path(job) / CURVE
        before, last = self.seen.get(job.number, (0, 0))
        size = file.stat().st_size if file.exists() else 0  # before reading: it may grow
        if not self.node["pruner"] or size == before:
            return False
        trial = self.get_trial(job)
        points = [point for point in read_metrics(file.parent) if point["step"] > last and self.metric in point]
        for point in points:
            trial.report(point[self.metric], point["step"])
        self.seen[job.number] = (size, points[-1]["step"] if points else last)
        return bool(points)

    def recover(self) -> None:
        """After a kill: tell what was not told, take interrupted jobs up again, give up trials that got no folder."""
        states = import_optuna().trial.TrialState
        known = {tuple(job.trial or ()): job for job in self.sweep.jobs}
        for block, study in enumerate(self.studies):
            for trial in study.get_trials(states=(states.RUNNING,)):
                job = known.get((block, trial.number))
                if job is None:
                    study.tell(trial.number, state=states.FAIL)
                elif job.state in ("pending", "interrupted"):
                    self.again.append(job)
                else:
                    self.tell(job)
