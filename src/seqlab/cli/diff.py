"""The verb diff."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from seqlab.cli.compose import compose_one
from seqlab.config.nodes import find_differences, flatten
from seqlab.runs import folder as runs

RUN_INFO_KEYS = ("status", "choices", "git", "data", "base", "versions", "hardware", "parameters", "steps", "tokens")


def main(words: list[str]) -> int:
    """Print what two runs have different; exit status 0 whatever that is."""
    config = compose_one("diff", words)
    if not config:
        return 0
    below = Path(config["paths"]["runs"])
    folders = [runs.find_run(str(config[key]), below) for key in ("a", "b")]
    one, other = map(describe_run, folders)
    table = Table(box=None, pad_edge=False)
    for title in ("", "a", "b"):
        table.add_column(title, overflow="fold")
    count = 0
    for name, before, now in find_differences(one, other):
        count += 1
        table.add_row(name, format_value(before), format_value(now))
    if count:
        Console(highlight=False, markup=False).print(table)
    else:
        print("The two runs are the same in config, code, data, versions and metrics.")
    if any((runs.read_run_info(folder)["git"] or {}).get("dirty") for folder in folders):
        print("The code may differ besides: a checkout had changes that were not committed.")
    return 0


def describe_run(run: Path) -> dict[str, Any]:
    """All that can be different, by name; not where and when."""
    record = runs.read_run_info(run)
    config = {key: value for key, value in runs.read_config(run).items() if key not in ("paths", "resume")}
    known = {"config": config} | {part: record[part] for part in RUN_INFO_KEYS} | record["metrics"]
    return flatten({key: value for key, value in known.items() if value is not None}, between=" ")


def format_value(value: Any) -> str:
    """A value in the table."""
    return f"{value:.7g}" if isinstance(value, float) else "" if value is None else str(value)
