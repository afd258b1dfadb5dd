"""All runs below a folder, with what can be asked of each."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from seqlab.config.nodes import flatten
from seqlab.config.signatures import checked_keywords
from seqlab.errors import UserError, did_you_mean
from seqlab.runs.folder import list_run_files
from seqlab.runs.run_info import read_run_info
from seqlab.runs.settings import read_config_if_there


@dataclass
class ListedRun:
    """A run and what can be asked of it."""

    folder: Path
    info: dict[str, Any]

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its config, flat; only read if a key of it is asked for."""
        return flatten(read_config_if_there(self.folder))

    def lookup(self, key: str) -> Any:
        """A choice, a metric (the best, else the last), a key of run.json, or a key of the config; else None."""
        metrics = self.info["metrics"]
        for place in (self.info["choices"] or {}, metrics["best"], metrics["last"], self.info):
            if place.get(key) is not None:
                return place[key]
        return self.config.get(key)

    def best_objective(self) -> float | None:
        """The best value of its objective."""
        return self.info["metrics"]["best"].get((self.info["objective"] or {}).get("metric"))

    def to_dict(self) -> dict[str, Any]:
        """What is known of it, in one flat dictionary: choices, metrics as `val/loss` and `best/val/loss`, config keys."""
        info, metrics = self.info, self.info["metrics"]
        keys = ("status", "seed", "steps", "tokens", "seconds", "started", "ended", "error", "command")
        known = {"run": str(self.folder)} | {key: info.get(key) for key in keys}
        known |= (info["choices"] or {}) | flatten({"parameters": info["parameters"] or {}}, separator="/")
        best = {f"best/{name}": value for name, value in metrics["best"].items()}
        return known | metrics["last"] | best | {k: v for k, v in self.config.items() if k not in known}


def find_runs(runs_folder: Path) -> tuple[list[ListedRun], list[str]]:
    """All runs that can be read, and what is wrong with the others."""
    found, errors = [], []
    for file in list_run_files(runs_folder):
        try:
            found.append(ListedRun(file.parent, read_run_info(file.parent)))
        except UserError as error:
            errors.append(str(error))
    return found, errors


def filter_runs(runs: list[ListedRun], filters: dict[str, Any], runs_folder: Path) -> list[ListedRun]:
    """The runs that have these values. Raises UserError for a key that no run has."""
    for key in filters:
        check_key(runs, key, runs_folder)
    return [run for run in runs if all(matches(run.lookup(key), value) for key, value in filters.items())]


def check_key(runs: list[ListedRun], key: str, runs_folder: Path) -> None:
    """Raises UserError for a key that no run has."""
    if runs and key != "started" and all(run.lookup(key) is None and key not in run.config for run in runs):
        newest = max(runs, key=lambda run: run.info["started"] or "")
        known = [*newest.info, *(newest.info["choices"] or {}), *newest.info["metrics"]["last"], *newest.config]
        raise UserError(f"No run below {runs_folder} has {key}.{did_you_mean(key, known)}")


def matches(value: Any, wanted: Any) -> bool:
    """True if a value is what was asked for, as text or as a number."""
    if str(value) == str(wanted) or (value is None and wanted in ("null", None)):
        return True
    try:
        return not isinstance(value, bool) and float(value) == float(wanted)
    except (TypeError, ValueError):
        return False


@checked_keywords
def list_runs(below: str | Path = "runs", **filters: Any) -> list[dict[str, Any]]:
    """All runs below a folder as flat dictionaries, the newest last; `status="done"` and so on selects some of them."""
    runs, _ = find_runs(Path(below))
    runs = filter_runs(runs, filters, Path(below))
    return [run.to_dict() for run in sorted(runs, key=lambda run: run.info["started"] or "")]
