"""The runs below a folder: what differs among them, and what they came to, ranked."""

import datetime
import json
import math
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seqlab.mistakes import Mistake
from seqlab.runs import folder as runs
from seqlab.runs.curve import read_curve

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
    figures: list[Path] = field(default_factory=list)

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
