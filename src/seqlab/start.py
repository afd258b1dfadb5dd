"""The one door: `python -m seqlab.start <run folder>` runs what its config.yaml says. Knows no Hydra."""

import sys
import warnings
from pathlib import Path

from seqlab.imports import uncollected
from seqlab.mistakes import Interrupted, Mistake, exit_status, sentence
from seqlab.runs import folder as runs
from seqlab.runs.record import now, surroundings


def start(run: Path, in_sweep: bool = False) -> dict[str, float]:
    """Run a folder to its end, keeping run.json; its last metrics.

    A refusal or Ctrl-C before the first step removes a new folder again, except in a sweep.
    """
    with uncollected():
        from seqlab import device, targets
        from seqlab.train import train

    config = runs.read_config(run)
    targets.check_targets(config)
    quiet()
    device.prepare(config["threads"])
    fresh = runs.read_record(run)["status"] == "pending"
    runs.write_record(run, status="running", started=now(), error=None, **surroundings())
    try:
        metrics = train(config, run)
    except BaseException as error:
        if isinstance(error, SystemExit):  # what Lightning makes of Ctrl-C
            error = KeyboardInterrupt()
        stopped = isinstance(error, Interrupted | KeyboardInterrupt)
        if fresh and not in_sweep and not runs.read_record(run)["steps"] and (stopped or isinstance(error, Mistake)):
            runs.remove(run)
        else:
            said = f"{type(error).__name__}: {sentence(error)}"
            runs.write_record(run, status="interrupted" if stopped else "failed", ended=now(), error=said)
        raise error
    runs.write_record(run, status="done", ended=now())
    return metrics


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
        ".*isinstance.*LeafSpec.*",
    ):
        warnings.filterwarnings("ignore", message=message)
    warnings.showwarning = lambda message, *args, **kwargs: print(f"Warning: {message}", file=sys.stderr)


def main() -> int:
    """The command line of the door."""
    if len(sys.argv) != 2:
        print("python -m seqlab.start <run folder>", file=sys.stderr)
        return 2
    return exit_status(lambda: start(runs.find(sys.argv[1], Path("runs"))))


if __name__ == "__main__":
    sys.exit(main())
