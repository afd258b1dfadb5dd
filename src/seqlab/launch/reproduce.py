"""Run a finished run again in a new folder, and compare the metrics."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from seqlab.config.nodes import find_differences, flatten
from seqlab.errors import UserError
from seqlab.files import write_json
from seqlab.launch.run import launch_command
from seqlab.runs.folder import create_run_folder, read_config, write_config
from seqlab.runs.run_info import FILE_NAME, new_run_info, read_run_info
from seqlab.streams import print_wrapped
from seqlab.weights.restore import resolve_base
from seqlab.weights.sources import provenance

COPIED_KEYS = ("command", "overrides", "choices", "seed", "objective")  # of run.json: what was asked for
ENVIRONMENT_KEYS = ("git", "code", "data", "versions", "hardware", "base")  # what can explain a difference


def reproduce_run(run: Path, runs_folder: Path, init_from: str | None = None) -> bool:
    """True if all metrics are equal bit for bit. Prints which are not, by how much, and what else differs.

    Raises UserError for a run that is not done, and if the new one does not finish.
    """
    info = read_run_info(run)
    if info["status"] != "done":
        raise UserError(f"{run} is {info['status']}, not done: finish it with resume={run}, and then reproduce it.")
    copy = copy_run(run, info, runs_folder, init_from)
    if subprocess.run(launch_command(copy), check=False).returncode:
        raise UserError(f"The new run did not finish, as said above: fix that, and reproduce {run} once more.")
    new = read_run_info(copy)
    metrics = flatten(new["metrics"], separator=" ")
    different = list(find_differences(flatten(info["metrics"], separator=" "), metrics))
    was_resumed = any(info.get("resumed") or [])
    if was_resumed and different:
        print_wrapped(f"possible cause: it was resumed with {info['resumed']}, and ran now in one piece")
    for name, before, now in different:
        by = f"  ({now - before:+.3g})" if isinstance(before, float) and isinstance(now, float) else ""
        print_wrapped(f"differs     {name}: {before} -> {now}{by}")
    environment = [flatten({key: part[key] for key in ENVIRONMENT_KEYS}, separator=" ") for part in (info, new)]
    causes = list(find_differences(*environment))
    for name, before, now in causes:
        print_wrapped(f"{'possible cause:' if different else 'also differs:'} {name}: {before} -> {now}")
    if different and not causes and not was_resumed:
        print_wrapped("Code, data, versions and hardware are the same: something in this run is not deterministic.")
    if not different:
        print_wrapped(f"reproduced  {len(metrics)} metrics, equal bit for bit")
    return not different


def copy_run(run: Path, info: dict[str, Any], runs_folder: Path, init_from: str | None) -> Path:
    """A new run folder that asks for the same; `init_from` is where the run's base is now. Raises UserError."""
    config = read_config(run) | {"name": None}  # which names the run that it reproduces
    if init_from and not config["init_from"]:
        raise UserError(f"init_from={init_from} has no effect: {run} started from no other weights. Leave it out.")
    source = resolve_base(init_from or config["init_from"], run) if config["init_from"] else None
    if source:
        config["init_from"] = str(source.path)
    names = [info["choices"].get(group, group) for group in ("model", "data")]
    copy = create_run_folder(runs_folder, "-".join(names))
    if (run / "tokenizer").is_dir():
        shutil.copytree(run / "tokenizer", copy / "tokenizer")
    write_config(copy, config)
    known = {key: info[key] for key in COPIED_KEYS} | {"base": provenance(source) if source else None}
    write_json(copy / FILE_NAME, new_run_info(**known))
    return copy
