"""The verb diff."""

import re
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from seqlab.cli.compose import compose_one
from seqlab.cli.tables import format_cell
from seqlab.config.nodes import find_differences, flatten
from seqlab.runs.folder import find_run, read_config, relative_to_cwd, short_id
from seqlab.runs.run_info import read_run_info
from seqlab.streams import print_wrapped

RUN_INFO_KEYS = (
    "status",
    "git",
    "code",
    "data",
    "base",
    "versions",
    "hardware",
    "parameters",
    "steps",
    "tokens",
)


def main(args: list[str]) -> int:
    """Print how two runs differ; the exit status is 0 whether they do or not."""
    config = compose_one("diff", args)
    if not config:
        return 0
    runs = [find_run(str(config[key]), Path(config["paths"]["runs"])) for key in ("a", "b")]
    if runs[0] == runs[1]:
        print_wrapped(f"a and b are the same run, {relative_to_cwd(runs[0])}: name two to compare them.")
        return 0
    described = [describe_run(run) for run in runs]
    chosen = {
        group
        for group in described[0]
        if group.startswith("choices ") and described[0][group] != described[1].get(group)
    }
    places = {part_of(name): number for number, name in enumerate(reversed(described[0] | described[1]))}
    differences = sorted(find_differences(*described), key=lambda difference: -places[part_of(difference[0])])
    table = Table(box=None, pad_edge=False)
    for title in ("", *map(short_id, runs)):
        table.add_column(title, overflow="fold")
    for name, before, after in differences:
        if name.startswith("config ") and name.endswith("._target_") and f"choices {name[7:-9]}" in chosen:
            continue  # said by the name of the option
        table.add_row(name, format_cell(before, digits=7), format_cell(after, digits=7))
    if differences:
        Console(highlight=False, markup=False).print(table)
    else:
        print_wrapped("The two runs are the same in config, code, data, versions and metrics.")
    if any((read_run_info(run)["git"] or {}).get("dirty") for run in runs):
        print_wrapped("The code may differ as well: a checkout had changes that were not committed.")
    return 0


def describe_run(run: Path) -> dict[str, Any]:
    """All that can differ, by name; not where and when."""
    info = read_run_info(run)
    config = {key: value for key, value in read_config(run).items() if key not in ("paths", "resume")}
    parts = {"choices": info["choices"], "config": config} | {key: info[key] for key in RUN_INFO_KEYS} | info["metrics"]
    flat = flatten({key: value for key, value in parts.items() if value is not None}, separator=" ")
    return {name: shorten_checksum(value) for name, value in flat.items()}


def part_of(name: str) -> str:
    """The part of a run that a name belongs to: `config model`, `versions`."""
    return " ".join(name.split(" ")[: 2 if name.startswith("config ") else 1])


def shorten_checksum(value: Any) -> Any:
    """The beginning of a sha256; any other value as it is."""
    return f"{value[:12]}…" if re.fullmatch("[0-9a-f]{64}", str(value)) else value
