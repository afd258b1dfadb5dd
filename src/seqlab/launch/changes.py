"""What a resumed run changes of the config that its checkpoint was trained with, and what may not change."""

import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

from seqlab.build import build_schedule
from seqlab.config.nodes import DATA_PATHS, find_differences, flatten
from seqlab.errors import UserError
from seqlab.runs.checkpoints import load_checkpoint
from seqlab.runs.folder import read_config
from seqlab.streams import print_wrapped
from seqlab.weights.restore import needs_base

Config = dict[str, Any]
Change = tuple[str, Any, Any]  # a key, its value before, its value now

# What the folder, the order of samples or the meaning of the weights depends on; of the model only dropout may change.
IMMUTABLE_KEYS = re.compile(
    r"(name|seed|init_from|freeze|objective\..*|optimizer\.decay|(adapter|tokenizer|model|data)\.(?!dropout$|path$|val_path$|test_path$|folders$|num_workers$).*)"
)


def find_changes(run: Path, config: Config, checkpoint: Path | None) -> list[Change]:
    """What differs between a config and the one that the run was trained with so far, whether typed or edited by hand.

    Raises UserError for what cannot change in a run.
    """
    trained = read_trained_config(run, checkpoint)
    changes = list(find_differences(flatten(trained), flatten(config)))
    for key, before, now in changes:
        if IMMUTABLE_KEYS.fullmatch(key) and not (key == "init_from" and needs_base(trained)):
            raise UserError(
                f"{key}={now} cannot be changed in a run that was started with {before}: its folder, its weights or the "
                f"samples it has seen depend on it. Start a new run with init_from={run}."
            )
    check_schedule_can_change(config, changes)
    return changes


def read_trained_config(run: Path, checkpoint: Path | None) -> Config:
    """The config that a checkpoint was trained with; without one, config.yaml."""
    saved = load_checkpoint(checkpoint, mmap=True).get("callbacks", {}) if checkpoint else {}
    return saved.get("RunRecorder", {}).get("config") or read_config(run)


def check_schedule_can_change(config: Config, changes: list[Change]) -> None:
    """Refuse a new learning rate for a schedule that keeps its own in the checkpoint, as torch's do. Raises UserError.

    A LambdaLR keeps none, so that a resumed run has the new one from its next step on.
    """
    changed = [(key, before) for key, before, _ in changes if re.fullmatch(r"optimizer\.lr|schedule\..*", key)]
    if not changed:
        return
    with warnings.catch_warnings(action="ignore"):
        schedule = build_schedule(config["schedule"])(torch.optim.SGD([torch.zeros(1)], lr=1.0), total_steps=100)
    if not isinstance(schedule, LambdaLR):
        raise UserError(
            f"{changed[0][0]} was {changed[0][1]}, and cannot be changed while {type(schedule).__name__} is the schedule, which "
            "continues from what it keeps in the checkpoint: leave it out, or start a new run with init_from=<this run>."
        )


def print_changes(changes: list[Change], files: dict[str, str]) -> None:
    """Say what a resumed run trains with from now on. The place of the data, if that is where they were read, is not new."""
    for key, before, now in changes:
        places = now if isinstance(now, list) else [now]
        if key.removeprefix("data.") not in DATA_PATHS:
            shown = ("null" if value is None else value for value in (before, now))
            print_wrapped(f"new value   {key}: {' -> '.join(map(str, shown))}")
        elif not set(places) <= files.keys():
            more = f" and {len(places) - 1} more" if len(places) > 1 else ""
            print_wrapped(f"new value   {key}: {places[0]}{more}")
