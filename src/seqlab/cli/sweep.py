"""The verb train with -m or sweep.resume: what Hydra makes of the words, handed to the sweep."""

import contextlib
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from seqlab.cli.compose import HandOut, Known, compose_jobs, with_base
from seqlab.cli.overrides import config_folders, is_multirun, quoted, runs_folder, value_of
from seqlab.cli.plan import show_plan
from seqlab.config.groups import SWITCHES
from seqlab.errors import Mistake, did_you_mean
from seqlab.launch.create import Composed, freeze
from seqlab.launch.run import command, several, start
from seqlab.sweeps import manifest
from seqlab.sweeps.manifest import Sweep

AGAIN = ("sweep.resume", "sweep.frozen", "paths.runs", "hydra.launcher.jobs", "hydra.launcher.timeout_minutes")


def taken(job: Composed) -> dict[str, Any]:
    """What is for the command and not for the run leaves the config. Raises Mistake for a switch of another value."""
    found = {key: job.config.pop(key) for key in SWITCHES if key in job.config}
    for key, value in found.items():
        if key != "sweep" and not isinstance(value, bool):
            raise Mistake(f"{key}={value} is neither true nor false: type {key}=true or {key}=false.")
    return found


def sweep(handed: HandOut, words: list[str]) -> int:
    """Run what a command with -m comes down to, or only say what it would be; exit status."""
    from seqlab.sweeps import run

    options, launch = options_of(words), handed.launch or []
    if handed.search:
        return search(handed, options)
    jobs = compose_jobs(launch, config_folders(options), handed.command, {}, is_elsewhere(handed.settings))
    switches = switches_of(jobs)
    if any(found["plan"] for found in switches):
        return show_plan(jobs)
    return run.new(jobs, options, handed.settings, start=all(found["start"] for found in switches))


def search(handed: HandOut, options: list[str]) -> int:
    """The same for one that draws its values."""
    from seqlab.sweeps import run
    from seqlab.sweeps.search import check, sample

    node, blocks = handed.search or {}, handed.launch or []
    check(node, blocks)
    words = [[*block["words"], *sample(block["ranges"])] for block in blocks]
    known: Known = {}

    def composed(jobs: list[list[str]]) -> list[Composed]:
        return compose_jobs(jobs, config_folders(options), handed.command, known, is_elsewhere(handed.settings))

    samples = composed(words)
    switches = switches_of(samples)
    if any(found["plan"] for found in switches):
        print(
            f"search      {node['trials']} trials of each block, of which this is one at the lower ends of all ranges"
        )
        return show_plan(samples)
    if not all(found["start"] for found in switches):
        raise Mistake(
            "start=false writes the jobs of a sweep, and a search has none before it draws them: leave it out."
        )
    found = {"blocks": blocks, "sweep": node}
    return run.new_search(found, samples, lambda jobs: without_switches(composed(jobs)), options, handed.settings)


def is_elsewhere(settings: dict[str, Any]) -> bool:
    """Whether a launcher's jobs run on other machines."""
    return settings.get("cluster", "local") != "local"


def switches_of(jobs: list[Composed]) -> list[dict[str, Any]]:
    """What is for the command, out of the configs of all jobs. Raises Mistake."""
    switches = [taken(job) for job in jobs if not job.refused]
    if any(found["explain"] for found in switches):
        raise Mistake("explain=true explains one config: give one value of each instead of lists, and no -m.")
    return switches


def again(words: list[str]) -> int:
    """Go on with a sweep, of which nothing is restated; exit status. Raises Mistake for words that have no place here."""
    from seqlab.sweeps import resume

    words = [word for word in words if not is_multirun([word])]
    for word in words:
        if (key := word.split("=")[0]) not in AGAIN:
            raise Mistake(
                f"{word} has no place here: sweep.resume= goes on with the jobs as they were typed.{did_you_mean(key, AGAIN)}"
            )
    given = {o.key_or_group: o.value() for o in OverridesParser.create().parse_overrides(quoted(words))}
    if not isinstance(given.get("sweep.frozen", False), bool):
        raise Mistake(f"sweep.frozen={given['sweep.frozen']} is neither true nor false: type one of them.")
    settings = {key.rpartition(".")[2]: value for key, value in given.items() if key.startswith("hydra.")}
    folder = manifest.find(value_of(words, "sweep.resume") or "last", runs_folder(words))
    return resume.again(folder, settings, partial(composed_again, {}), given.get("sweep.frozen") is True)


def run_now(job: Composed) -> None:
    """A job of a launcher that is not ours, here and now."""
    (switches,) = switches_of([job])
    if switches["plan"]:
        show_plan([job])
        return
    folder = freeze(job)
    if not switches["start"]:
        return
    if several(job.config):
        subprocess.run(command(folder), check=True)
    else:
        start(folder)


def options_of(words: list[str]) -> list[str]:
    """The words that composing a job needs besides its own: folders of configs."""
    flags = ("--config-dir", "-cd")
    pairs = zip(words, [*words[1:], ""], strict=True)
    return [
        part
        for word, after in pairs
        if word.split("=")[0] in flags
        for part in ((word,) if "=" in word else (word, after))
    ]


def composed_again(known: Known, sweep: Sweep, jobs: list[list[str]]) -> list[Composed]:
    """What would be composed today, typed where the sweep was typed."""
    there = sweep.cwd if Path(sweep.cwd).is_dir() else "."
    with contextlib.chdir(there):
        for word in {word for job in jobs for word in job if word.startswith("init_from=")}:
            with_base([word])  # offers the base's model and tokenizer
        elsewhere = is_elsewhere(sweep.settings)
        return without_switches(compose_jobs(jobs, config_folders(sweep.options), sweep.command, known, elsewhere))


def without_switches(jobs: list[Composed]) -> list[Composed]:
    """Jobs as they run, where what their switches say was heard before."""
    switches_of(jobs)
    return jobs
