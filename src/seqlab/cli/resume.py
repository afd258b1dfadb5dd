"""Going on with a stopped run: in its own folder, with its own config."""

import re
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from seqlab import device
from seqlab.cli.compose import absolute_path, dotted_keys
from seqlab.cli.overrides import get_override, get_runs_folder, is_multirun, quote_overrides
from seqlab.config import targets, validate
from seqlab.config.groups import group_options
from seqlab.config.limits import check_ranges
from seqlab.config.nodes import flatten
from seqlab.errors import UserError, did_you_mean
from seqlab.files import compute_sha256
from seqlab.runs import checkpoints
from seqlab.runs import folder as runs
from seqlab.runs.run_info import ensure_not_running
from seqlab.weights import sources

Config = dict[str, Any]


# What the order of samples or the meaning of the weights hangs on; of the model only dropout is free.
IMMUTABLE_KEYS = re.compile(
    r"(seed|init_from|(adapter|tokenizer|model|data)\.(?!dropout$|path$|folders$|num_workers$).*)"
)


def prepare_resume(words: list[str]) -> Path:
    """The folder of a run to go on with, its config updated by the words, after saying what is new in it.

    Raises Mistake for what cannot be gone on with; nothing of the run is changed then.
    """
    named = get_override(words, "resume") or "last"
    one_before = Path(named).name == checkpoints.PREVIOUS
    if Path(named).name in (checkpoints.PREVIOUS, checkpoints.LAST):
        named = str(Path(named).resolve().parents[1])
    run = runs.find_run(named, get_runs_folder(words))
    config, record = runs.read_config(run), runs.read_run_info(run)
    typed = [word for word in words if not word.startswith(("resume=", "paths.runs="))]
    if is_multirun(typed):
        raise UserError("resume= goes on with one run, not with -m: resume the runs of a sweep one by one.")
    ensure_not_running(run)
    updated = update_config(config, typed, record["choices"])
    before, now = flatten(config), flatten(updated)
    new = [key for key in now if now[key] != before.get(key)]
    for key in new:
        if IMMUTABLE_KEYS.fullmatch(key):
            raise UserError(
                f"{key}={now[key]} cannot be changed in a run that has begun with {before.get(key)}: the samples it has seen, "
                f"or its weights, hang on it. Start a new run with init_from={run}."
            )
    check_ranges(updated)
    validate.validate_config(updated, record["choices"])
    device.resolve_device(updated["trainer"], targets.get_class(updated, "task").safe_precisions)
    check_data_files(run, record["data"] or {}, typed)
    last = run / "checkpoints" / checkpoints.PREVIOUS if one_before else checkpoints.latest_checkpoint(run)
    if last:
        check_checkpoint(run, last, updated, record)
    elif record["status"] == "done":
        raise UserError(f"{run} has kept no last.ckpt to go on from: start a new run with init_from={run}.")
    if one_before:
        checkpoints.restore_previous(run)
    for key in new:
        print(f"new value   {key}: {before.get(key)} -> {now[key]}")
    runs.write_config(run, updated)
    runs.update_run_info(run, overrides=[*record["overrides"], *typed], resumed=[*(record.get("resumed") or []), typed])
    return run


def check_checkpoint(run: Path, last: Path, updated: Config, record: Config) -> None:
    """Refuse a state that is damaged, not whole, of another model, or with nothing left to do. Raises Mistake."""
    checkpoints.check_checksum(last)
    state = checkpoints.load_checkpoint(last, mmap=True)
    if "optimizer_states" not in state:
        raise UserError(f"{run} has kept no full last.ckpt to go on from: start a new run with init_from={run}.")
    sources.check_resumable(updated, record["data_properties"] or {}, last)
    if record["status"] != "done":
        return  # also if all steps are made: what comes after them may be missing
    trainer = updated["trainer"]
    for key, made, unit in (("max_steps", state["global_step"], "steps"), ("max_epochs", state["epoch"], "epochs")):
        if trainer[key] is not None and 0 <= trainer[key] <= made:
            raise UserError(
                f"{run} is finished: it has made {made} {unit}, and trainer.{key}={trainer[key]}; to train on, give more."
            )


def check_data_files(run: Path, files: dict[str, str], typed: list[str]) -> None:
    """The data must be what they were, wherever they lie now. Raises Mistake."""
    moved = get_override(typed, "data.path")
    for path, digest in files.items():
        now = Path(moved or path).expanduser()
        if not now.is_file():
            raise UserError(
                f"{now}, which this run was trained on, is not there: say where it is now with data.path=<file>."
            )
        if compute_sha256(now) != digest:
            raise UserError(
                f"{now} is not what this run was trained on (sha256 {compute_sha256(now)[:12]}…, then {digest[:12]}…): bring the old "
                f"file back, or start a new run on this one with init_from={run}."
            )


def update_config(config: Config, words: list[str], chosen: dict[str, str]) -> Config:
    """New values of keys that the config has; another choice of a group is refused. Raises Mistake."""
    merged = OmegaConf.create(config)
    keys = list(dotted_keys(config))
    for override in OverridesParser.create().parse_overrides(quote_overrides(words)):
        if override.is_sweep_override():
            raise UserError(
                f"{override.input_line} is a list of values to sweep over: give one, or [a list] in brackets."
            )
        key, value = override.key_or_group, override.value()
        if key == "data.path" and Path(str(value)).expanduser().exists():
            value = absolute_path(str(value))
        if key in group_options():
            if value != chosen.get(key):
                raise UserError(
                    f"{key}={value} cannot be changed in a run that has begun with {chosen.get(key)}: start a new one."
                )
            continue
        if key not in keys:
            raise UserError(f"There is no {key} in this run's config.{did_you_mean(key, keys)}")
        OmegaConf.update(merged, key, value)
    return OmegaConf.to_container(merged, resolve=True)  # type: ignore[return-value]  # a dictionary
