"""The verb report."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from seqlab.cli.compose import compose_one
from seqlab.cli.tables import TABLE_WIDTH
from seqlab.report.files import write_report
from seqlab.report.rows import MIXED_OBJECTIVES, Report
from seqlab.report.tables import build_table, unfinished
from seqlab.runs.folder import find_best_job, relative_to_cwd
from seqlab.sweeps.manifest import find_sweep, read_sweep


def main(args: list[str]) -> int:
    """Rank a sweep's runs, also while it is running."""
    config = compose_one("report", args)
    if config:
        folder = find_sweep(str(config["run"]), Path(config["paths"]["runs"]))
        print_report(write_report(read_sweep(folder).folder))
    return 0


def print_report(report: Report) -> None:
    """Print the ranked table, and what is not done."""
    console = Console(highlight=False, markup=False, width=TABLE_WIDTH)
    titles, cells = build_table(report)
    table = Table(box=None, pad_edge=False)
    for number, title in enumerate(titles):
        table.add_column(title, justify="left" if number <= len(report.varied) else "right")
    for line in cells:
        table.add_row(*line)
    if cells:
        console.print()
        console.print(table)
        if report.seeds:
            console.print(
                f"ranked      by the mean of {report.metric} at its best; ± is the standard deviation over n seeds"
            )
    for row in unfinished(report):
        console.print(f"{row.status:<11} {row.name}: {row.error or ''}")
    if cells and report.metric != MIXED_OBJECTIVES:
        console.print(f"best        {relative_to_cwd(find_best_job(report.folder))}")
    console.print(f"report      {relative_to_cwd(report.folder / 'results.md')}")
    console.print(f"look        tensorboard --logdir {relative_to_cwd(report.folder)}")
