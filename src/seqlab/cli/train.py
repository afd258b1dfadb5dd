"""The verb train: a fresh run, a sweep, or one of them resumed."""

import shlex
from importlib import import_module

from seqlab.cli.compose import compose, with_base
from seqlab.cli.explain import explain
from seqlab.cli.overrides import config_folders, is_multirun, take_allow, value_of
from seqlab.cli.plan import show_plan
from seqlab.cli.resume import resumed
from seqlab.cli.sweep import again, run_now, sweep, taken
from seqlab.errors import Mistake
from seqlab.launch.create import freeze
from seqlab.launch.imports import uncollected
from seqlab.launch.run import check_launched, command, enter
from seqlab.streams import unheard
from seqlab.sweeps.process import fork_server


@unheard()
def run(words: list[str]) -> int:
    """Compose, freeze, start; the exit status."""
    words = take_allow(words)
    if value_of(words, "resume"):
        enter(resumed(words))
        return 0
    if value_of(words, "sweep.resume"):
        fork_server()  # it imports what jobs need meanwhile
        return again(words)
    for word in words if not is_multirun(words) else []:
        if word.startswith(("sweep=", "sweep.", "hydra/launcher=", "hydra.launcher.", "hydra/sweeper=")):
            raise Mistake(f"{word} is for sweeps: type -m, as in seqlab train -m model=rnn,lstm sweep.seeds=3.")
    if is_multirun(words) and "plan=true" not in words:
        fork_server()
    handed = compose("train", with_base(words), run_now)
    if handed.launch is not None:
        return sweep(handed, words)
    if not handed.jobs:
        return 0
    with uncollected():  # what checking and training will need
        import_module("seqlab.training.train")
    (job,) = handed.jobs
    switches = taken(job)
    if switches["explain"]:
        explain(job, config_folders(words))
        return 0
    if switches["plan"]:
        return show_plan([job])
    if switches["start"]:
        check_launched(job.config)
    folder = freeze(job)
    if switches["start"]:
        enter(folder)
    else:
        print(f"Written, to be started with: {shlex.join(command(folder))}")
    return 0
