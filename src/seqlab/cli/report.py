"""The verb report."""

from pathlib import Path

from seqlab.cli.compose import compose_one
from seqlab.report.files import write_report
from seqlab.report.tables import print_report
from seqlab.sweeps import manifest


def main(words: list[str]) -> int:
    """Rank a sweep's runs, also while it is running."""
    config = compose_one("report", words)
    if config:
        folder = manifest.find_sweep(str(config["run"]), Path(config["paths"]["runs"]))
        print_report(write_report(manifest.read_sweep(folder).folder))
    return 0
