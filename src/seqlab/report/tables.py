"""The ranked table as titles and cells, and as Markdown; runs that differ only in seeds are one line."""

import statistics
from typing import Any

from seqlab.report.rows import MIXED_OBJECTIVES, Report, Row


def build_table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Titles and cells of the ranked table."""
    test, has_seeds = report.test_metric(), bool(report.seeds)
    titles = ["", *shorten_keys(report.varied), *(["n"] if has_seeds else []), f"best {report.metric}"]
    titles += ["step", *([test] if test else []), "seconds"]
    cells = []
    for rank, (values, rows) in enumerate(report.ranked_groups(), 1):
        steps = [row.step for row in rows if row.step is not None]
        cells.append(
            [
                str(rank),
                *(format_value(value) for value in values.values()),
                *([str(len(rows))] if has_seeds else []),
                mean_std([row.best for row in rows if row.best is not None]) + metric_suffix(report, rows),
                f"{statistics.fmean(steps):.0f}" if steps else "",
                *([mean_std([row.metrics[test] for row in rows if test in row.metrics])] if test else []),
                mean_std([row.seconds for row in rows if row.seconds is not None], ".1f", ".1f"),
            ]
        )
    return titles, cells


def metric_suffix(report: Report, rows: list[Row]) -> str:
    """The name of the objective behind its value, if the runs have several."""
    return f" {rows[0].metric}" if report.metric == MIXED_OBJECTIVES else ""


def mean_std(values: list[float], mean_format: str = ".5g", std_format: str = ".2g") -> str:
    """Mean ± standard deviation; a single value alone."""
    if len(values) < 2:
        return format(values[0], mean_format) if values else ""
    return f"{statistics.fmean(values):{mean_format}} ± {statistics.stdev(values):{std_format}}"


def shorten_keys(keys: list[str]) -> list[str]:
    """The last parts of dotted keys, if that is enough to tell them apart."""
    leaves = [key.rsplit(".", 1)[-1] for key in keys]
    return [leaf if leaves.count(leaf) == 1 else key for key, leaf in zip(keys, leaves, strict=True)]


def format_value(value: Any) -> str:
    """A value in the table."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def unfinished(report: Report) -> list[Row]:
    """The runs that are not done, by name."""
    return sorted((row for row in report.rows if row.status != "done"), key=lambda row: row.name)


def format_markdown(report: Report) -> str:
    """results.md."""
    titles, cells = build_table(report)
    lines = [f"# {report.folder.name}", "", f"    {report.command}", ""]
    if cells:
        lines += ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
        lines += ["| " + " | ".join(line) + " |" for line in cells]
    rest = unfinished(report)
    if rest:
        lines += ["", "Not done:", "", *(f"- {row.name}: {row.status}. {row.error or ''}".rstrip() for row in rest)]
    lines += [""] + [f"![{figure.stem}]({figure.relative_to(report.folder)})" for figure in report.figures]
    return "\n".join(lines).rstrip() + "\n"
