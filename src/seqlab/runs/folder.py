"""Run folders: how they are named, made and found."""

import datetime
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from seqlab.errors import UserError
from seqlab.files import read_json, write_atomically, write_json
from seqlab.runs.ranks import get_rank


def make_unique(parent: Path, name: str) -> Path:
    """Make a folder exclusively: two that start in the same second get two."""
    name = slugify(name)
    for number in range(1, 1000):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError, FileNotFoundError):  # another run may take the day's folder away
            folder.mkdir()
            return folder
    raise UserError(f"{parent / name} exists a thousand times over; tidy up {parent}.")


def slugify(name: str) -> str:
    """A name as folders have them: of letters, digits and `._-`, not too long."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:76].strip("-.")


def create_run_folder(runs: Path, name: str) -> Path:
    """Make `<runs>/<date>/<time>-<name>`."""
    now = datetime.datetime.now()
    return make_unique(runs / f"{now:%Y-%m-%d}", f"{now:%H-%M-%S}-{name}")


def find_run(run: str, runs: Path) -> Path:
    """The folder that `run` names, or with `last` the run started last, jobs of sweeps included."""
    if run != "last":
        folder = Path(run).expanduser()
        if not (folder / "config.yaml").is_file():
            why = "is no run folder (it has no config.yaml)" if folder.is_dir() else "does not exist"
            raise UserError(f"{folder} {why}: give a folder below {runs}, or last.")
        return folder.resolve()
    started = {folder.parent: read_run_info(folder.parent)["started"] or "" for folder in list_run_infos(runs)}
    started = {folder: time for folder, time in started.items() if time}
    if not started:
        raise UserError(
            f"There is no run below {runs} yet: train one with seqlab train, or say where with paths.runs=<folder>."
        )
    return max(started, key=lambda folder: started[folder]).resolve()


def list_run_infos(runs: Path) -> list[Path]:
    """run.json of all runs below a folder, jobs of sweeps included, but not of what is being removed."""
    return [file for pattern in ("*/[!.]*/run.json", "*/*/*/run.json") for file in runs.glob(pattern)]


def remove_run(folder: Path) -> None:
    """Remove a run folder that came to nothing, and the day's folder if it was the only run.

    It is renamed first: another rank, which may be writing why it died, finds it whole or not at all.
    """
    gone = folder.rename(folder.with_name(f".{folder.name}"))
    shutil.rmtree(gone, ignore_errors=True)
    with suppress(OSError):  # it is not empty
        folder.parent.rmdir()


def read_config(run: Path) -> dict[str, Any]:
    """config.yaml as plain data."""
    return yaml.safe_load((run / "config.yaml").read_text())


def write_config(run: Path, config: dict[str, Any]) -> None:
    """config.yaml, in the order of composition."""
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    write_atomically(run / "config.yaml", lambda partial: partial.write_text(text))


def read_run_info(run: Path) -> dict[str, Any]:
    """run.json."""
    return read_json(run / "run.json")


def update_run_info(run: Path, everyone: bool = False, **changes: Any) -> dict[str, Any]:
    """Update keys of run.json; the whole of it. Ranks other than the first write nothing, unless `everyone` may."""
    record = read_run_info(run) | changes
    if everyone or not get_rank():
        write_json(run / "run.json", record)
    return record


def is_in_sweep(run: Path) -> bool:
    """Whether a run is a job of a sweep."""
    return "-sweep-" in run.resolve().parent.name


def relative_to_cwd(path: Path) -> Path:
    """The path as one would type it here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
