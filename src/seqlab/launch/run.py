"""The one door: `python -m seqlab.start <run folder>` runs what its config.yaml says. Knows no Hydra."""

import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

from seqlab.errors import Interrupted, Mistake, exit_status, sentence
from seqlab.files import held
from seqlab.launch.imports import uncollected
from seqlab.runs import folder as runs
from seqlab.runs import ranks
from seqlab.runs.run_info import alive, close, now, refuse_alive, surroundings
from seqlab.streams import unheard


def enter(run: Path) -> dict[str, float]:
    """Run a folder: in this process or, where it wants several, as the command that Lightning repeats for each of them."""
    if several(runs.read_config(run)):
        sys.stdout.flush()
        os.execv(sys.executable, command(run))
    return start(run)


def command(run: Path) -> list[str]:
    """The door's command; it imports nothing that lies in the working folder, unless the user allows it."""
    return [sys.executable, "-P", "-m", "seqlab.start", str(run)]


def several(config: dict[str, Any]) -> bool:
    """Whether a run wants more than one process on this machine."""
    from seqlab import device

    return device.processes(config["trainer"]) > 1


def check_launched(config: dict[str, Any]) -> None:
    """Refuse to start a run on several machines from one of them. Raises Mistake."""
    nodes = config["trainer"].get("num_nodes", 1)
    if nodes > 1 and not ranks.launched():
        raise Mistake(
            f"trainer.num_nodes={nodes} needs Slurm or torchrun to start the processes on every machine: write the run with "
            "start=false, then let one of them start python -m seqlab.start <run folder>."
        )


def start(run: Path) -> dict[str, float]:
    """Run a folder to its end, keeping run.json; its last metrics.

    A refusal or Ctrl-C before the first step removes a new folder again, except in a sweep.
    """
    with uncollected():
        from seqlab import device
        from seqlab.config import targets
        from seqlab.training.train import train

    targets.allow_here()
    config = runs.read_config(run)
    targets.check_targets(config)
    check_launched(config)
    quiet()
    processes = device.processes(config["trainer"])
    device.prepare(config["threads"], processes)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    fresh = runs.read_record(run)["status"] == "pending"
    if ranks.rank():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # until the process ends: there is one log
    else:
        take(run, processes)
    try:
        metrics = train(config, run)
    except BaseException as error:
        said = ended(run, error, fresh)
        if said is error:
            raise
        raise said from error
    runs.write_record(run, status="done", ended=now())
    return metrics


def take(run: Path, processes: int) -> None:
    """Say in run.json that this process trains the run. Raises Mistake where another one does."""
    around = surroundings(processes)
    with held(run):
        refuse_alive(run)
        ranks.forget(run)
        runs.write_record(run, status="running", started=now(), ended=None, error=None, **around)


def ended(run: Path, error: BaseException, fresh: bool) -> BaseException:
    """Say in run.json how a run ended that did not come to its end; what the user shall read of it."""
    if isinstance(error, SystemExit):  # what Lightning makes of Ctrl-C
        error = KeyboardInterrupt()
    stopped = isinstance(error, Interrupted | KeyboardInterrupt)
    said = f"{type(error).__name__}: {sentence(error)}"
    if ranks.rank():
        return of_another_rank(run, error, said, stopped)
    if not isinstance(error, Mistake) and not stopped and several(runs.read_config(run)):
        if reported := ranks.reported(run, patience=2):
            error, said = Mistake(reported), reported
    ranks.forget(run)
    unwanted = fresh and (stopped or isinstance(error, Mistake))
    close(run, "interrupted" if stopped else "failed", said, unwanted)
    return error


def of_another_rank(run: Path, error: BaseException, said: str, stopped: bool) -> BaseException:
    """Leave word for the first rank, and if that one is dead write run.json in its stead. Only a bug is shown here."""
    if stopped:
        return SystemExit(0)  # all ranks stop together, and the first one says so
    if not isinstance(error, Mistake):
        time.sleep(0.5)  # perhaps only the loss of another rank, which says why before this one does
    try:
        record = runs.read_record(run)
    except FileNotFoundError:  # the first one has taken the folder away
        return SystemExit(1)
    if record["status"] not in ("pending", "running"):
        return SystemExit(1)  # the first one has said why
    if not alive(record, elsewhere=True):
        runs.write_record(run, everyone=True, status="failed", ended=now(), error="rank 0: was killed")
        return SystemExit(1)
    others = ranks.reported(run)
    ranks.report(run, ranks.rank(), said)
    return SystemExit(1) if others or isinstance(error, Mistake) else error


def quiet() -> None:
    """Silence what Lightning and torch say of themselves, and not what they say of the run."""
    import logging

    import lightning.pytorch  # noqa: F401  # sets levels of its own when it is imported

    logging.getLogger("lightning").handlers.clear()
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for message in (
        ".*does not have many workers.*",
        ".*The number of training batches.*",
        ".*Checkpoint directory.*",
        ".*dataloader is not resumable.*",
        ".*lr_scheduler.step.*before.*optimizer.step.*",
        ".*TorchScript.*",
        ".*treespec.*",
        ".*across ranks is zero.*",
        ".*sync_dist.*",  # every rank has the value of all
        ".*isinstance.*LeafSpec.*",
    ):
        warnings.filterwarnings("ignore", message=message)
    warnings.showwarning = lambda message, *args, **kwargs: print(f"Warning: {message}", file=sys.stderr)


@unheard()
def main() -> int:
    """The command line of the door."""
    if len(sys.argv) != 2:
        print("python -m seqlab.start <run folder>", file=sys.stderr)
        return 2
    os.environ["PYTHONSAFEPATH"] = "1"  # -P for the ranks, which Lightning starts without it
    return exit_status(lambda: start(runs.find(sys.argv[1], Path("runs"))))
