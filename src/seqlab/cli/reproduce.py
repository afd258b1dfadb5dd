"""The verb reproduce."""

from pathlib import Path

from seqlab.cli.composing import compose
from seqlab.mistakes import Mistake
from seqlab.reproduce import reproduce
from seqlab.runs import folder as runs


def run(words: list[str]) -> int:
    """Run the same thing again; 0 where the metrics are equal bit for bit."""
    jobs = compose("reproduce", words)
    if not jobs:
        return 0
    if len(jobs) > 1:
        raise Mistake("reproduce runs one run again, not several: leave -m out.")
    config = jobs[0].config
    below = Path(config["paths"]["runs"])
    return 0 if reproduce(runs.find(str(config["run"]), below), below) else 1
