"""sweep.json: every job of a sweep, the words that compose it, and its state."""

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from seqlab.errors import UserError
from seqlab.files import read_json, write_json
from seqlab.report.rows import overrides_to_dict, varying_keys
from seqlab.runs import folder as runs

FILE_NAME = "sweep.json"


@dataclass
class Job:
    """One run of a sweep; `state` is a run's status, or `pruned`."""

    number: int
    name: str  # of its folder in the sweep's
    words: list[str]
    state: str = "pending"
    error: str | None = None
    seconds: float = 0.0
    submitted: str | None = None  # on a cluster, its number there until it has ended
    trial: list[int] | None = None  # of a search: number of its block, and of its trial there


@dataclass
class Sweep:
    """A sweep, as `sweep.json` in its folder says it."""

    folder: Path
    command: str
    options: list[str]  # such as --config-dir: what composing its jobs needs besides their words
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
        """Note a job's state."""
        job.state, job.error = state, error
        self.write()

    def count(self, *states: str) -> int:
        """How many jobs are in these states."""
        return sum(job.state in states for job in self.jobs)


def read_sweep(folder: Path) -> Sweep:
    """The sweep of a folder. Raises Mistake where there is none."""
    if not (folder / FILE_NAME).is_file():
        why = f"is no sweep (it has no {FILE_NAME})" if folder.is_dir() else "does not exist"
        raise UserError(
            f"{folder} {why}: give the folder of a sweep, <date>/<time>-sweep-<name> below paths.runs, or last."
        )
    content = read_json(folder / FILE_NAME)
    try:
        jobs = [Job(**job) for job in content.pop("jobs")]
        return Sweep(folder=folder.resolve(), jobs=jobs, **content)
    except (TypeError, KeyError) as error:
        raise UserError(
            f"{folder / FILE_NAME} is of another version of seqlab ({error}): begin a new sweep."
        ) from error


def find_sweep(name: str, below: Path) -> Path:
    """The folder of the sweep that `name` names; `last` is the one begun last. Raises Mistake."""
    if name != "last":
        folder = Path(name).expanduser()
        return folder.parent if folder.name == FILE_NAME else folder
    found = {file.parent: read_json(file)["created"] for file in below.glob(f"*/*/{FILE_NAME}")}
    if not found:
        raise UserError(
            f"There is no sweep below {below} yet: start one with seqlab train -m …, or say paths.runs=<folder>."
        )
    return max(found, key=lambda folder: found[folder])


def job_names(jobs: list[list[str]]) -> list[str]:
    """A folder's name for each job: its number and what differs among the jobs, in the form `000-lr_1e-3-seed_1`."""
    words = [overrides_to_dict(job) for job in jobs]
    keys = varying_keys(words) or list(words[0])
    return [job_name(number, {key: word[key] for key in keys if key in word}) for number, word in enumerate(words)]


def job_name(number: int, values: dict[str, Any]) -> str:
    """The name of one job."""
    parts = (f"{key.rsplit('.', 1)[-1]}_{round_number(str(value))}" for key, value in values.items())
    return runs.slugify(f"{number:03d}-{'-'.join(parts) or 'run'}")


def round_number(value: str) -> str:
    """A drawn number in four digits, without a plus; anything else as it is."""
    drawn = re.fullmatch(r"-?\d*\.\d{5,}(e-?\d+)?", value)
    return f"{float(value):.4g}".replace("e+0", "e").replace("e+", "e") if drawn else value
