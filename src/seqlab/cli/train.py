"""The verb train: a fresh run, a sweep, or one of them resumed."""

import shlex
from importlib import import_module

from seqlab.cli.compose import add_source_options, compose
from seqlab.cli.explain import explain_config
from seqlab.cli.overrides import get_config_folders, get_override, is_multirun, pop_allow
from seqlab.cli.plan import show_plan
from seqlab.cli.resume import prepare_resume
from seqlab.cli.sweep import pop_switches, resume_sweep, run_job_now, run_sweep
from seqlab.errors import UserError
from seqlab.launch.create import create_run
from seqlab.launch.imports import gc_paused
from seqlab.launch.run import check_multi_node, launch_command, launch_run
from seqlab.streams import ignore_broken_pipe
from seqlab.sweeps.process import start_fork_server


@ignore_broken_pipe()
def main(words: list[str]) -> int:
    """Compose, freeze, start; the exit status."""
    words = pop_allow(words)
    if get_override(words, "resume"):
        launch_run(prepare_resume(words))
        return 0
    if get_override(words, "sweep.resume"):
        start_fork_server()  # it imports what jobs need meanwhile
        return resume_sweep(words)
    for word in words if not is_multirun(words) else []:
        if word.startswith(("sweep=", "sweep.", "hydra/launcher=", "hydra.launcher.", "hydra/sweeper=")):
            raise UserError(f"{word} is for sweeps: type -m, as in seqlab train -m model=rnn,lstm sweep.seeds=3.")
    if is_multirun(words) and "plan=true" not in words:
        start_fork_server()
    handed = compose("train", add_source_options(words), run_job_now)
    if handed.launch is not None:
        return run_sweep(handed, words)
    if not handed.jobs:
        return 0
    with gc_paused():  # what checking and training will need
        import_module("seqlab.training.train")
    (job,) = handed.jobs
    switches = pop_switches(job)
    if switches["explain"]:
        explain_config(job, get_config_folders(words))
        return 0
    if switches["plan"]:
        return show_plan([job])
    if switches["start"]:
        check_multi_node(job.config)
    folder = create_run(job)
    if switches["start"]:
        launch_run(folder)
    else:
        print(f"Written, to be started with: {shlex.join(launch_command(folder))}")
    return 0
