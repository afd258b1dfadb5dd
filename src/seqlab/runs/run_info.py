"""run.json: where a run comes from and how far it is. `docs/run-folder.md` describes every key."""

import datetime
from pathlib import Path
from typing import Any

from seqlab.errors import UserError
from seqlab.files import read_json, write_json
from seqlab.runs.ranks import get_rank

FILE_NAME = "run.json"
FORMAT = 2  # of the run folder; raised whenever an older reader would misread it
KEYS = (
    "format name status command overrides choices seed parameters metrics objective checkpoints steps tokens seconds "
    "data_properties started ended process git code versions hardware data base resumed error"
).split()


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
    return dict.fromkeys(KEYS) | info


def update_run_info(run: Path, any_rank: bool = False, **changes: Any) -> dict[str, Any]:
    """Update keys of run.json and return all of them. Only rank 0 writes, unless `any_rank` may."""
    info = read_run_info(run) | changes
    if any_rank or not get_rank():
        write_json(run / FILE_NAME, info)
    return info
