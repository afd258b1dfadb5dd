"""The one door: every run, fresh, resumed, of a sweep or a rank, is a run folder that is run here. Knows no Hydra."""

import os
import sys
import time
import warnings
from bdb import BdbQuit
from pathlib import Path
from typing import Any

from seqlab.errors import Interrupted, UserError, format_error, is_out_of_memory, run_cli
from seqlab.files import write_json
from seqlab.launch.imports import gc_paused, limit_spinning
from seqlab.runs import ranks
from seqlab.runs.checkpoints import latest_checkpoint
from seqlab.runs.environment import collect_environment
from seqlab.runs.folder import find_run, is_in_sweep, mark_ended
from seqlab.runs.pending_resume import commit_resume, discard_resume, is_resume_pending, read_config_to_train
from seqlab.runs.process import ensure_not_running, is_running, lock_folder
from seqlab.runs.run_info import FILE_NAME, read_run_info, timestamp, update_run_info
from seqlab.streams import ignore_broken_pipe, print_wrapped

IGNORED_WARNINGS = (
    ".*does not have many workers.*",
    ".*The number of training batches.*",
    ".*Checkpoint directory.*",
    ".*dataloader is not resumable.*",
    ".*lr_scheduler.step.*before.*optimizer.step.*",
    ".*TorchScript.*",
    ".*treespec.*",
    ".*across ranks is zero.*",
    ".*sync_dist.*",  # every rank logs the value of all
    ".*isinstance.*LeafSpec.*",
    ".*GPU available but not used.*",  # device=cpu was chosen
)


def launch_run(run: Path) -> dict[str, float]:
    """Run a folder in this process or, if it needs several, as the command that Lightning repeats for each of them."""
    if needs_subprocesses(read_config_to_train(run)):
        sys.stdout.flush()
        os.execv(sys.executable, launch_command(run))
    return run_folder(run)


def launch_command(run: Path) -> list[str]:
    """The command that runs a folder; it imports nothing from the working folder, unless the user allows it."""
    return [sys.executable, "-P", "-m", "seqlab.start", str(run)]


def needs_subprocesses(config: dict[str, Any]) -> bool:
    """True if a run needs more than one process on this machine."""
    from seqlab.device import num_local_processes

    return num_local_processes(config["trainer"]) > 1


def check_multi_node(config: dict[str, Any]) -> None:
    """Refuse to start a run on several machines from one of them. Raises UserError."""
    nodes = config["trainer"].get("num_nodes", 1)
    if nodes > 1 and not ranks.is_externally_launched():
        raise UserError(
            f"trainer.num_nodes={nodes} needs Slurm or torchrun to start the processes on every machine: write the run with "
            "start=false, then let one of them start python -m seqlab.start <run folder>."
        )


def run_folder(run: Path) -> dict[str, float]:
    """Run a folder to its end, keeping run.json up to date; return the last metrics.

    A refusal or Ctrl-C before the first step removes a new folder again, except in a sweep; a resume that fails before
    its first step leaves the run as it was.
    """
    with gc_paused():
        from seqlab.callbacks.interrupt import EarlyInterrupt
        from seqlab.config.targets import add_cwd_to_path, check_targets
        from seqlab.config.validate import validate_config
        from seqlab.device import enough_threads, num_local_processes, setup_process
        from seqlab.launch.changes import find_changes, print_changes
        from seqlab.training.train import train

    add_cwd_to_path()
    config, before = read_config_to_train(run), read_run_info(run)
    try:
        check_targets(config)
        validate_config(config, before["choices"] or {})  # config.yaml may have been edited
        check_multi_node(config)
        is_fresh = before["status"] == "pending"
        changes = [] if is_fresh else find_changes(run, config, latest_checkpoint(run))
    except UserError as error:
        if is_resume_pending(run):
            if not ranks.get_rank():
                discard_resume(run)
        elif is_in_sweep(run):  # it would show the error of the time before
            mark_ended(run, "failed", f"UserError: {error}", remove_if_empty=False)
        raise
    configure_logging()
    processes = num_local_processes(config["trainer"])
    setup_process(config["threads"], processes, enough_threads(config))
    EarlyInterrupt.install()
    if ranks.get_rank():
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # for the life of the process: there is one log
    else:
        claim_run(run, processes)
        print_changes(changes, before["data"] or {})
    try:
        metrics = train(config, run)
    except BaseException as error:
        reported = record_failure(run, error, before)
        if reported is error:
            raise
        raise reported from error
    if not ranks.get_rank():
        commit_resume(run, config)  # if all its steps had been made
    update_run_info(run, status="done", ended=timestamp())
    return metrics


def claim_run(run: Path, processes: int) -> None:
    """Write into run.json that this process trains the run. Raises UserError if another one does."""
    from seqlab.config.source import user_code_checksums

    environment = collect_environment(processes) | {"code": user_code_checksums()}
    with lock_folder(run):
        ensure_not_running(run)
        ranks.clear_errors(run)
        update_run_info(run, status="running", started=timestamp(), ended=None, error=None, **environment)


def record_failure(run: Path, error: BaseException, before: dict[str, Any]) -> BaseException:
    """Write into run.json why a run ended early; return the error that the user shall read.

    A resume that has made no step leaves run.json as it was `before`.
    """
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    if isinstance(error, SystemExit):  # what Lightning makes of Ctrl-C
        error = KeyboardInterrupt()
    if isinstance(error, MisconfigurationException):  # Lightning's own sentence, such as of limit_val_batches=0.001
        error = UserError(error)
    if is_out_of_memory(error):
        error = UserError(
            f"There is not enough memory ({format_error(error).splitlines()[0][:160]}): take a smaller model or data.batch_size; "
            "plan=true says what a run needs."
        )
    is_stop = isinstance(error, Interrupted | KeyboardInterrupt | BdbQuit)  # the last one quits a debugger
    message = format_error(error) if is_stop else f"{type(error).__name__}: {format_error(error)}"
    if ranks.get_rank():
        return record_rank_failure(run, error, message, is_stop)
    if not isinstance(error, UserError) and not is_stop and needs_subprocesses(read_config_to_train(run)):
        if first := ranks.first_error(run, wait_seconds=2):
            error, message = UserError(first), first
    ranks.clear_errors(run)
    if is_resume_pending(run):
        write_json(run / FILE_NAME, before)
        discard_resume(run)
        return error
    is_refusal = before["status"] == "pending" and (is_stop or isinstance(error, UserError))
    mark_ended(run, "interrupted" if is_stop else "failed", message, remove_if_empty=is_refusal)
    return error


def record_rank_failure(run: Path, error: BaseException, message: str, is_stop: bool) -> BaseException:
    """Report a failure on rank > 0; if rank 0 is dead, write run.json in its place. Only a bug is raised further."""
    if is_stop:
        return SystemExit(0)  # all ranks stop together, and rank 0 says so
    if not isinstance(error, UserError):
        time.sleep(0.5)  # perhaps another rank was lost, which reports why before this one does
    try:
        info = read_run_info(run)
    except FileNotFoundError:  # rank 0 has removed the folder
        return SystemExit(1)
    if info["status"] not in ("pending", "running"):
        return SystemExit(1)  # rank 0 has written why
    if not is_running(info, trust_other_hosts=True):
        update_run_info(run, any_rank=True, status="failed", ended=timestamp(), error="rank 0: was killed")
        return SystemExit(1)
    others_failed = ranks.first_error(run)
    ranks.report_error(run, ranks.get_rank(), message)
    return SystemExit(1) if others_failed or isinstance(error, UserError) else error


def configure_logging() -> None:
    """Silence what Lightning and torch say about themselves, but not what they say about the run."""
    import logging

    import lightning.pytorch  # noqa: F401  # sets levels of its own when it is imported

    logging.getLogger("lightning").handlers.clear()
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for message in IGNORED_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    warnings.showwarning = lambda message, *args, **kwargs: print_wrapped(f"Warning: {message}", sys.stderr)


@ignore_broken_pipe()
def main() -> int:
    """The command line of `python -m seqlab.start`."""
    from seqlab.config.targets import allow_packages, parse_allow

    limit_spinning()
    runs = [arg for arg in sys.argv[1:] if not arg.startswith("allow=")]
    if len(runs) != 1:
        print("python -m seqlab.start <run folder> [allow=[<package>]]", file=sys.stderr)
        return 2
    for arg in sys.argv[1:]:
        if arg.startswith("allow="):
            allow_packages(parse_allow(arg.removeprefix("allow=")))
    os.environ["PYTHONSAFEPATH"] = "1"  # -P for the ranks, which Lightning starts without it
    return run_cli(lambda: run_folder(find_run(runs[0], Path("runs"))))
