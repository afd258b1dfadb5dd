"""The verb reproduce."""

from pathlib import Path

from seqlab.cli.compose import compose_one
from seqlab.launch.reproduce import reproduce_run
from seqlab.runs.folder import find_run


def main(args: list[str]) -> int:
    """Run the same thing again; 0 if the metrics are equal bit for bit."""
    config = compose_one("reproduce", args)
    if not config:
        return 0
    runs_folder = Path(config["paths"]["runs"])
    run = find_run(str(config["run"]), runs_folder)
    return 0 if reproduce_run(run, runs_folder, config["init_from"]) else 1
