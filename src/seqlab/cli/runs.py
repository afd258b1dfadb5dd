"""The verb runs."""

import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from seqlab.cli.overrides import runs_folder, value_of
from seqlab.config.nodes import flat
from seqlab.errors import Mistake, did_you_mean
from seqlab.report.tables import WIDTH
from seqlab.runs import folder as runs


@dataclass
class Listed:
    """A run and what can be asked of it."""

    folder: Path
    record: dict[str, Any]

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its config, flat; only read where a key of it is asked for."""
        return flat(runs.read_config(self.folder)) if (self.folder / "config.yaml").exists() else {}

    def known(self, key: str) -> Any:
        """A key of run.json, a choice, a metric (the best, else the last), or a key of the config; else None."""
        metrics = self.record["metrics"]
        for place in (self.record["choices"] or {}, metrics["best"], metrics["last"], self.record, self.config):
            if place.get(key) is not None:
                return place[key]
        return None


def run(words: list[str]) -> int:
    """List the runs below paths.runs. Raises Mistake for a key that no run has."""
    below, sort = runs_folder(words), value_of(words, "sort") or "started"
    limit = number(value_of(words, "limit") or "20")
    there = list(filter(None, map(listed, runs.records(below))))
    asked = filters([word for word in words if word.split("=")[0] not in ("sort", "limit", "paths.runs")])
    for key in [*asked, sort]:
        if there and key != "started" and all(one.known(key) is None for one in there):
            raise Mistake(f"No run below {below} has {key}.{did_you_mean(key, names(there))}")
    found = [one for one in there if all(same(one.known(key), value) for key, value in asked.items())]
    found.sort(key=lambda one: rank(one, sort))
    shown = found[-limit:] if sort == "started" else found[:limit]
    table = Table(box=None, pad_edge=False)
    extra = [key for key in [*asked, sort] if key not in ("started", "status", "model", "data", "seed")]
    for title in ("status", "model", "data", "seed", *extra, "objective", "steps", "run"):
        table.add_column(title, no_wrap=True)
    for one in shown:
        best = one.record["metrics"]["best"].get((one.record["objective"] or {}).get("metric"))
        cells = [one.known(key) for key in ("status", "model", "data", "seed", *extra)]
        table.add_row(*(text(cell) for cell in [*cells, best, one.record["steps"], runs.short(one.folder)]))
    Console(highlight=False, markup=False, width=WIDTH).print(table)
    print(f"{len(shown)} of {len(there)} runs below {below}")
    return 0


def listed(file: Path) -> Listed | None:
    """A run; one that cannot be read is said, and left out."""
    try:
        return Listed(file.parent, runs.read_record(file.parent))
    except Mistake as mistake:
        print(f"left out    {mistake}", file=sys.stderr)
        return None


def same(value: Any, typed: str) -> bool:
    """Whether a value is what was typed, as a word or as a number."""
    if str(value) == typed:
        return True
    try:
        return not isinstance(value, bool) and float(value) == float(typed)
    except (TypeError, ValueError):
        return False


def filters(words: list[str]) -> dict[str, str]:
    """key=value, as typed. Raises Mistake for anything else."""
    for word in words:
        if "=" not in word or word.startswith("-"):
            raise Mistake(f"{word} is no key=value: filter as in seqlab runs model=gpt_mini status=done sort=val/loss.")
    return dict(word.split("=", 1) for word in words)


def number(word: str) -> int:
    """A limit. Raises Mistake."""
    if not word.isdigit() or int(word) < 1:
        raise Mistake(f"limit={word} is no number of runs: give 1 or more.")
    return int(word)


def rank(one: Listed, key: str) -> tuple[int, Any]:
    """Where a run comes: numbers by size, the best first; then words; then those that have nothing there."""
    value = one.known(key)
    if value is None:
        return (-1 if key == "started" else 2, 0)  # what was never started is not the newest
    if isinstance(value, bool) or not isinstance(value, int | float):
        return (1, str(value))
    objective = one.record["objective"] or {}
    return (0, -value if key == objective.get("metric") and objective["mode"] == "max" else value)


def names(there: list[Listed]) -> list[str]:
    """What can be asked of the newest run."""
    newest = max(there, key=lambda one: one.record["started"] or "")
    last = newest.record["metrics"]["last"]
    return ["status", "steps", "started", *(newest.record["choices"] or {}), *last, *newest.config]


def text(value: Any) -> str:
    """A cell."""
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)
