"""Resuming a run: in its own folder, with its own config and new values of some keys."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from seqlab.cli.hydra_api import absolute_path, dotted_keys, escape_interpolations
from seqlab.cli.hydra_errors import format_hydra_error, parse_overrides
from seqlab.cli.overrides import get_override, get_runs_folder, is_multirun
from seqlab.config.groups import group_options
from seqlab.config.nodes import DATA_PATHS
from seqlab.config.signatures import matches_type, type_hints
from seqlab.config.source import warn_if_edited
from seqlab.config.targets import check_targets, get_class
from seqlab.config.validate import parse_time, validate_config
from seqlab.data.corpus import SUFFIXES, find_texts
from seqlab.data.readers import RECORD_SUFFIXES
from seqlab.device import model_width, resolve_device
from seqlab.errors import UserError, did_you_mean
from seqlab.files import compute_sha256, expand_path
from seqlab.launch.changes import find_changes
from seqlab.runs import checkpoints
from seqlab.runs.folder import find_run, read_config
from seqlab.runs.pending_resume import write_pending_resume
from seqlab.runs.process import ensure_not_running
from seqlab.runs.run_info import read_run_info
from seqlab.streams import print_wrapped
from seqlab.weights.restore import check_resumable, needs_base, resolve_base
from seqlab.weights.sources import best_weights_path

Config = dict[str, Any]


def prepare_resume(args: list[str]) -> Path:
    """Ask for a resume with the overrides, and return the run's folder.

    Raises UserError for a run that cannot be resumed like that. Nothing of it changes before its first step.
    """
    name = get_override(args, "resume") or "last"
    use_previous = Path(name).name == checkpoints.PREVIOUS
    if Path(name).name in (checkpoints.PREVIOUS, checkpoints.LAST):
        name = str(Path(name).resolve().parents[1])
    if (expand_path(name) / "sweep.json").is_file():
        raise UserError(
            f"{name} is a sweep: continue it with sweep.resume={name}, or one of its runs with resume=<its folder>."
        )
    run = find_run(name, get_runs_folder(args))
    overrides = [arg for arg in args if not arg.startswith(("resume=", "paths.runs="))]
    if is_multirun(overrides):
        raise UserError("resume= continues one run, without -m: resume the runs of a sweep one by one.")
    for arg in overrides:
        if arg.startswith("-"):
            raise UserError(f"{arg} has no effect here: resume= continues with the run's own config; leave it out.")
    ensure_not_running(run)
    config, info = read_config(run), read_run_info(run)
    updated = update_config(config, overrides, info["choices"])
    checkpoint = run / "checkpoints" / checkpoints.PREVIOUS if use_previous else checkpoints.latest_checkpoint(run)
    check_targets(updated)
    validate_config(updated, info["choices"])
    find_changes(run, updated, checkpoint)
    safe = get_class(updated, "task").safe_precisions
    resolve_device(updated["trainer"], safe, width=model_width(updated["model"]))
    check_run_data(run, updated["data"], info["data"] or {}, overrides)
    if needs_base(updated):
        resolve_base(updated["init_from"], run)
    check_checkpoint(run, updated, info, checkpoint)
    warn_if_edited(run, info)
    if use_previous:
        checkpoints.restore_previous(run)
    write_pending_resume(run, updated, overrides)
    return run


def check_checkpoint(run: Path, updated: Config, info: dict[str, Any], last: Path | None) -> None:
    """Refuse a state that is damaged, incomplete, of another model, or with nothing left to do. Raises UserError."""
    if not last:
        if info["status"] == "done":
            remedy = f"start a new run with init_from={run}" if best_weights_path(run) else "train it again"
            raise UserError(f"{run} has kept no last.ckpt to continue from: {remedy}.")
        every = (updated["callbacks"].get("checkpoint") or {}).get("every_minutes")
        print_wrapped(
            "resumed     from the start, since no last.ckpt was saved yet"
            + (f" (callbacks.checkpoint.every_minutes={every})" if every else "")
        )
        return
    checkpoints.check_checksum(last)
    state = checkpoints.load_checkpoint(last, mmap=True)
    if "optimizer_states" not in state:
        raise UserError(f"{run} has kept no full last.ckpt to continue from: start a new run with init_from={run}.")
    check_resumable(updated, info["data_properties"] or {}, last)
    check_time_left(run, updated["trainer"].get("max_time"), state)
    if info["status"] != "done":
        return  # also if all steps are made: what follows them may be missing
    patience = (updated["callbacks"].get("early_stopping") or {}).get("patience")
    waited = state["callbacks"].get("EarlyStopping", {}).get("waited", 0)
    if patience and waited >= patience:
        raise UserError(
            f"{run} is finished: it stopped early, after {waited} measurements without a better objective; give "
            "callbacks.early_stopping.patience more, or null."
        )
    trainer = updated["trainer"]
    for key, made, unit in (("max_steps", state["global_step"], "steps"), ("max_epochs", state["epoch"], "epochs")):
        if trainer[key] is not None and 0 <= trainer[key] <= made:
            raise UserError(
                f"{run} is finished: it has made {made} {unit}, and trainer.{key}={trainer[key]}; give more to train on."
            )


def check_time_left(run: Path, max_time: str | dict[str, int] | None, state: dict[str, Any]) -> None:
    """Refuse a run whose time was up. Raises UserError."""
    if not max_time:
        return
    used = state["callbacks"].get("Timer", {}).get("time_elapsed", {}).get("train", 0)
    if used >= parse_time(max_time).total_seconds():
        raise UserError(f"{run} has trained for {used:.0f} s, and trainer.max_time={max_time} is up: give it more.")


def check_run_data(run: Path, data: Config, files: dict[str, str], overrides: list[str]) -> None:
    """The data must be what they were, wherever they are now; what was checked will be read. Raises UserError."""
    own = [key for key in DATA_PATHS[1:] if data.get(key)]
    if own:
        check_files_of_splits(run, data, files, own)
        return
    is_moved = any(override.startswith("data.path=") for override in overrides)
    places = find_places(data, files) if is_moved and files else [Path(file) for file in files]
    for place, digest in zip(places, files.values(), strict=True):
        if not place.is_file():
            raise UserError(
                f"{place}, which this run was trained on, is not there: give its new place with data.path=<file>, or "
                "<folder> if it was one of several."
            )
        if (found := compute_sha256(place)) != digest:
            raise UserError(
                f"{place} is not what this run was trained on (sha256 {found[:12]}…, then {digest[:12]}…): restore the old "
                f"file, or start a new run on this one with init_from={run}."
            )
    if places and "path" in data:  # and not what a look-up, or a folder, has today
        paths = [str(place.resolve()) for place in places]
        takes_list = matches_type(paths, type_hints(get_class({"data": data}, "data")).get("path", str))
        if len(paths) == 1 or takes_list:
            data["path"] = paths[0] if len(paths) == 1 else paths


def check_files_of_splits(run: Path, data: Config, files: dict[str, str], own: list[str]) -> None:
    """The files that the keys of data name today must be those that were read, in their order. Raises UserError."""
    keys = ["path", *own]
    places = [
        place
        for key in keys
        for place in find_texts(data[key], data.get("folders") or (), RECORD_SUFFIXES, key=f"data.{key}")
    ]
    known = {compute_sha256(place): place for place in places}
    for file, digest in files.items():
        if digest not in known:
            named = " or ".join(f"data.{key}" for key in keys)
            raise UserError(
                f"{named} has no file with the bytes of {file}, which this run was trained on: give its new place."
            )
    if list(known) != list(dict.fromkeys(files.values())):
        raise UserError(
            f"{run} was trained on {len(files)} files in another order, or without one of those that are there now: restore them."
        )


def find_places(data: Config, files: dict[str, str]) -> list[Path]:
    """Where files (path: sha256) are at the path that was typed for the data: there, or those of a folder, a pattern or a list
    that have their bytes. Raises UserError if one is missing.
    """
    typed = data["path"]
    if len(files) == 1 and isinstance(typed, str) and not expand_path(typed).is_dir():
        return [expand_path(typed)]
    known = {compute_sha256(place): place for place in find_texts(typed, suffixes=data.get("suffixes", SUFFIXES))}
    for file, digest in files.items():
        if digest not in known:
            raise UserError(f"data.path={typed} has no file with the bytes of {file}, which this run was trained on.")
    return [known[digest] for digest in files.values()]


def update_config(config: Config, overrides: list[str], choices: dict[str, str]) -> Config:
    """New values of keys that the config has. Raises UserError for another key, and another option of a group."""
    updated = OmegaConf.create(escape_interpolations(config))
    keys = list(dotted_keys(config))
    for override in parse_overrides(overrides):
        if override.is_sweep_override():
            raise UserError(
                f"{override.input_line} is a list of values to sweep over: give one, or [a list] in brackets."
            )
        key, value = override.key_or_group, override.value()
        if key in ("init_from", *(f"data.{name}" for name in DATA_PATHS)) and expand_path(str(value)).exists():
            value = escape_interpolations(absolute_path(str(value)))
        if key in group_options():
            if value != choices.get(key):
                raise UserError(
                    f"{key}={value} cannot be changed in a run that was started with {choices.get(key)}: start a new one."
                )
            continue
        if key not in keys:
            raise UserError(f"There is no {key} in this run's config.{did_you_mean(key, keys)}")
        OmegaConf.update(updated, key, value)
    try:
        return OmegaConf.to_container(updated, resolve=True)  # type: ignore[return-value]  # a dictionary
    except OmegaConfBaseException as error:  # of an override that refers to something
        raise UserError(format_hydra_error(error, "train", overrides, [])) from error
