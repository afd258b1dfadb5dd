"""run.json: where a run comes from and how far it is. `docs/run-folder.md` describes every key."""

import datetime
from pathlib import Path
from typing import Any

from seqlab.errors import UserError
from seqlab.files import read_json, write_json
from seqlab.runs.ranks import get_rank

FILE_NAME = "run.json"
FORMAT = 2  # of the run folder; raised whenever an older reader would misread it
NUMBER = (int, float)
KEYS: dict[str, Any] = {  # and what stands there, unless it is null
    "format": int,
    "name": str,
    "status": str,
    "command": str,
    "overrides": list,
    "choices": dict,
    "seed": int,
    "parameters": dict,
    "metrics": {"last": dict, "best": dict},
    "objective": {"metric": str, "mode": str},
    "checkpoints": dict,
    "steps": int,
    "tokens": int,
    "seconds": NUMBER,
    "data_properties": dict,
    "started": str,
    "ended": str,
    "process": {"host": str, "boot": str, "pid": int, "started": NUMBER},
    "git": dict,
    "code": dict,
    "versions": dict,
    "hardware": dict,
    "data": dict,
    "base": dict,
    "resumed": list,
    "error": str,
}


def timestamp() -> str:
    """The local time with its zone, sortable within one zone."""
    return datetime.datetime.now().astimezone().isoformat()


def new_run_info(**known: Any) -> dict[str, Any]:
    """The first run.json of a run: all keys, most of them still null."""
    start = {"format": FORMAT, "status": "pending", "metrics": {"last": {}, "best": {}}}
    return dict.fromkeys(KEYS) | start | known


def read_run_info(run: Path) -> dict[str, Any]:
    """Read run.json. Raises UserError if it is damaged or was written in another format."""
    info = read_json(run / FILE_NAME)
    if info.get("format") != FORMAT:
        version = (info.get("versions") or {}).get("seqlab", "0.1.0")
        raise UserError(
            f"{run} was written by seqlab {version} in run format {info.get('format', 1)}, and this seqlab reads format "
            f"{FORMAT}: use the version that wrote it, or train the run again."
        )
    for key, kind in KEYS.items():
        if info.get(key) is not None and not is_of_kind(info[key], kind):
            raise UserError(f"{run / FILE_NAME} is damaged ({key} is {str(info[key])[:80]}): restore it.")
    return dict.fromkeys(KEYS) | info | {"metrics": info.get("metrics") or {"last": {}, "best": {}}}


def is_of_kind(value: Any, kind: Any) -> bool:
    """True if a value is of a type, or of one of several; of a dictionary of types, if it has them under these keys."""
    if not isinstance(kind, dict):
        return isinstance(value, kind)
    return isinstance(value, dict) and all(is_of_kind(value.get(key), inner) for key, inner in kind.items())


def update_run_info(run: Path, any_rank: bool = False, **changes: Any) -> dict[str, Any]:
    """Update keys of run.json and return all of them. Only rank 0 writes, unless `any_rank` may."""
    info = read_run_info(run) | changes
    if any_rank or not get_rank():
        write_json(run / FILE_NAME, info)
    return info
