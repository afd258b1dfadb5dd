"""What the runs below a folder came to: a ranked table, results.csv, results.md, and figures."""

import csv
import datetime
import json
import math
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from seqlab.mistakes import Mistake
from seqlab.runs import folder as runs
from seqlab.runs.curve import read_curve
from seqlab.runs.files import write_atomically

WIDTH = 1000  # of tables: no column is cut, and a narrow terminal wraps the line
TESTS = ("test/mse", "test/loss")  # the first of them that there is, is a column


@dataclass
class Row:
    """A run: the values of what differs, and what it came to."""

    name: str
    status: str
    values: dict[str, Any]
    best: float | None  # of the objective
    step: int | None  # of the best
    seconds: float | None
    last: dict[str, float]
    error: str | None


@dataclass
class Report:
    """The rows, ranked, the best first; `varied` are the overrides that differ, `seeds` those that only repeat."""

    folder: Path
    metric: str
    mode: str
    command: str
    varied: list[str]
    seeds: list[str]
    rows: list[Row] = field(default_factory=list)

    def sign(self) -> int:
        """What makes the best value the smallest."""
        return 1 if self.mode == "min" else -1

    def test(self) -> str | None:
        """The test metric that is shown."""
        return next((name for name in TESTS if any(name in row.last for row in self.rows)), None)

    def groups(self) -> list[tuple[dict[str, Any], list[Row]]]:
        """The runs that are done, those that differ only in seeds together; ranked by the mean of the objective."""
        found: dict[str, tuple[dict[str, Any], list[Row]]] = {}
        for row in self.rows:
            if row.status == "done":
                values = {key: row.values.get(key) for key in self.varied}
                found.setdefault(json.dumps(values, default=str), (values, []))[1].append(row)
        worst = math.inf
        return sorted(
            found.values(),
            key=lambda pair: statistics.fmean(worst if row.best is None else self.sign() * row.best for row in pair[1]),
        )


def make(folder: Path) -> Report:
    """Read the runs, and write results.csv, results.md and the figures. Raises Mistake where there is no run."""
    report = read(folder)
    write_atomically(folder / "results.csv", lambda partial: write_csv(report, partial))
    figures = []
    if any(row.status == "done" for row in report.rows):
        from seqlab.figures import draw

        figures = draw(report)
    write_atomically(folder / "results.md", lambda partial: partial.write_text(markdown(report, figures)))
    return report


def read(folder: Path) -> Report:
    """The runs directly below a folder, ranked. Raises Mistake where there is none."""
    records = {file.parent: runs.read_record(file.parent) for file in sorted(folder.glob("*/run.json"))}
    if not records:
        raise Mistake(f"There is no run in {folder}: give the folder of a sweep, or last.")
    keys = differing([words_of(record) for record in records.values()])
    seeds = [key for key in keys if key.rsplit(".", 1)[-1] == "seed"]
    first = next((record for record in records.values() if record["objective"]), None)
    objective = first["objective"] if first else {"metric": "val/loss", "mode": "min"}
    report = Report(
        folder=folder,
        **objective,
        command=(first or next(iter(records.values())))["command"],
        varied=[key for key in keys if key not in seeds],
        seeds=seeds,
    )
    report.rows = [row(run, record, keys, report.metric) for run, record in records.items()]
    worst = math.inf
    report.rows.sort(key=lambda row: worst if row.best is None else report.sign() * row.best)
    return report


def words_of(record: dict[str, Any]) -> dict[str, str]:
    """Key -> value of a run's overrides."""
    return dict(word.lstrip("+").split("=", 1) for word in record["overrides"] or [] if "=" in word)


def differing(words: list[dict[str, str]]) -> list[str]:
    """The keys whose values differ among runs, or that not all have."""
    return [key for key in dict.fromkeys(key for word in words for key in word) if len({w.get(key) for w in words}) > 1]


def row(run: Path, record: dict[str, Any], keys: list[str], metric: str) -> Row:
    """A run's row."""
    config = runs.flat(runs.read_config(run)) if (run / "config.yaml").exists() else {}
    known = config | words_of(record) | {k: v for k, v in config.items() if k in keys} | (record["choices"] or {})
    best = record["metrics"]["best"].get(metric)
    step = next((point["step"] for point in read_curve(run) if point.get(metric) == best), None)
    return Row(
        name=run.name,
        status=record["status"],
        values={key: known.get(key, "") for key in keys},
        best=best,
        step=step,
        seconds=seconds(record),
        last=record["metrics"]["last"],
        error=record["error"],
    )


def seconds(record: dict[str, Any]) -> float | None:
    """How long a run took, since it was begun or resumed."""
    if not record["started"] or not record["ended"]:
        return None
    start, end = (datetime.datetime.fromisoformat(record[key]) for key in ("started", "ended"))
    return (end - start).total_seconds()


def spread(values: list[float]) -> str:
    """Mean ± standard deviation; the value alone where there is one."""
    if len(values) < 2:
        return f"{values[0]:.5g}" if values else ""
    return f"{statistics.fmean(values):.5g} ± {statistics.stdev(values):.2g}"


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
                spread([row.best for row in rows if row.best is not None]),
                f"{statistics.fmean(steps):.0f}" if steps else "",
                *([spread([row.last[test] for row in rows if test in row.last])] if test else []),
                spread([round(row.seconds, 1) for row in rows if row.seconds is not None]),
            ]
        )
    return titles, cells


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
    console = Console(highlight=False, width=WIDTH)
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
        console.print(f"{row.status:<11} {row.name}: {row.error or ''}", markup=False)
    console.print(f"report      {runs.short(report.folder / 'results.md')}", markup=False)


def markdown(report: Report, figures: list[Path]) -> str:
    """results.md."""
    titles, cells = table(report)
    lines = [f"# {report.folder.name}", "", f"    {report.command}", ""]
    if cells:
        lines += ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
        lines += ["| " + " | ".join(line) + " |" for line in cells]
    failed = others(report)
    if failed:
        lines += ["", "Not done:", "", *(f"- {row.name}: {row.status}. {row.error or ''}".rstrip() for row in failed)]
    lines += [""] + [f"![{figure.stem}]({figure.relative_to(report.folder)})" for figure in figures]
    return "\n".join(lines).rstrip() + "\n"


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
