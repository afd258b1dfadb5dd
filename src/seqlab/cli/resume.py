"""Going on with a stopped run: in its own folder, with its own config."""

import re
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from seqlab import device
from seqlab.cli.compose import absolute, dotted
from seqlab.cli.overrides import is_multirun, quoted, runs_folder, value_of
from seqlab.config import targets, validate
from seqlab.config.groups import groups
from seqlab.config.limits import check_ranges
from seqlab.config.nodes import flat
from seqlab.errors import Mistake, did_you_mean
from seqlab.files import sha256
from seqlab.runs import checkpoints
from seqlab.runs import folder as runs
from seqlab.runs.run_info import refuse_alive
from seqlab.weights import sources

Config = dict[str, Any]


# What the order of samples or the meaning of the weights hangs on; of the model only dropout is free.
BEGUN = re.compile(r"(seed|init_from|(adapter|tokenizer|model|data)\.(?!dropout$|path$|folders$|num_workers$).*)")


def resumed(words: list[str]) -> Path:
    """The folder of a run to go on with, its config updated by the words, after saying what is new in it.

    Raises Mistake for what cannot be gone on with; nothing of the run is changed then.
    """
    named = value_of(words, "resume") or "last"
    one_before = Path(named).name == checkpoints.PREVIOUS
    if Path(named).name in (checkpoints.PREVIOUS, checkpoints.LAST):
        named = str(Path(named).resolve().parents[1])
    run = runs.find(named, runs_folder(words))
    config, record = runs.read_config(run), runs.read_record(run)
    typed = [word for word in words if not word.startswith(("resume=", "paths.runs="))]
    if is_multirun(typed):
        raise Mistake("resume= goes on with one run, not with -m: resume the runs of a sweep one by one.")
    refuse_alive(run)
    updated = update(config, typed, record["choices"])
    before, now = flat(config), flat(updated)
    new = [key for key in now if now[key] != before.get(key)]
    for key in new:
        if BEGUN.fullmatch(key):
            raise Mistake(
                f"{key}={now[key]} cannot be changed in a run that has begun with {before.get(key)}: the samples it has seen, "
                f"or its weights, hang on it. Start a new run with init_from={run}."
            )
    check_ranges(updated)
    validate.check(updated, record["choices"])
    device.resolve(updated["trainer"], targets.class_of(updated, "task").safe_precisions)
    check_data(run, record["data"] or {}, typed)
    last = run / "checkpoints" / checkpoints.PREVIOUS if one_before else checkpoints.newest(run)
    if last:
        check_state(run, last, updated, record)
    elif record["status"] == "done":
        raise Mistake(f"{run} has kept no last.ckpt to go on from: start a new run with init_from={run}.")
    if one_before:
        checkpoints.go_back(run)
    for key in new:
        print(f"new value   {key}: {before.get(key)} -> {now[key]}")
    runs.write_config(run, updated)
    runs.write_record(run, overrides=[*record["overrides"], *typed], resumed=[*(record.get("resumed") or []), typed])
    return run


def check_state(run: Path, last: Path, updated: Config, record: Config) -> None:
    """Refuse a state that is damaged, not whole, of another model, or with nothing left to do. Raises Mistake."""
    checkpoints.check(last)
    state = checkpoints.load(last, mmap=True)
    if "optimizer_states" not in state:
        raise Mistake(f"{run} has kept no full last.ckpt to go on from: start a new run with init_from={run}.")
    sources.check_resumable(updated, record["facts"] or {}, last)
    if record["status"] != "done":
        return  # also if all steps are made: what comes after them may be missing
    trainer = updated["trainer"]
    for key, made, unit in (("max_steps", state["global_step"], "steps"), ("max_epochs", state["epoch"], "epochs")):
        if trainer[key] is not None and 0 <= trainer[key] <= made:
            raise Mistake(
                f"{run} is finished: it has made {made} {unit}, and trainer.{key}={trainer[key]}; to train on, give more."
            )


def check_data(run: Path, files: dict[str, str], typed: list[str]) -> None:
    """The data must be what they were, wherever they lie now. Raises Mistake."""
    moved = value_of(typed, "data.path")
    for path, digest in files.items():
        now = Path(moved or path).expanduser()
        if not now.is_file():
            raise Mistake(
                f"{now}, which this run was trained on, is not there: say where it is now with data.path=<file>."
            )
        if sha256(now) != digest:
            raise Mistake(
                f"{now} is not what this run was trained on (sha256 {sha256(now)[:12]}…, then {digest[:12]}…): bring the old "
                f"file back, or start a new run on this one with init_from={run}."
            )


def update(config: Config, words: list[str], chosen: dict[str, str]) -> Config:
    """New values of keys that the config has; another choice of a group is refused. Raises Mistake."""
    merged = OmegaConf.create(config)
    keys = list(dotted(config))
    for override in OverridesParser.create().parse_overrides(quoted(words)):
        if override.is_sweep_override():
            raise Mistake(
                f"{override.input_line} is a list of values to sweep over: give one, or [a list] in brackets."
            )
        key, value = override.key_or_group, override.value()
        if key == "data.path" and Path(str(value)).expanduser().exists():
            value = absolute(str(value))
        if key in groups():
            if value != chosen.get(key):
                raise Mistake(
                    f"{key}={value} cannot be changed in a run that has begun with {chosen.get(key)}: start a new one."
                )
            continue
        if key not in keys:
            raise Mistake(f"There is no {key} in this run's config.{did_you_mean(key, keys)}")
        OmegaConf.update(merged, key, value)
    return OmegaConf.to_container(merged, resolve=True)  # type: ignore[return-value]  # a dictionary
