"""The ranked table, on the terminal and in Markdown; runs that differ only in seeds are one line."""

import statistics
from typing import Any

from rich.console import Console
from rich.table import Table

from seqlab.report.rows import MIXED_OBJECTIVES, Report, Row
from seqlab.runs import folder as runs

TABLE_WIDTH = 1000  # of tables: no column is cut, and a narrow terminal wraps the line


def build_table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Titles and cells of the ranked table."""
    test, folded = report.test_metric(), bool(report.seeds)
    titles = ["", *shorten_keys(report.varied), *(["n"] if folded else []), f"best {report.metric}"]
    titles += ["step", *([test] if test else []), "seconds"]
    cells = []
    for rank, (values, rows) in enumerate(report.ranked_groups(), 1):
        steps = [row.step for row in rows if row.step is not None]
        cells.append(
            [
                str(rank),
                *(format_value(value) for value in values.values()),
                *([str(len(rows))] if folded else []),
                mean_std([row.best for row in rows if row.best is not None]) + metric_suffix(report, rows),
                f"{statistics.fmean(steps):.0f}" if steps else "",
                *([mean_std([row.last[test] for row in rows if test in row.last])] if test else []),
                mean_std([round(row.seconds, 1) for row in rows if row.seconds is not None]),
            ]
        )
    return titles, cells


def metric_suffix(report: Report, rows: list[Row]) -> str:
    """The name of the objective behind its value, where the runs have several."""
    return f" {rows[0].metric}" if report.metric == MIXED_OBJECTIVES else ""


def mean_std(values: list[float]) -> str:
    """Mean ± standard deviation; the value alone where there is one."""
    if len(values) < 2:
        return f"{values[0]:.5g}" if values else ""
    return f"{statistics.fmean(values):.5g} ± {statistics.stdev(values):.2g}"


def shorten_keys(keys: list[str]) -> list[str]:
    """The last parts of dotted keys, where that is enough to tell them apart."""
    last = [key.rsplit(".", 1)[-1] for key in keys]
    return [name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)]


def format_value(value: Any) -> str:
    """A value in a table."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def unfinished(report: Report) -> list[Row]:
    """The runs that are not done, by name."""
    return sorted((row for row in report.rows if row.status != "done"), key=lambda row: row.name)


def print_report(report: Report) -> None:
    """The table on the terminal, and what is not done."""
    console = Console(highlight=False, markup=False, width=TABLE_WIDTH)
    titles, cells = build_table(report)
    drawn = Table(box=None, pad_edge=False)
    for number, title in enumerate(titles):
        drawn.add_column(title, justify="left" if number <= len(report.varied) else "right")
    for line in cells:
        drawn.add_row(*line)
    if cells:
        console.print()
        console.print(drawn)
    for row in unfinished(report):
        console.print(f"{row.status:<11} {row.name}: {row.error or ''}")
    console.print(f"report      {runs.relative_to_cwd(report.folder / 'results.md')}")


def format_markdown(report: Report) -> str:
    """results.md."""
    titles, cells = build_table(report)
    lines = [f"# {report.folder.name}", "", f"    {report.command}", ""]
    if cells:
        lines += ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
        lines += ["| " + " | ".join(line) + " |" for line in cells]
    failed = unfinished(report)
    if failed:
        lines += ["", "Not done:", "", *(f"- {row.name}: {row.status}. {row.error or ''}".rstrip() for row in failed)]
    lines += [""] + [f"![{figure.stem}]({figure.relative_to(report.folder)})" for figure in report.figures]
    return "\n".join(lines).rstrip() + "\n"
