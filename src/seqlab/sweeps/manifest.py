"""sweep.json: every job of a sweep, the overrides that compose it, and its state."""

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from seqlab.errors import UserError
from seqlab.files import expand_path, read_json, write_json
from seqlab.runs.folder import find_last_sweep, find_named_runs, is_in_sweep, relative_to_cwd, slugify
from seqlab.runs.settings import overrides_to_dict, varying_keys

FILE_NAME = "sweep.json"


@dataclass
class Job:
    """One run of a sweep; `state` is a run's status, or `pruned`."""

    number: int
    name: str  # of its folder in the sweep's
    overrides: list[str]
    state: str = "pending"
    error: str | None = None
    seconds: float = 0.0
    submitted: str | None = None  # its number on a cluster, until it has ended
    trial: list[int] | None = None  # of a search: number of its block, and of its trial there


@dataclass
class Sweep:
    """A sweep, as `sweep.json` in its folder describes it."""

    folder: Path
    command: str
    options: list[str]  # such as --config-dir: what composing its jobs needs besides their overrides
    cwd: str  # where it was typed, which relative paths start from
    settings: dict[str, Any]  # of the launcher
    source: dict[str, str]  # file -> sha256 of the code that the jobs import
    created: str
    search: dict[str, Any] | None = None
    jobs: list[Job] = field(default_factory=list)

    def path(self, job: Job) -> Path:
        """A job's run folder."""
        return self.folder / job.name

    def write(self) -> None:
        """Write sweep.json, atomically."""
        content = asdict(self)
        del content["folder"]
        write_json(self.folder / FILE_NAME, content)

    def set_state(self, job: Job, state: str, error: str | None = None) -> None:
        """Record a job's state."""
        job.state, job.error = state, error
        self.write()

    def count(self, *states: str) -> int:
        """How many jobs are in these states."""
        return sum(job.state in states for job in self.jobs)


def read_sweep(folder: Path) -> Sweep:
    """The sweep of a folder. Raises UserError if there is none."""
    if not (folder / FILE_NAME).is_file():
        reason = f"is not a sweep (it has no {FILE_NAME})" if folder.is_dir() else "does not exist"
        raise UserError(
            f"{folder} {reason}: give the folder of a sweep, <date>/<time>-sweep-<name> below paths.runs, or last."
        )
    content = read_json(folder / FILE_NAME)
    try:
        jobs = [Job(**job) for job in content.pop("jobs")]
        return Sweep(folder=folder.resolve(), jobs=jobs, **content)
    except (TypeError, KeyError) as error:
        raise UserError(
            f"{folder / FILE_NAME} is of another version of seqlab ({error}): start a new sweep."
        ) from error


def find_sweep(name: str, runs_folder: Path) -> Path:
    """The folder of the sweep that `name` names; `last` is the one started last. Raises UserError."""
    if name == "last":
        return find_last_sweep(runs_folder)
    folder = expand_path(name)
    patterns = (f"*/*-sweep-{slugify(name)}/{FILE_NAME}", f"*/{slugify(name)}-sweep-*/{FILE_NAME}")  # name, short id
    if not folder.exists() and (named := [file for pattern in patterns for file in runs_folder.glob(pattern)]):
        return max(named).parent  # the newest of that name
    if not folder.exists() and (runs := [run for run in find_named_runs(name, runs_folder) if not is_in_sweep(run)]):
        raise UserError(f"{name} is one run, {relative_to_cwd(runs[0])}, and not a sweep: give the folder of a sweep.")
    return folder.parent if folder.name == FILE_NAME else folder


def job_names(jobs: list[list[str]]) -> list[str]:
    """A folder name for each job: its number and what differs among the jobs, such as `000-lr_1e-3-seed_1`."""
    values = [overrides_to_dict(job) for job in jobs]
    keys = varying_keys(values) or list(values[0])
    return [job_name(number, {key: job[key] for key in keys if key in job}) for number, job in enumerate(values)]


def job_name(number: int, values: dict[str, Any]) -> str:
    """The folder name of one job."""
    parts = (f"{key.rsplit('.', 1)[-1]}_{round_number(str(value))}" for key, value in values.items())
    return slugify(f"{number:03d}-{'-'.join(parts) or 'run'}")


def round_number(value: str) -> str:
    """A number with many digits in four of them, without a plus; anything else as it is."""
    is_long = re.fullmatch(r"-?\d*\.\d{5,}(e-?\d+)?", value)
    return f"{float(value):.4g}".replace("e+0", "e").replace("e+", "e") if is_long else value
