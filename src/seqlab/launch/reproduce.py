"""Run a finished run again in a new folder, and say whether it came to the same."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from rich.console import Console

from seqlab.config.nodes import find_differences, flatten
from seqlab.errors import UserError
from seqlab.files import write_json
from seqlab.launch.run import launch_command
from seqlab.runs import folder as runs
from seqlab.runs.run_info import new_run_info
from seqlab.weights import sources

COPIED_KEYS = ("command", "overrides", "choices", "seed", "objective")  # of the record: what was asked for
ENVIRONMENT_KEYS = ("git", "data", "versions", "hardware", "base")  # what can explain a difference


def reproduce_run(run: Path, below: Path) -> bool:
    """Whether all metrics are equal bit for bit. Prints which are not, by how much, and what else differs.

    Raises Mistake for a run that is not done, and where the new one does not come to its end.
    """
    record = runs.read_run_info(run)
    if record["status"] != "done":
        raise UserError(f"{run} is {record['status']}, not done: finish it with resume={run}, and then reproduce it.")
    again = copy_run(run, record, below)
    status = subprocess.run(launch_command(again), check=False).returncode
    if status:
        raise UserError(
            f"The new run did not come to its end, as said above: mend that, and reproduce {run} once more."
        )
    new = runs.read_run_info(again)
    differing = list(find_differences(flatten(record["metrics"], between=" "), flatten(new["metrics"], between=" ")))
    console = Console(highlight=False, soft_wrap=True)
    if any(record.get("resumed") or []):
        console.print(f"because of? it was resumed with {record['resumed']}, and ran now in one piece", markup=False)
    for name, before, now in differing:
        by = f"  ({now - before:+.3g})" if isinstance(before, float) and isinstance(now, float) else ""
        console.print(f"differs     {name}: {before} -> {now}{by}", markup=False)
    around = [
        line
        for key in ENVIRONMENT_KEYS
        for line in find_differences(flatten({key: record[key]}, between=" "), flatten({key: new[key]}, between=" "))
    ]
    for name, before, now in around:
        console.print(f"{'because of?' if differing else 'and yet'} {name}: {before} -> {now}", markup=False)
    if differing and not around and not any(record.get("resumed") or []):
        console.print("Code, data, versions and hardware are the same: something in this run is not deterministic.")
    if not differing:
        console.print(f"reproduced  {len(flatten(new['metrics'], between=' '))} metrics, equal bit for bit")
    return not differing


def copy_run(run: Path, record: dict[str, Any], below: Path) -> Path:
    """A new run folder that asks for the same."""
    config = runs.read_config(run)
    again = runs.create_run_folder(below, "-".join(record["choices"].get(group, group) for group in ("model", "data")))
    if (run / "tokenizer").is_dir():
        shutil.copytree(run / "tokenizer", again / "tokenizer")
    runs.write_config(again, config)
    base = sources.resolve_init_from(config["init_from"], below) if config["init_from"] else None
    now = {"base": sources.provenance(base) if base else None}
    write_json(again / "run.json", new_run_info(**{key: record[key] for key in COPIED_KEYS}, **now))
    return again
