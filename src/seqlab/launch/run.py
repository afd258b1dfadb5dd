"""The one door: `python -m seqlab.start <run folder>` runs what its config.yaml says. Knows no Hydra."""

import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

from seqlab.errors import Interrupted, UserError, format_error, run_cli
from seqlab.files import lock_folder
from seqlab.launch.imports import gc_paused
from seqlab.runs import folder as runs
from seqlab.runs import ranks
from seqlab.runs.run_info import collect_environment, ensure_not_running, is_running, mark_ended, timestamp
from seqlab.streams import ignore_broken_pipe


def launch_run(run: Path) -> dict[str, float]:
    """Run a folder: in this process or, where it wants several, as the command that Lightning repeats for each of them."""
    if needs_subprocesses(runs.read_config(run)):
        sys.stdout.flush()
        os.execv(sys.executable, launch_command(run))
    return run_folder(run)


def launch_command(run: Path) -> list[str]:
    """The door's command; it imports nothing that lies in the working folder, unless the user allows it."""
    return [sys.executable, "-P", "-m", "seqlab.start", str(run)]


def needs_subprocesses(config: dict[str, Any]) -> bool:
    """Whether a run wants more than one process on this machine."""
    from seqlab import device

    return device.num_local_processes(config["trainer"]) > 1


def check_multi_node(config: dict[str, Any]) -> None:
    """Refuse to start a run on several machines from one of them. Raises Mistake."""
    nodes = config["trainer"].get("num_nodes", 1)
    if nodes > 1 and not ranks.is_externally_launched():
        raise UserError(
            f"trainer.num_nodes={nodes} needs Slurm or torchrun to start the processes on every machine: write the run with "
            "start=false, then let one of them start python -m seqlab.start <run folder>."
        )


def run_folder(run: Path) -> dict[str, float]:
    """Run a folder to its end, keeping run.json; its last metrics.

    A refusal or Ctrl-C before the first step removes a new folder again, except in a sweep.
    """
    with gc_paused():
        from seqlab import device
        from seqlab.config import targets
        from seqlab.training.train import train

    targets.add_cwd_to_path()
    config = runs.read_config(run)
    targets.check_targets(config)
    check_multi_node(config)
    configure_logging()
    processes = device.num_local_processes(config["trainer"])
    device.setup_process(config["threads"], processes)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    fresh = runs.read_run_info(run)["status"] == "pending"
    if ranks.get_rank():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # until the process ends: there is one log
    else:
        claim_run(run, processes)
    try:
        metrics = train(config, run)
    except BaseException as error:
        said = record_failure(run, error, fresh)
        if said is error:
            raise
        raise said from error
    runs.update_run_info(run, status="done", ended=timestamp())
    return metrics


def claim_run(run: Path, processes: int) -> None:
    """Say in run.json that this process trains the run. Raises Mistake where another one does."""
    around = collect_environment(processes)
    with lock_folder(run):
        ensure_not_running(run)
        ranks.clear_errors(run)
        runs.update_run_info(run, status="running", started=timestamp(), ended=None, error=None, **around)


def record_failure(run: Path, error: BaseException, fresh: bool) -> BaseException:
    """Say in run.json how a run ended that did not come to its end; what the user shall read of it."""
    if isinstance(error, SystemExit):  # what Lightning makes of Ctrl-C
        error = KeyboardInterrupt()
    stopped = isinstance(error, Interrupted | KeyboardInterrupt)
    said = f"{type(error).__name__}: {format_error(error)}"
    if ranks.get_rank():
        return record_rank_failure(run, error, said, stopped)
    if not isinstance(error, UserError) and not stopped and needs_subprocesses(runs.read_config(run)):
        if reported := ranks.first_error(run, patience=2):
            error, said = UserError(reported), reported
    ranks.clear_errors(run)
    unwanted = fresh and (stopped or isinstance(error, UserError))
    mark_ended(run, "interrupted" if stopped else "failed", said, unwanted)
    return error


def record_rank_failure(run: Path, error: BaseException, said: str, stopped: bool) -> BaseException:
    """Leave word for the first rank, and if that one is dead write run.json in its stead. Only a bug is shown here."""
    if stopped:
        return SystemExit(0)  # all ranks stop together, and the first one says so
    if not isinstance(error, UserError):
        time.sleep(0.5)  # perhaps only the loss of another rank, which says why before this one does
    try:
        record = runs.read_run_info(run)
    except FileNotFoundError:  # the first one has taken the folder away
        return SystemExit(1)
    if record["status"] not in ("pending", "running"):
        return SystemExit(1)  # the first one has said why
    if not is_running(record, remote=True):
        runs.update_run_info(run, everyone=True, status="failed", ended=timestamp(), error="rank 0: was killed")
        return SystemExit(1)
    others = ranks.first_error(run)
    ranks.report_error(run, ranks.get_rank(), said)
    return SystemExit(1) if others or isinstance(error, UserError) else error


def configure_logging() -> None:
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


@ignore_broken_pipe()
def main() -> int:
    """The command line of the door."""
    if len(sys.argv) != 2:
        print("python -m seqlab.start <run folder>", file=sys.stderr)
        return 2
    os.environ["PYTHONSAFEPATH"] = "1"  # -P for the ranks, which Lightning starts without it
    return run_cli(lambda: run_folder(runs.find_run(sys.argv[1], Path("runs"))))
