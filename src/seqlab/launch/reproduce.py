"""Run a finished run again in a new folder, and say whether it came to the same."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from rich.console import Console

from seqlab.config.nodes import differences, flat
from seqlab.errors import Mistake
from seqlab.files import write_json
from seqlab.launch.run import command
from seqlab.runs import folder as runs
from seqlab.runs.run_info import pending
from seqlab.weights import sources

KEPT = ("command", "overrides", "choices", "seed", "objective")  # of the record: what was asked for
SURROUNDINGS = ("git", "data", "versions", "hardware", "base")  # what can explain a difference


def reproduce(run: Path, below: Path) -> bool:
    """Whether all metrics are equal bit for bit. Prints which are not, by how much, and what else differs.

    Raises Mistake for a run that is not done, and where the new one does not come to its end.
    """
    record = runs.read_record(run)
    if record["status"] != "done":
        raise Mistake(f"{run} is {record['status']}, not done: finish it with resume={run}, and then reproduce it.")
    again = copied(run, record, below)
    status = subprocess.run(command(again), check=False).returncode
    if status:
        raise Mistake(f"The new run did not come to its end, as said above: mend that, and reproduce {run} once more.")
    new = runs.read_record(again)
    differing = list(differences(flat(record["metrics"], between=" "), flat(new["metrics"], between=" ")))
    console = Console(highlight=False, soft_wrap=True)
    if any(record.get("resumed") or []):
        console.print(f"because of? it was resumed with {record['resumed']}, and ran now in one piece", markup=False)
    for name, before, now in differing:
        by = f"  ({now - before:+.3g})" if isinstance(before, float) and isinstance(now, float) else ""
        console.print(f"differs     {name}: {before} -> {now}{by}", markup=False)
    around = [
        line
        for key in SURROUNDINGS
        for line in differences(flat({key: record[key]}, between=" "), flat({key: new[key]}, between=" "))
    ]
    for name, before, now in around:
        console.print(f"{'because of?' if differing else 'and yet'} {name}: {before} -> {now}", markup=False)
    if differing and not around and not any(record.get("resumed") or []):
        console.print("Code, data, versions and hardware are the same: something in this run is not deterministic.")
    if not differing:
        console.print(f"reproduced  {len(flat(new['metrics'], between=' '))} metrics, equal bit for bit")
    return not differing


def copied(run: Path, record: dict[str, Any], below: Path) -> Path:
    """A new run folder that asks for the same."""
    config = runs.read_config(run)
    again = runs.dated(below, "-".join(record["choices"].get(group, group) for group in ("model", "data")))
    if (run / "tokenizer").is_dir():
        shutil.copytree(run / "tokenizer", again / "tokenizer")
    runs.write_config(again, config)
    base = sources.find(config["init_from"], below) if config["init_from"] else None
    now = {"base": sources.described(base) if base else None}
    write_json(again / "run.json", pending(**{key: record[key] for key in KEPT}, **now))
    return again
