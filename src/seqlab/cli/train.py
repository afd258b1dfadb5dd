"""The verb train: a fresh run, a sweep, or a run resumed."""

from importlib import import_module
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from seqlab import bases, checks
from seqlab.choices import groups
from seqlab.cli.composing import compose, dotted, offer
from seqlab.cli.words import is_multirun, quoted, runs_folder, take_allow, value_of
from seqlab.freeze import freeze
from seqlab.imports import uncollected
from seqlab.limits import check_ranges
from seqlab.mistakes import Mistake, did_you_mean
from seqlab.runs import folder as runs
from seqlab.runs.files import load_tensors
from seqlab.runs.record import alive
from seqlab.start import start


def run(words: list[str]) -> int:
    """Compose, freeze, start; the exit status."""
    if value_of(words, "resume"):
        start(resumed(take_allow(words)))
        return 0
    jobs = compose("train", with_base(words))
    if not jobs:
        return 0
    with uncollected():  # what checking and training will need
        import_module("seqlab.train")
    if is_multirun(words):
        from seqlab.sweeps.local import run_all

        return 1 if run_all(jobs) else 0
    start(freeze(jobs[0]))
    return 0


def with_base(words: list[str]) -> list[str]:
    """With `init_from`, the base's model and tokenizer become choices, and are chosen unless others are typed."""
    init_from = value_of(words, "init_from")
    if not init_from:
        return words
    base = bases.find(init_from, runs_folder(words))
    words = [word for word in words if not word.startswith("init_from=")] + [f"init_from={base.path}"]
    for group, node in (("model", base.model), ("tokenizer", base.tokenizer)):
        if node:
            offer(group, "base", node)
            if not any(word.startswith(f"{group}=") for word in words):
                words.append(f"{group}=base")
    return words


def resumed(words: list[str]) -> Path:
    """The folder of a run to go on with, its config updated by the words. Raises Mistake for what cannot be resumed."""
    run = runs.find(value_of(words, "resume") or "last", runs_folder(words))
    config, record = runs.read_config(run), runs.read_record(run)
    typed = [word for word in words if not word.startswith(("resume=", "paths.runs="))]
    if is_multirun(typed):
        raise Mistake("resume= goes on with one run, not with -m: resume the runs of a sweep one by one.")
    last = run / "checkpoints" / "last.ckpt"
    if record["status"] == "running" and alive(record):
        raise Mistake(
            f"{run} is being trained by process {record['process']['pid']}: wait for it, or stop it with Ctrl-C."
        )
    updated = update(config, typed, record["choices"])
    if record["status"] == "done" and not any(word.startswith("trainer.max_") for word in typed):
        raise Mistake(
            f"{run} is finished: to train on, raise trainer.max_epochs={config['trainer']['max_epochs']} besides."
        )
    if record["status"] == "done" and not (last.exists() and "optimizer_states" in load_tensors(last, mmap=True)):
        raise Mistake(f"{run} has kept no full last.ckpt to go on from: start a new run with init_from={run}.")
    check_ranges(updated)
    checks.check(updated, record["choices"])
    runs.write_config(run, updated)
    return run


def update(config: dict[str, Any], words: list[str], chosen: dict[str, str]) -> dict[str, Any]:
    """New values of keys that the config has; another choice of a group is refused."""
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
