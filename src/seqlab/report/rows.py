"""The runs below a folder: what differs among them, and what they reached, ranked."""

import json
import math
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seqlab.config.nodes import flatten
from seqlab.errors import UserError
from seqlab.runs.metrics_log import read_metrics
from seqlab.runs.process import describe_status
from seqlab.runs.run_info import read_run_info
from seqlab.runs.settings import (
    drop_repeated,
    is_seed,
    overrides_to_dict,
    read_config_if_there,
    read_settings,
    varying_keys,
)

MIXED_OBJECTIVES = "objective"  # its title if the runs have several
TEST_METRICS = ("test/mse", "test/loss")  # the first one that there is becomes a column


@dataclass
class Row:
    """A run: the values of what differs, and what it reached."""

    name: str
    status: str
    values: dict[str, Any]
    metric: str  # of the objective
    best: float | None  # of the objective
    step: int | None  # of the best
    seconds: float | None
    metrics: dict[str, float]  # the last ones; of the test those of the weights that were tested
    error: str | None


@dataclass
class Report:
    """The rows, the best first. `varied` are the keys that differ, `seeds` those that only repeat."""

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
        return next((name for name in TEST_METRICS if any(name in row.metrics for row in self.rows)), None)

    def ranked_groups(self) -> list[tuple[dict[str, Any], list[Row]]]:
        """The finished runs, those that differ only in seeds together, ranked by the mean of the objective."""
        groups: dict[str, tuple[dict[str, Any], list[Row]]] = {}
        for row in self.rows:
            if row.status == "done":
                values = {key: row.values.get(key) for key in self.varied}
                groups.setdefault(json.dumps(values, default=str), (values, []))[1].append(row)
        return sorted(
            groups.values(), key=lambda group: (group[1][0].metric, statistics.fmean(map(self.rank_key, group[1])))
        )

    def winner(self) -> Row | None:
        """The best of the runs in the first line, which `run=best` names as well; None if they have several objectives."""
        groups = self.ranked_groups()
        if not groups or self.metric == MIXED_OBJECTIVES:
            return None
        best = min(groups[0][1], key=self.rank_key)
        return None if best.best is None else best

    def rank_key(self, row: Row) -> float:
        """A run's objective, so that the best is the smallest; runs without one come last."""
        return math.inf if row.best is None else row.best if self.mode == "min" else -row.best


def read_report(folder: Path) -> Report:
    """The runs directly below a folder, ranked. Raises UserError if there is none."""
    infos = {file.parent: read_run_info(file.parent) for file in sorted(folder.glob("*/run.json"))}
    if not infos:
        raise UserError(f"There is no run in {folder}: give the folder of a sweep, or last.")
    infos = drop_repeated(infos)
    keys = varying_keys(list(read_settings(infos).values()))
    seeds = [key for key in keys if is_seed(key)]
    objectives = [info["objective"] for info in infos.values() if info["objective"]]
    objective = objectives[0] if objectives else {"metric": "val/loss", "mode": "min"}
    if any(other != objective for other in objectives):
        objective = {"metric": MIXED_OBJECTIVES, "mode": objective["mode"]}
    command = next(iter(infos.values()))["command"]
    report = Report(folder, **objective, command=command, varied=[key for key in keys if key not in seeds], seeds=seeds)
    report.rows = [read_row(run, info, keys) for run, info in infos.items()]
    report.rows.sort(key=lambda row: (row.metric, report.rank_key(row)))
    return report


def read_row(run: Path, info: dict[str, Any], keys: list[str]) -> Row:
    """A run's row."""
    config = flatten(read_config_if_there(run))
    typed = overrides_to_dict(info["overrides"])
    values = config | typed | {key: value for key, value in config.items() if key in keys} | (info["choices"] or {})
    metric = info["objective"]["metric"] if info["objective"] else ""
    best = info["metrics"]["best"].get(metric)
    points = read_metrics(run) if best is not None else []
    return Row(
        name=run.name,
        status=describe_status(info),
        values={key: values.get(key, "") for key in keys},
        metric=metric,
        best=best,
        step=next((point["step"] for point in points if point.get(metric) == best), None),
        seconds=info["seconds"],
        metrics=info["metrics"]["last"] | {k: v for k, v in info["metrics"]["best"].items() if k.startswith("test/")},
        error=info["error"],
    )
