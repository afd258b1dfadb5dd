"""The verb report."""

from pathlib import Path

from rich.console import Console

from seqlab.cli.compose import compose_one
from seqlab.cli.tables import print_table
from seqlab.report.files import write_report
from seqlab.report.rows import Report
from seqlab.report.tables import build_table, unfinished
from seqlab.runs.folder import relative_to_cwd
from seqlab.streams import print_wrapped
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
    console = Console(highlight=False, markup=False, soft_wrap=True)
    titles, cells = build_table(report)
    if cells:
        console.print()
        print_table(titles, cells, text_columns=len(report.varied) + 1, optional=("seconds", "step"))
        if "tokenizer" in report.varied and str(report.metric).endswith("loss"):
            print_wrapped(
                "tokenizers  differ, so that losses per token cannot be compared: rank by bits per byte, with "
                "objective.metric=val/bits_per_byte"
            )
        if report.seeds:
            print_wrapped(f"ranked      by mean {report.metric} at its best, ± standard deviation over n seeds")
    for row in unfinished(report):
        console.print(f"{row.status:<11} {row.name}{f': {row.error}' if row.error else ''}")
    if winner := report.winner():
        console.print(f"best        {relative_to_cwd(report.folder / winner.name)}")
    console.print(f"report      {relative_to_cwd(report.folder / 'results.md')}")
    console.print(f"look        tensorboard --logdir {relative_to_cwd(report.folder)}")
