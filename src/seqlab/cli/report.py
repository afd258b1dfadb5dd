"""The verb report."""

from pathlib import Path

from seqlab import report
from seqlab.cli.composing import compose_one
from seqlab.sweeps import manifest


def run(words: list[str]) -> int:
    """Rank a sweep's runs, also while it is running."""
    config = compose_one("report", words)
    if config:
        report.show(report.make(manifest.find(str(config["run"]), Path(config["paths"]["runs"])).resolve()))
    return 0
