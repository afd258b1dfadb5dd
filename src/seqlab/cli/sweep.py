"""The verb train with -m or sweep.resume: what Hydra makes of the arguments, handed to the sweep."""

import contextlib
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

from seqlab.cli.compose import ComposeCache, ComposeCollector, add_source_options, compose_jobs, pop_switches
from seqlab.cli.hydra_errors import parse_overrides
from seqlab.cli.overrides import (
    get_config_dir_args,
    get_config_folders,
    get_override,
    get_runs_folder,
    is_multirun,
)
from seqlab.cli.plan import print_plan
from seqlab.cli.report import print_report
from seqlab.config.targets import allow_words
from seqlab.errors import UserError, did_you_mean
from seqlab.launch.create import ComposedRun, create_run
from seqlab.launch.run import launch_command, needs_subprocesses, run_folder
from seqlab.runs.folder import relative_to_cwd
from seqlab.streams import print_wrapped
from seqlab.sweeps import resume
from seqlab.sweeps.manifest import Sweep, find_sweep
from seqlab.sweeps.run import SweepResult, run_grid, run_search, write_search, write_sweep
from seqlab.sweeps.search import check_search, lowest_sample

RESUME_KEYS = (
    "sweep.resume",
    "sweep.use_saved_configs",
    "paths.runs",
    "hydra.launcher.jobs",
    "hydra.launcher.timeout_minutes",
)


def run_sweep(collector: ComposeCollector, args: list[str]) -> int:
    """Run what a command with -m asks for, or only print what it would be; return the exit status."""
    options, launch = get_config_dir_args(args), collector.launch or []
    if collector.search:
        return start_search(collector, options)
    remote = is_remote(collector.settings)
    jobs = compose_jobs(launch, get_config_folders(options), collector.command, {}, remote)
    switches = pop_all_switches(jobs)
    if any(found["plan"] for found in switches):
        return print_plan(jobs)
    sweep = write_sweep(jobs, options, collector.settings)
    if all(found["start"] for found in switches):
        return print_result(run_grid(sweep))
    folder = relative_to_cwd(sweep.folder)
    print_wrapped(
        f"{len(jobs)} runs written to {folder}; start them with: seqlab train sweep.resume={folder}{allow_words()}"
    )
    return 1 if sweep.count("failed") else 0


def start_search(collector: ComposeCollector, options: list[str]) -> int:
    """The same for a search."""
    node, blocks = collector.search or {}, collector.launch or []
    check_search(node, blocks)
    cache: ComposeCache = {}

    def compose(jobs: list[list[str]]) -> list[ComposedRun]:
        remote = is_remote(collector.settings)
        return compose_jobs(jobs, get_config_folders(options), collector.command, cache, remote)

    samples = compose([[*block["overrides"], *lowest_sample(block["ranges"])] for block in blocks])
    switches = pop_all_switches(samples)
    if any(found["plan"] for found in switches):
        print_wrapped(
            f"search      {node['trials']} trials of each block, of which this is one at the lower ends of all ranges"
        )
        return print_plan(samples)
    if not all(found["start"] for found in switches):
        raise UserError(
            "start=false writes the jobs of a sweep, and a search has none before it draws them: leave it out."
        )
    sweep = write_search({"blocks": blocks, "sweep": node}, samples, options, collector.settings)
    return print_result(run_search(sweep, lambda jobs: drop_switches(compose(jobs)), samples))


def continue_sweep(args: list[str]) -> int:
    """Resume a sweep, of which nothing is restated; return the exit status. Raises UserError for other arguments."""
    args = [arg for arg in args if not is_multirun([arg])]
    for arg in args:
        if (key := arg.split("=")[0]) not in RESUME_KEYS:
            raise UserError(
                f"{arg} has no effect here: sweep.resume= continues the jobs as they were typed."
                f"{did_you_mean(key, RESUME_KEYS)}"
            )
    typed = {override.key_or_group: override.value() for override in parse_overrides(args)}
    use_saved_configs = typed.get("sweep.use_saved_configs", False)
    if not isinstance(use_saved_configs, bool):
        raise UserError(f"sweep.use_saved_configs={use_saved_configs} is neither true nor false: type one of them.")
    settings = {key.rpartition(".")[2]: value for key, value in typed.items() if key.startswith("hydra.")}
    folder = find_sweep(get_override(args, "sweep.resume") or "last", get_runs_folder(args))
    return print_result(resume.resume_sweep(folder, settings, partial(recompose, {}), use_saved_configs))


def run_job_now(job: ComposedRun) -> None:
    """Run a job of another launcher here and now."""
    (switches,) = pop_all_switches([job])
    if switches["plan"]:
        print_plan([job])
        return
    run = create_run(job)
    if not switches["start"]:
        return
    if needs_subprocesses(job.config):
        subprocess.run(launch_command(run), check=True)
    else:
        run_folder(run)


def is_remote(settings: dict[str, Any]) -> bool:
    """True if a launcher's jobs run on other machines."""
    return settings.get("cluster", "local") != "local"


def pop_all_switches(jobs: list[ComposedRun]) -> list[dict[str, Any]]:
    """Remove command-only keys from the configs of all jobs. Raises UserError."""
    switches = [pop_switches(job) for job in jobs if not job.error]
    if any(found["explain"] for found in switches):
        raise UserError("explain=true explains one config: give one value of each instead of lists, and no -m.")
    return switches


def drop_switches(jobs: list[ComposedRun]) -> list[ComposedRun]:
    """Jobs without the command-only keys, which were obeyed before."""
    pop_all_switches(jobs)
    return jobs


def recompose(cache: ComposeCache, sweep: Sweep, jobs: list[list[str]]) -> list[ComposedRun]:
    """Compose the jobs of a sweep as of today, in the folder in which it was typed."""
    cwd = sweep.cwd if Path(sweep.cwd).is_dir() else "."
    with contextlib.chdir(cwd):
        for override in {override for job in jobs for override in job if override.startswith("init_from=")}:
            add_source_options([override])  # offers the base's model and tokenizer
        folders, remote = get_config_folders(sweep.options), is_remote(sweep.settings)
        return drop_switches(compose_jobs(jobs, folders, sweep.command, cache, remote))


def print_result(result: SweepResult) -> int:
    """Print the table of a sweep and what is not done; return the exit status."""
    print_report(result.report)
    sweep, folder = result.sweep, relative_to_cwd(result.sweep.folder)
    print_wrapped(f"{sweep.count('done')} of {len(sweep.jobs)} runs done in {folder}")
    failed = sweep.count("failed", "interrupted")
    if failed and sweep.search:
        print_wrapped(f"{failed} trials failed, which is a result too: they are not run again")
    elif failed:
        refused = [
            job for job in sweep.jobs if job.state == "failed" and not (sweep.path(job) / "config.yaml").exists()
        ]
        if len(refused) < failed:
            print_wrapped(
                f"{failed - len(refused)} not done; once that is fixed, run them with: seqlab train "
                f"sweep.resume={folder}{allow_words()}"
            )
        if refused:
            print_wrapped(
                f"{len(refused)} refused for what was typed: type what they should be in a sweep of their own"
            )
    return result.exit_status
