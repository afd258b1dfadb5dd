"""The verb report."""

from pathlib import Path

from seqlab.cli.compose import compose_one
from seqlab.report.files import make
from seqlab.report.tables import show
from seqlab.sweeps import manifest


def run(words: list[str]) -> int:
    """Rank a sweep's runs, also while it is running."""
    config = compose_one("report", words)
    if config:
        folder = manifest.find(str(config["run"]), Path(config["paths"]["runs"]))
        show(make(manifest.read(folder).folder))
    return 0
