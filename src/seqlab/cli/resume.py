"""Going on with a stopped run: in its own folder, with its own config."""

from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from seqlab import bases, checks
from seqlab.choices import groups
from seqlab.cli.composing import dotted
from seqlab.cli.words import is_multirun, quoted, runs_folder, value_of
from seqlab.fetching import sha256
from seqlab.limits import check_ranges
from seqlab.mistakes import Mistake, did_you_mean
from seqlab.runs import checkpoints
from seqlab.runs import folder as runs
from seqlab.runs.record import alive

Config = dict[str, Any]


def resumed(words: list[str]) -> Path:
    """The folder of a run to go on with, its config updated by the words, after saying what is new in it.

    Raises Mistake for what cannot be gone on with; nothing of the run is changed then.
    """
    named = value_of(words, "resume") or "last"
    damaged = Path(named).name == checkpoints.PREVIOUS  # then the one before is wanted
    if Path(named).name in (checkpoints.PREVIOUS, checkpoints.LAST):
        named = str(Path(named).parents[1])
    run = runs.find(named, runs_folder(words))
    config, record = runs.read_config(run), runs.read_record(run)
    typed = [word for word in words if not word.startswith(("resume=", "paths.runs="))]
    if is_multirun(typed):
        raise Mistake("resume= goes on with one run, not with -m: resume the runs of a sweep one by one.")
    if record["status"] == "running" and alive(record):
        raise Mistake(
            f"{run} is being trained by process {record['process']['pid']}: wait for it, or stop it with Ctrl-C."
        )
    updated = update(config, typed, record["choices"])
    last = run / "checkpoints" / checkpoints.PREVIOUS if damaged else checkpoints.newest(run)
    if record["status"] == "done":
        refuse_finished(run, last, config, typed)
    check_ranges(updated)
    checks.check(updated, record["choices"])
    check_data(run, record["data"] or {}, typed)
    if last:
        checkpoints.check(last)
        refuse_fewer(run, last, updated["trainer"])
        bases.check_resumable(updated, record["facts"] or {}, last)
    if damaged:
        checkpoints.go_back(run)
    for key in dotted(config):
        before, now = (OmegaConf.select(OmegaConf.create(each), key) for each in (config, updated))
        if before != now and not isinstance(now, dict) and not OmegaConf.is_config(now):
            print(f"new value   {key}: {before} -> {now}")
    runs.write_config(run, updated)
    runs.write_record(run, overrides=[*record["overrides"], *typed])
    return run


def refuse_finished(run: Path, last: Path | None, config: Config, typed: list[str]) -> None:
    """A run that is done goes on only if it shall train longer, and has kept the state to do so. Raises Mistake."""
    if not any(word.startswith("trainer.max_") for word in typed):
        raise Mistake(
            f"{run} is finished: to train on, raise trainer.max_epochs={config['trainer']['max_epochs']} besides."
        )
    if not (last and "optimizer_states" in checkpoints.load(last, mmap=True)):
        raise Mistake(f"{run} has kept no full last.ckpt to go on from: start a new run with init_from={run}.")


def refuse_fewer(run: Path, last: Path, trainer: Config) -> None:
    """Nothing is left to do where a run has made as many steps or epochs as it shall. Raises Mistake."""
    state = checkpoints.load(last, mmap=True)
    for key, made, unit in (("max_steps", state["global_step"], "steps"), ("max_epochs", state["epoch"], "epochs")):
        if trainer[key] is not None and 0 <= trainer[key] <= made:
            raise Mistake(
                f"trainer.{key}={trainer[key]} leaves nothing to do: {run} has made {made} {unit}; give more."
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
        key, value = override.key_or_group, override.value()
        if key in groups():
            if value != chosen.get(key):
                raise Mistake(
                    f"{key}={value} cannot be changed in a run that has begun with {chosen.get(key)}: start a new one."
                )
            continue
        if key not in keys:
            raise Mistake(f"There is no {key} in this run's config.{did_you_mean(key, keys)}")
        OmegaConf.update(merged, key, value)
    return OmegaConf.to_container(merged, resolve=True)  # type: ignore[return-value]
