"""The verb train: a fresh run, a sweep, or one of them resumed."""

import os
import shlex
from importlib import import_module

from seqlab.cli.compose import add_source_options, compose, pop_switches
from seqlab.cli.explain import explain_config
from seqlab.cli.overrides import get_config_folders, get_override, is_multirun, pop_allow
from seqlab.cli.plan import print_plan
from seqlab.cli.resume import prepare_resume
from seqlab.config.groups import default_options
from seqlab.config.nodes import flatten
from seqlab.config.targets import allow_words
from seqlab.errors import UserError
from seqlab.launch.create import ComposedRun, create_run
from seqlab.launch.imports import gc_paused
from seqlab.launch.run import check_multi_node, launch_command, launch_run
from seqlab.streams import ignore_broken_pipe, print_wrapped

RECIPE_VALUES = {"data.batch_size", "optimizer.lr", "optimizer.weight_decay", "trainer.max_epochs"}
SWEEP_KEYS = ("sweep=", "sweep.", "hydra/launcher=", "hydra.launcher.", "hydra/sweeper=")


@ignore_broken_pipe()
def main(args: list[str]) -> int:
    """Compose, create the run folder, run it; return the exit status."""
    args = pop_allow(args)
    if get_override(args, "resume"):
        launch_run(prepare_resume(args))
        return 0
    if is_multirun(args) or get_override(args, "sweep.resume"):
        return main_sweep(args)
    for arg in args:
        if arg.startswith(SWEEP_KEYS):
            raise UserError(f"{arg} is for sweeps: type -m, as in seqlab train -m model=rnn,lstm sweep.seeds=3.")
    collector = compose("train", add_source_options(args))
    if not collector.jobs:
        return 0
    from seqlab.device import num_local_processes

    with gc_paused():  # what checking and training will need
        import_module("seqlab.training.train")
    (job,) = collector.jobs
    switches = pop_switches(job)
    if switches["explain"]:
        explain_config(job, get_config_folders(args))
        return 0
    if switches["plan"]:
        return print_plan([job])
    if switches["start"]:
        check_multi_node(job.config)
    print_recipe(job)
    run = create_run(job)
    if switches["start"]:
        launch_run(run)
    else:
        nodes, processes = job.config["trainer"].get("num_nodes", 1), num_local_processes(job.config["trainer"])
        several = f"srun --nodes {nodes} --ntasks-per-node {processes} " if nodes > 1 else ""
        print_wrapped(f"Written, to be started with: {several}{shlex.join(launch_command(run))}{allow_words()}")
    return 0


def print_recipe(job: ComposedRun) -> None:
    """Say what was chosen along with what was typed: data choose their task, and a task its recipe and its values."""
    typed = {override.split("=")[0] for override in job.overrides}
    defaults = default_options()
    chosen = [
        f"{group}={option}"
        for group, option in job.choices.items()
        if group not in typed and option != defaults.get(group, option)
    ]
    if job.choices["task"] != defaults["task"]:
        own = {key for key in RECIPE_VALUES if key.split(".")[0] in typed - {"data"}}  # of a typed optimizer, say
        values = [
            f"{key}={'null' if value is None else value}"
            for key, value in flatten(job.config).items()
            if key in RECIPE_VALUES - typed - own
        ]
        print_wrapped(f"recipe      {' '.join([*chosen, *values])}")


def main_sweep(args: list[str]) -> int:
    """Run or resume a sweep; return the exit status. Raises UserError on a system that cannot fork."""
    if not hasattr(os, "fork"):
        raise UserError(
            "Sweeps need a system that can fork, and Windows cannot: train the runs one by one, or use WSL."
        )
    from seqlab.cli.sweep import continue_sweep, run_job_now, run_sweep
    from seqlab.sweeps.process import start_fork_server

    if get_override(args, "sweep.resume"):
        start_fork_server()  # it imports what jobs need meanwhile
        return continue_sweep(args)
    if "plan=true" not in args:
        start_fork_server()
    collector = compose("train", add_source_options(args), run_job_now)
    return 0 if collector.launch is None else run_sweep(collector, args)
