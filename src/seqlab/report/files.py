"""results.csv, results.md and the figures of a sweep."""

import csv
from pathlib import Path

from seqlab.files import write_atomically
from seqlab.report.figures import draw_figures
from seqlab.report.rows import Report, read_report
from seqlab.report.tables import format_markdown


def write_report(folder: Path) -> Report:
    """Read the runs below a folder, and write results.csv, results.md and the figures. Raises UserError."""
    report = read_report(folder)
    with write_atomically(folder / "results.csv") as partial:
        write_csv(report, partial)
    report.figures = draw_figures(report)
    with write_atomically(folder / "results.md") as partial:
        partial.write_text(format_markdown(report), encoding="utf-8")
    return report


def write_csv(report: Report, file: Path) -> None:
    """results.csv: a line for each run, with all its metrics."""
    keys = [*report.varied, *report.seeds]
    metrics = sorted({name for row in report.rows for name in row.metrics})
    with open(file, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["run", "status", *keys, f"best {report.metric}", "step", "seconds", *metrics, "error"])
        for row in report.rows:
            values = [row.values[key] for key in keys]
            measured = [row.metrics.get(metric, "") for metric in metrics]
            writer.writerow([row.name, row.status, *values, row.best, row.step, row.seconds, *measured, row.error])
