"""A run of seqlab's whose parts a benchmark can hold."""

from pathlib import Path
from typing import Any

from seqlab.build import build_trainer
from seqlab.callbacks.recorder import RunRecorder
from seqlab.cli.compose import compose, pop_switches
from seqlab.launch.create import create_run
from seqlab.runs.folder import read_config
from seqlab.runs.objective import Objective


def create(overrides: list[str]) -> tuple[Path, dict[str, Any]]:
    """A new run folder, and its config."""
    (job,) = compose("train", overrides).jobs
    pop_switches(job)
    run = create_run(job)
    return run, read_config(run)


def trainer_of(run: Path, config: dict[str, Any], *callbacks: Any) -> Any:
    """The Trainer of a run, with a benchmark's callbacks."""
    objective = Objective(**config["objective"])
    return build_trainer(config, run, [RunRecorder(run, objective, config), *callbacks], [], objective=objective)
