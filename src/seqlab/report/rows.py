"""The runs below a folder: what differs among them, and what they came to, ranked."""

import datetime
import json
import math
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seqlab.config.nodes import flatten
from seqlab.errors import UserError
from seqlab.runs import folder as runs
from seqlab.runs.metrics_log import read_metrics

MIXED_OBJECTIVES = "objective"  # its title where the runs have several
TEST_METRICS = ("test/mse", "test/loss")  # the first of them that there is, is a column


@dataclass
class Row:
    """A run: the values of what differs, and what it came to."""

    name: str
    status: str
    values: dict[str, Any]
    metric: str  # the objective
    best: float | None  # of it
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

    def test_metric(self) -> str | None:
        """The test metric that is shown."""
        return next((name for name in TEST_METRICS if any(name in read_row.last for read_row in self.rows)), None)

    def ranked_groups(self) -> list[tuple[dict[str, Any], list[Row]]]:
        """The runs that are done, those that differ only in seeds together; ranked by the mean of the objective."""
        found: dict[str, tuple[dict[str, Any], list[Row]]] = {}
        for row in self.rows:
            if row.status == "done":
                values = {key: row.values.get(key) for key in self.varied}
                found.setdefault(json.dumps(values, default=str), (values, []))[1].append(row)
        return sorted(
            found.values(), key=lambda pair: (pair[1][0].metric, statistics.fmean(map(self.rank_key, pair[1])))
        )

    def rank_key(self, row: Row) -> float:
        """A run's objective, so that the best is the smallest; runs without any come last."""
        return math.inf if row.best is None else row.best if self.mode == "min" else -row.best


def read_report(folder: Path) -> Report:
    """The runs directly below a folder, ranked. Raises Mistake where there is none."""
    records = {file.parent: runs.read_run_info(file.parent) for file in sorted(folder.glob("*/run.json"))}
    if not records:
        raise UserError(f"There is no run in {folder}: give the folder of a sweep, or last.")
    keys = varying_keys([overrides_to_dict(record["overrides"]) for record in records.values()])
    seeds = [key for key in keys if key.rsplit(".", 1)[-1] == "seed"]
    objectives = [record["objective"] for record in records.values() if record["objective"]]
    first = objectives[0] if objectives else {"metric": "val/loss", "mode": "min"}
    if any(objective != first for objective in objectives):
        first = {"metric": MIXED_OBJECTIVES, "mode": first["mode"]}
    command = next(iter(records.values()))["command"]
    report = Report(folder, **first, command=command, varied=[key for key in keys if key not in seeds], seeds=seeds)
    report.rows = [read_row(run, record, keys) for run, record in records.items()]
    report.rows.sort(key=lambda read_row: (read_row.metric, report.rank_key(read_row)))
    return report


def overrides_to_dict(overrides: list[str] | None) -> dict[str, str]:
    """Key -> value of overrides."""
    return dict(word.lstrip("+").split("=", 1) for word in overrides or [] if "=" in word)


def varying_keys(words: list[dict[str, Any]]) -> list[str]:
    """The keys whose values differ among the jobs that have them, and those that some lack and tell them apart."""
    union = dict.fromkeys(key for word in words for key in word)
    found = [key for key in union if len({str(word.get(key)) for word in words}) > 1]
    for key in list(found):
        rest = [other for other in found if other != key]
        if len({str(word[key]) for word in words if key in word}) < 2 and count_distinct(words, rest) == count_distinct(
            words, found
        ):
            found = rest
    return found


def count_distinct(words: list[dict[str, Any]], keys: list[str]) -> int:
    """How many jobs are different in these keys."""
    return len({tuple(str(word.get(key)) for key in keys) for word in words})


def read_row(run: Path, record: dict[str, Any], keys: list[str]) -> Row:
    """A run's row."""
    config = flatten(runs.read_config(run)) if (run / "config.yaml").exists() else {}
    known = (
        config
        | overrides_to_dict(record["overrides"])
        | {k: v for k, v in config.items() if k in keys}
        | (record["choices"] or {})
    )
    metric = record["objective"]["metric"] if record["objective"] else ""
    best = record["metrics"]["best"].get(metric)
    curve = read_metrics(run) if best is not None else []
    step = next((point["step"] for point in curve if point.get(metric) == best), None)
    return Row(
        name=run.name,
        status=record["status"],
        values={key: known.get(key, "") for key in keys},
        metric=metric,
        best=best,
        step=step,
        seconds=run_seconds(record),
        last=record["metrics"]["last"],
        error=record["error"],
    )


def run_seconds(record: dict[str, Any]) -> float | None:
    """How long a run took, since it was begun or resumed."""
    if not record["started"] or not record["ended"]:
        return None
    start, end = (datetime.datetime.fromisoformat(record[key]) for key in ("started", "ended"))
    return (end - start).total_seconds()
