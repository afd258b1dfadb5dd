"""The verb train: a fresh run, a sweep, or a run resumed."""

import shlex
from importlib import import_module

from seqlab import bases
from seqlab.cli.composing import compose, offer
from seqlab.cli.resume import resumed
from seqlab.cli.words import is_multirun, runs_folder, take_allow, value_of
from seqlab.freeze import Composed, freeze
from seqlab.imports import uncollected
from seqlab.mistakes import Mistake
from seqlab.start import check_launched, command, enter


def run(words: list[str]) -> int:
    """Compose, freeze, start; the exit status."""
    if value_of(words, "resume"):
        enter(resumed(take_allow(words)))
        return 0
    jobs = compose("train", with_base(words))
    if not jobs:
        return 0
    with uncollected():  # what checking and training will need
        import_module("seqlab.train")
    starts = [taken(job, "start") for job in jobs]
    if is_multirun(words):
        from seqlab.sweeps.local import run_all, write_all

        return 1 if (run_all if all(starts) else write_all)(jobs) else 0
    if all(starts):
        check_launched(jobs[0].config)
    folder = freeze(jobs[0])
    if all(starts):
        enter(folder)
    else:
        print(f"Written, to be started with: {shlex.join(command(folder))}")
    return 0


def taken(job: Composed, key: str) -> bool:
    """The value of a switch that is for the command and not for the run; it leaves the config. Raises Mistake."""
    value = job.config.pop(key)
    if not isinstance(value, bool):
        raise Mistake(f"{key}={value} is neither true nor false: type {key}=true or {key}=false.")
    return value


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
