"""The verb train with -m or sweep.resume: what Hydra makes of the words, handed to the sweep."""

import contextlib
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from seqlab.cli.compose import ComposeCache, ComposeCollector, add_source_options, compose_jobs
from seqlab.cli.overrides import get_config_folders, get_override, get_runs_folder, is_multirun, quote_overrides
from seqlab.cli.plan import show_plan
from seqlab.config.groups import COMMAND_KEYS
from seqlab.errors import UserError, did_you_mean
from seqlab.launch.create import ComposedRun, create_run
from seqlab.launch.run import launch_command, needs_subprocesses, run_folder
from seqlab.sweeps import manifest
from seqlab.sweeps.manifest import Sweep

RESUME_KEYS = (
    "sweep.resume",
    "sweep.use_saved_configs",
    "paths.runs",
    "hydra.launcher.jobs",
    "hydra.launcher.timeout_minutes",
)


def pop_switches(job: ComposedRun) -> dict[str, Any]:
    """What is for the command and not for the run leaves the config. Raises Mistake for a switch of another value."""
    found = {key: job.config.pop(key) for key in COMMAND_KEYS if key in job.config}
    for key, value in found.items():
        if key != "sweep" and not isinstance(value, bool):
            raise UserError(f"{key}={value} is neither true nor false: type {key}=true or {key}=false.")
    return found


def run_sweep(handed: ComposeCollector, words: list[str]) -> int:
    """Run what a command with -m comes down to, or only say what it would be; exit status."""
    from seqlab.sweeps import run

    options, launch = config_dir_flags(words), handed.launch or []
    if handed.search:
        return run_search(handed, options)
    jobs = compose_jobs(launch, get_config_folders(options), handed.command, {}, is_remote(handed.settings))
    switches = pop_all_switches(jobs)
    if any(found["plan"] for found in switches):
        return show_plan(jobs)
    return run.start_sweep(jobs, options, handed.settings, start=all(found["start"] for found in switches))


def run_search(handed: ComposeCollector, options: list[str]) -> int:
    """The same for one that draws its values."""
    from seqlab.sweeps import run
    from seqlab.sweeps.search import check_search, lowest_sample

    node, blocks = handed.search or {}, handed.launch or []
    check_search(node, blocks)
    words = [[*block["words"], *lowest_sample(block["ranges"])] for block in blocks]
    known: ComposeCache = {}

    def composed(jobs: list[list[str]]) -> list[ComposedRun]:
        return compose_jobs(jobs, get_config_folders(options), handed.command, known, is_remote(handed.settings))

    samples = composed(words)
    switches = pop_all_switches(samples)
    if any(found["plan"] for found in switches):
        print(
            f"search      {node['trials']} trials of each block, of which this is one at the lower ends of all ranges"
        )
        return show_plan(samples)
    if not all(found["start"] for found in switches):
        raise UserError(
            "start=false writes the jobs of a sweep, and a search has none before it draws them: leave it out."
        )
    found = {"blocks": blocks, "sweep": node}
    return run.start_search(found, samples, lambda jobs: drop_switches(composed(jobs)), options, handed.settings)


def is_remote(settings: dict[str, Any]) -> bool:
    """Whether a launcher's jobs run on other machines."""
    return settings.get("cluster", "local") != "local"


def pop_all_switches(jobs: list[ComposedRun]) -> list[dict[str, Any]]:
    """What is for the command, out of the configs of all jobs. Raises Mistake."""
    switches = [pop_switches(job) for job in jobs if not job.error]
    if any(found["explain"] for found in switches):
        raise UserError("explain=true explains one config: give one value of each instead of lists, and no -m.")
    return switches


def resume_sweep(words: list[str]) -> int:
    """Go on with a sweep, of which nothing is restated; exit status. Raises Mistake for words that have no place here."""
    from seqlab.sweeps import resume

    words = [word for word in words if not is_multirun([word])]
    for word in words:
        if (key := word.split("=")[0]) not in RESUME_KEYS:
            raise UserError(
                f"{word} has no place here: sweep.resume= goes on with the jobs as they were typed.{did_you_mean(key, RESUME_KEYS)}"
            )
    given = {o.key_or_group: o.value() for o in OverridesParser.create().parse_overrides(quote_overrides(words))}
    if not isinstance(given.get("sweep.use_saved_configs", False), bool):
        raise UserError(
            f"sweep.use_saved_configs={given['sweep.use_saved_configs']} is neither true nor false: type one of them."
        )
    settings = {key.rpartition(".")[2]: value for key, value in given.items() if key.startswith("hydra.")}
    folder = manifest.find_sweep(get_override(words, "sweep.resume") or "last", get_runs_folder(words))
    return resume.resume_sweep(folder, settings, partial(recompose, {}), given.get("sweep.use_saved_configs") is True)


def run_job_now(job: ComposedRun) -> None:
    """A job of a launcher that is not ours, here and now."""
    (switches,) = pop_all_switches([job])
    if switches["plan"]:
        show_plan([job])
        return
    folder = create_run(job)
    if not switches["start"]:
        return
    if needs_subprocesses(job.config):
        subprocess.run(launch_command(folder), check=True)
    else:
        run_folder(folder)


def config_dir_flags(words: list[str]) -> list[str]:
    """The words that composing a job needs besides its own: folders of configs."""
    flags = ("--config-dir", "-cd")
    pairs = zip(words, [*words[1:], ""], strict=True)
    return [
        part
        for word, after in pairs
        if word.split("=")[0] in flags
        for part in ((word,) if "=" in word else (word, after))
    ]


def recompose(known: ComposeCache, sweep: Sweep, jobs: list[list[str]]) -> list[ComposedRun]:
    """What would be composed today, typed where the sweep was typed."""
    there = sweep.cwd if Path(sweep.cwd).is_dir() else "."
    with contextlib.chdir(there):
        for word in {word for job in jobs for word in job if word.startswith("init_from=")}:
            add_source_options([word])  # offers the base's model and tokenizer
        remote = is_remote(sweep.settings)
        return drop_switches(compose_jobs(jobs, get_config_folders(sweep.options), sweep.command, known, remote))


def drop_switches(jobs: list[ComposedRun]) -> list[ComposedRun]:
    """Jobs as they run, where what their switches say was heard before."""
    pop_all_switches(jobs)
    return jobs
