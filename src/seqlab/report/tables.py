"""The ranked table, on the terminal and in Markdown; runs that differ only in seeds are one line."""

import statistics
from typing import Any

from rich.console import Console
from rich.table import Table

from seqlab.report.rows import OBJECTIVE, Report, Row
from seqlab.runs import folder as runs

WIDTH = 1000  # of tables: no column is cut, and a narrow terminal wraps the line


def table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Titles and cells of the ranked table."""
    test, folded = report.test(), bool(report.seeds)
    titles = ["", *short_names(report.varied), *(["n"] if folded else []), f"best {report.metric}"]
    titles += ["step", *([test] if test else []), "seconds"]
    cells = []
    for rank, (values, rows) in enumerate(report.groups(), 1):
        steps = [row.step for row in rows if row.step is not None]
        cells.append(
            [
                str(rank),
                *(shown(value) for value in values.values()),
                *([str(len(rows))] if folded else []),
                spread([row.best for row in rows if row.best is not None]) + unit(report, rows),
                f"{statistics.fmean(steps):.0f}" if steps else "",
                *([spread([row.last[test] for row in rows if test in row.last])] if test else []),
                spread([round(row.seconds, 1) for row in rows if row.seconds is not None]),
            ]
        )
    return titles, cells


def unit(report: Report, rows: list[Row]) -> str:
    """The name of the objective behind its value, where the runs have several."""
    return f" {rows[0].metric}" if report.metric == OBJECTIVE else ""


def spread(values: list[float]) -> str:
    """Mean ± standard deviation; the value alone where there is one."""
    if len(values) < 2:
        return f"{values[0]:.5g}" if values else ""
    return f"{statistics.fmean(values):.5g} ± {statistics.stdev(values):.2g}"


def short_names(keys: list[str]) -> list[str]:
    """The last parts of dotted keys, where that is enough to tell them apart."""
    last = [key.rsplit(".", 1)[-1] for key in keys]
    return [name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)]


def shown(value: Any) -> str:
    """A value in a table."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def others(report: Report) -> list[Row]:
    """The runs that are not done, by name."""
    return sorted((row for row in report.rows if row.status != "done"), key=lambda row: row.name)


def show(report: Report) -> None:
    """The table on the terminal, and what is not done."""
    console = Console(highlight=False, markup=False, width=WIDTH)
    titles, cells = table(report)
    drawn = Table(box=None, pad_edge=False)
    for number, title in enumerate(titles):
        drawn.add_column(title, justify="left" if number <= len(report.varied) else "right")
    for line in cells:
        drawn.add_row(*line)
    if cells:
        console.print()
        console.print(drawn)
    for row in others(report):
        console.print(f"{row.status:<11} {row.name}: {row.error or ''}")
    console.print(f"report      {runs.short(report.folder / 'results.md')}")


def markdown(report: Report) -> str:
    """results.md."""
    titles, cells = table(report)
    lines = [f"# {report.folder.name}", "", f"    {report.command}", ""]
    if cells:
        lines += ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
        lines += ["| " + " | ".join(line) + " |" for line in cells]
    failed = others(report)
    if failed:
        lines += ["", "Not done:", "", *(f"- {row.name}: {row.status}. {row.error or ''}".rstrip() for row in failed)]
    lines += [""] + [f"![{figure.stem}]({figure.relative_to(report.folder)})" for figure in report.figures]
    return "\n".join(lines).rstrip() + "\n"
