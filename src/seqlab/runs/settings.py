"""What the runs of a sweep were told, and which of them only repeat others with another seed."""

import json
import re
from pathlib import Path
from typing import Any

from seqlab.errors import UserError
from seqlab.files import read_yaml

Settings = dict[str, Any]  # key -> value, of what was typed for any run
# Keys whose new value in a resumed run changes none of its results.
WITHOUT_EFFECT = re.compile(
    r"name|threads|init_from|data\.(path|folders|num_workers)|paths\..*|logger\..*|callbacks\.(?!early_stopping).*"
)


def overrides_to_dict(overrides: list[str] | None) -> dict[str, str]:
    """Key -> value of overrides; of several for a key, as when a run was resumed, the last."""
    return dict(override.lstrip("+").split("=", 1) for override in overrides or [] if "=" in override)


def read_settings(infos: dict[Path, dict[str, Any]]) -> dict[Path, Settings]:
    """The settings of each run. What one of them was resumed with is looked up in the config of all."""
    resumed = [key for info in infos.values() for part in info["resumed"] or [] for key in overrides_to_dict(part)]
    keys = [key for key in resumed if not WITHOUT_EFFECT.fullmatch(key)]
    settings = {}
    for run, info in infos.items():
        overrides, added = info["overrides"] or [], sum(map(len, info["resumed"] or []))
        config = read_config_if_there(run) if keys else {}
        found = {key: find_value(config, key) for key in keys}
        settings[run] = overrides_to_dict(overrides[: len(overrides) - added]) | {
            key: str(value) for key, value in found.items() if value is not None
        }
    return settings


def drop_repeated(infos: dict[Path, dict[str, Any]]) -> dict[Path, dict[str, Any]]:
    """Of runs with the same overrides, as a job that was renamed and run again, keep the one started last: a seed counts once."""
    latest: dict[str, Path] = {}
    for run, info in sorted(infos.items(), key=lambda item: item[1]["started"] or ""):
        latest[json.dumps(sorted(info["overrides"] or [run.name]))] = run
    return {run: info for run, info in infos.items() if run in latest.values()}


def read_config_if_there(run: Path) -> dict[str, Any]:
    """config.yaml; empty if it cannot be read, since a list of runs goes on without it."""
    try:
        return read_yaml(run / "config.yaml")
    except (UserError, FileNotFoundError):
        return {}


def find_value(config: Any, key: str) -> Any:
    """The value of a dotted key in a nested dictionary; None if it is not there, or holds others."""
    for part in key.split("."):
        config = config.get(part) if isinstance(config, dict) else None
    return None if isinstance(config, dict) else config


def is_seed(key: str) -> bool:
    """True for a key whose values only repeat a run."""
    return key.rsplit(".", 1)[-1] == "seed"


def varying_keys(jobs: list[Settings]) -> list[str]:
    """The keys whose values differ among the jobs, without those that are redundant for telling the jobs apart."""
    union = dict.fromkeys(key for job in jobs for key in job)
    keys = [key for key in union if len({str(job.get(key)) for job in jobs}) > 1]
    for key in list(keys):
        rest = [other for other in keys if other != key]
        has_one_value = len({str(job[key]) for job in jobs if key in job}) < 2
        if has_one_value and count_distinct(jobs, rest) == count_distinct(jobs, keys):
            keys = rest
    return keys


def count_distinct(jobs: list[Settings], keys: list[str]) -> int:
    """How many jobs differ in these keys."""
    return len({tuple(str(job.get(key)) for key in keys) for job in jobs})
