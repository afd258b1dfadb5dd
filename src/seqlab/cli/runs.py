"""The verb runs."""

import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from seqlab.cli.overrides import get_override, get_runs_folder
from seqlab.config.nodes import flatten
from seqlab.errors import UserError, did_you_mean
from seqlab.report.tables import TABLE_WIDTH
from seqlab.runs import folder as runs


@dataclass
class ListedRun:
    """A run and what can be asked of it."""

    folder: Path
    record: dict[str, Any]

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its config, flat; only read where a key of it is asked for."""
        return flatten(runs.read_config(self.folder)) if (self.folder / "config.yaml").exists() else {}

    def lookup(self, key: str) -> Any:
        """A key of run.json, a choice, a metric (the best, else the last), or a key of the config; else None."""
        metrics = self.record["metrics"]
        for place in (self.record["choices"] or {}, metrics["best"], metrics["last"], self.record, self.config):
            if place.get(key) is not None:
                return place[key]
        return None


def main(words: list[str]) -> int:
    """List the runs below paths.runs. Raises Mistake for a key that no run has."""
    below, sort = get_runs_folder(words), get_override(words, "sort") or "started"
    limit = parse_limit(get_override(words, "limit") or "20")
    there = list(filter(None, map(read_listed_run, runs.list_run_infos(below))))
    asked = parse_filters([word for word in words if word.split("=")[0] not in ("sort", "limit", "paths.runs")])
    for key in [*asked, sort]:
        if there and key != "started" and all(one.lookup(key) is None for one in there):
            raise UserError(f"No run below {below} has {key}.{did_you_mean(key, filterable_keys(there))}")
    found = [one for one in there if all(matches(one.lookup(key), value) for key, value in asked.items())]
    found.sort(key=lambda one: sort_key(one, sort))
    shown = found[-limit:] if sort == "started" else found[:limit]
    table = Table(box=None, pad_edge=False)
    extra = [key for key in [*asked, sort] if key not in ("started", "status", "model", "data", "seed")]
    for title in ("status", "model", "data", "seed", *extra, "objective", "steps", "run"):
        table.add_column(title, no_wrap=True)
    for one in shown:
        best = one.record["metrics"]["best"].get((one.record["objective"] or {}).get("metric"))
        cells = [one.lookup(key) for key in ("status", "model", "data", "seed", *extra)]
        table.add_row(
            *(format_cell(cell) for cell in [*cells, best, one.record["steps"], runs.relative_to_cwd(one.folder)])
        )
    Console(highlight=False, markup=False, width=TABLE_WIDTH).print(table)
    print(f"{len(shown)} of {len(there)} runs below {below}")
    return 0


def read_listed_run(file: Path) -> ListedRun | None:
    """A run; one that cannot be read is said, and left out."""
    try:
        return ListedRun(file.parent, runs.read_run_info(file.parent))
    except UserError as mistake:
        print(f"left out    {mistake}", file=sys.stderr)
        return None


def matches(value: Any, typed: str) -> bool:
    """Whether a value is what was typed, as a word or as a number."""
    if str(value) == typed:
        return True
    try:
        return not isinstance(value, bool) and float(value) == float(typed)
    except (TypeError, ValueError):
        return False


def parse_filters(words: list[str]) -> dict[str, str]:
    """key=value, as typed. Raises Mistake for anything else."""
    for word in words:
        if "=" not in word or word.startswith("-"):
            raise UserError(
                f"{word} is no key=value: filter as in seqlab runs model=gpt_mini status=done sort=val/loss."
            )
    return dict(word.split("=", 1) for word in words)


def parse_limit(word: str) -> int:
    """A limit. Raises Mistake."""
    if not word.isdigit() or int(word) < 1:
        raise UserError(f"limit={word} is no number of runs: give 1 or more.")
    return int(word)


def sort_key(one: ListedRun, key: str) -> tuple[int, Any]:
    """Where a run comes: numbers by size, the best first; then words; then those that have nothing there."""
    value = one.lookup(key)
    if value is None:
        return (-1 if key == "started" else 2, 0)  # what was never started is not the newest
    if isinstance(value, bool) or not isinstance(value, int | float):
        return (1, str(value))
    objective = one.record["objective"] or {}
    return (0, -value if key == objective.get("metric") and objective["mode"] == "max" else value)


def filterable_keys(there: list[ListedRun]) -> list[str]:
    """What can be asked of the newest run."""
    newest = max(there, key=lambda one: one.record["started"] or "")
    last = newest.record["metrics"]["last"]
    return ["status", "steps", "started", *(newest.record["choices"] or {}), *last, *newest.config]


def format_cell(value: Any) -> str:
    """A cell."""
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)
