"""results.csv, results.md and the figures of a sweep."""

import csv
from pathlib import Path

from seqlab.files import write_atomically
from seqlab.report.figures import draw
from seqlab.report.rows import Report, read
from seqlab.report.tables import markdown


def make(folder: Path) -> Report:
    """Read the runs, and write results.csv, results.md and the figures. Raises Mistake where there is no run."""
    report = read(folder)
    write_atomically(folder / "results.csv", lambda partial: write_csv(report, partial))
    report.figures = draw(report)
    write_atomically(folder / "results.md", lambda partial: partial.write_text(markdown(report)))
    return report


def write_csv(report: Report, file: Path) -> None:
    """results.csv: a line a run, with all its metrics."""
    keys = [*report.varied, *report.seeds]
    metrics = sorted({name for row in report.rows for name in row.last})
    with open(file, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["run", "status", *keys, f"best {report.metric}", "step", "seconds", *metrics, "error"])
        for row in report.rows:
            values = [row.values[key] for key in keys]
            last = [row.last.get(metric, "") for metric in metrics]
            writer.writerow([row.name, row.status, *values, row.best, row.step, row.seconds, *last, row.error])
