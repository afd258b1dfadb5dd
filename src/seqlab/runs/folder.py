"""Run folders: how they are named, created, found and removed."""

import datetime
import glob
import re
import shutil
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import Any

from seqlab.errors import UserError
from seqlab.files import dump_yaml, expand_path, read_json, read_yaml, write_atomically
from seqlab.runs.run_info import FILE_NAME, read_run_info, timestamp, update_run_info
from seqlab.runs.settings import drop_repeated, is_seed, read_settings


def make_unique(parent: Path, name: str) -> Path:
    """Make a folder exclusively: two runs that start in the same second get two."""
    name = slugify(name)
    for number in range(1, 1000):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError, FileNotFoundError):  # another run may remove the day's folder
            folder.mkdir()
            return folder
    raise UserError(f"{parent / name} exists a thousand times: remove some folders from {parent}.")


def slugify(name: str) -> str:
    """A name of letters, digits and `._-` only, of at most 76 characters."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:76].strip("-.")


def create_run_folder(runs: Path, name: str) -> Path:
    """Make `<runs>/<date>/<time>-<name>`."""
    now = datetime.datetime.now()
    try:
        runs.mkdir(parents=True, exist_ok=True)
    except (FileNotFoundError, FileExistsError) as error:  # as in /proc, and a file
        raise UserError(
            f"{runs} cannot be made ({error.strerror}): use another folder with paths.runs=<folder>."
        ) from error
    return make_unique(runs / f"{now:%Y-%m-%d}", f"{now:%H-%M-%S}-{name}")


def find_run(run: str, runs: Path) -> Path:
    """The folder that `run` names: a run folder, the name of a run, or a sweep, which means its best run.

    `last`, like a name that several runs have, is the one started last, jobs of sweeps included; `best` is the best run of
    the sweep started last. `14-05-59`, with `/003` for a job of a sweep, is short for a folder. The name of a sweep means its
    best run. Raises UserError.
    """
    if run == "best":
        return find_best_job(find_last_sweep(runs))
    folder = expand_path(run)
    if run != "last" and (folder / "config.yaml").is_file():
        if not (folder / FILE_NAME).is_file():
            raise UserError(f"{folder} has no {FILE_NAME}, which a run folder needs: restore it, or use another run.")
        return folder.resolve()
    if run != "last" and (folder / "sweep.json").is_file():
        return find_best_job(folder)
    started = find_named_runs(run, runs)
    if len(started) > 1 and run in map(short_id, started):
        folders = " or ".join(str(relative_to_cwd(folder)) for folder in started)
        raise UserError(f"{run} is short for several runs: give the folder, {folders}.")
    if started:
        newest = max(started, key=lambda folder: started[folder]).resolve()
        return find_best_job(newest) if (newest / "sweep.json").is_file() else newest
    if run == "last":
        raise UserError(
            f"There is no run below {runs} yet: train one with seqlab train, or name another folder with paths.runs=<folder>."
        )
    if folder.suffix == ".ckpt" and folder.exists():
        raise UserError(f"{folder} is a checkpoint: give its run's folder, and checkpoint=best or checkpoint=last.")
    reason = (
        "is not a run folder (it has no config.yaml)" if folder.exists() else "does not exist, nor a run of that name"
    )
    there = (
        "" if runs.is_dir() else f" There is no {relative_to_cwd(runs)} here: go to the folder where it was trained."
    )
    raise UserError(
        f"{folder} {reason}: give a folder below {relative_to_cwd(runs)}, a run's short id or name, last or best.{there}"
    )


def find_named_runs(name: str, runs: Path) -> dict[Path, str]:
    """The runs and sweeps that a name or short id means (`last`: all runs), and when they were started."""
    started: dict[Path, str] = {}
    for file in list_run_files(runs):
        with suppress(
            UserError, FileNotFoundError
        ):  # one that cannot be read, or is gone, is not the one that was started last
            info = read_run_info(file.parent)
            found = match_run(file.parent, info["name"], name) if info["started"] else None
            if found:
                started[found] = max(info["started"], started.get(found, ""))
    return started


def match_run(folder: Path, name: str | None, asked: str) -> Path | None:
    """The folder that a run's own name or id, or that of its sweep, means; None if it is another one."""
    if asked in ("last", short_id(folder)):
        return folder
    is_named = name is not None and asked in (name, slugify(name))
    if is_in_sweep(folder):
        return folder.parent if is_named or asked == short_id(folder.parent) else None
    return folder if is_named else None


def short_id(run: Path) -> str:
    """The time in the name of a run's folder, and the number of a job: `14-05-59`, `14-05-59/003`."""
    parts = [run.parent.name, run.name] if is_in_sweep(run) else [run.name]
    found = [re.match(r"\d\d-\d\d-\d\d|\d{3,}", part) for part in parts]
    return "/".join(match[0] if match else part for match, part in zip(found, parts, strict=True))


def find_last_sweep(runs: Path) -> Path:
    """The folder of the sweep started last. Raises UserError if there is none."""
    created = {file.parent: read_json(file)["created"] for file in find_present(runs, "*/*/sweep.json")}
    if not created:
        raise UserError(
            f"There is no sweep below {runs} yet: start one with seqlab train -m …, or set paths.runs=<folder>."
        )
    return max(created, key=lambda folder: created[folder])


def find_best_job(sweep: Path) -> Path:
    """The winner of a sweep: of the finished runs (while none is done, of any) those whose setting has the best mean
    objective over its seeds, and of them the best. Raises UserError if there is none.
    """
    infos: dict[Path, dict[str, Any]] = {}
    for file in sorted(find_present(sweep, "*/run.json")):
        with suppress(UserError, FileNotFoundError):
            infos[file.parent] = read_run_info(file.parent)
    infos = drop_repeated(infos)
    measured = {run: value for run, info in infos.items() if (value := objective_to_minimise(info)) is not None}
    done = {run: value for run, value in measured.items() if infos[run]["status"] == "done"} or measured
    if not done:
        raise UserError(f"No run of {sweep} has measured its objective yet: name one of its run folders.")
    means = mean_over_seeds({run: infos[run] for run in done}, done)
    return min(done, key=lambda run: (means[run], done[run])).resolve()


def objective_to_minimise(info: dict[str, Any]) -> float | None:
    """The best value of a run's objective, so that less is better; None if it was not measured."""
    objective = info["objective"] or {}  # a job that could not be composed has none
    value = info["metrics"]["best"].get(objective.get("metric"))
    return value if value is None or objective["mode"] == "min" else -value


def mean_over_seeds(infos: dict[Path, dict[str, Any]], values: dict[Path, float]) -> dict[Path, float]:
    """Of each run the mean over all runs with the same setting."""
    settings = {
        run: {key: value for key, value in known.items() if not is_seed(key)}
        for run, known in read_settings(infos).items()
    }
    return {run: fmean(values[other] for other in settings if settings[other] == settings[run]) for run in settings}


def list_run_files(runs: Path) -> list[Path]:
    """run.json of all runs below a folder, jobs of sweeps included, runs that are being removed excluded."""
    return [file for pattern in ("*/*/run.json", "*/*/*/run.json") for file in find_present(runs, pattern)]


def find_present(folder: Path, pattern: str) -> list[Path]:
    """The files that match a pattern, but for hidden ones; folders may go while they are listed, which ends a `Path.glob`."""
    return [folder / name for name in glob.glob(pattern, root_dir=folder)]  # noqa: PTH207


def mark_ended(run: Path, status: str, error: str, remove_if_empty: bool) -> None:
    """Record that a run ended early. With `remove_if_empty`, one without a step is removed, unless a sweep counts it."""
    if remove_if_empty and not is_in_sweep(run) and not read_run_info(run)["steps"]:
        remove_run(run)
    else:
        update_run_info(run, status=status, ended=timestamp(), error=error)


def remove_run(folder: Path) -> None:
    """Remove a run folder, and the day's folder if it was the only run.

    It is renamed first, so that another rank, which may be writing why it failed, finds it whole or not at all.
    """
    hidden = folder.rename(folder.with_name(f".{folder.name}"))
    shutil.rmtree(hidden, ignore_errors=True)
    with suppress(OSError):  # the day's folder is not empty
        folder.parent.rmdir()


def read_config(run: Path) -> dict[str, Any]:
    """config.yaml as plain data. Raises UserError if it is damaged."""
    return read_yaml(run / "config.yaml")


def write_config(run: Path, config: dict[str, Any]) -> None:
    """Write config.yaml in the order of composition."""
    with write_atomically(run / "config.yaml") as partial:
        partial.write_text(dump_yaml(config), encoding="utf-8")


def is_in_sweep(run: Path) -> bool:
    """True if a run is a job of a sweep."""
    return "-sweep-" in run.resolve().parent.name


def relative_to_cwd(path: Path) -> Path:
    """The path as one would type it here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
