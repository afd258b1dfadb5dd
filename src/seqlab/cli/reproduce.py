"""The verb reproduce."""

from pathlib import Path

from seqlab.cli.compose import compose_one
from seqlab.launch.reproduce import reproduce_run
from seqlab.runs import folder as runs


def main(words: list[str]) -> int:
    """Run the same thing again; 0 where the metrics are equal bit for bit."""
    config = compose_one("reproduce", words)
    if not config:
        return 0
    below = Path(config["paths"]["runs"])
    return 0 if reproduce_run(runs.find_run(str(config["run"]), below), below) else 1
