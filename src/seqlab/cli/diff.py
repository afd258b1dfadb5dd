"""The verb diff."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from seqlab.cli.compose import compose_one
from seqlab.config.nodes import differences, flat
from seqlab.runs import folder as runs

PARTS = ("status", "choices", "git", "data", "base", "versions", "hardware", "parameters", "steps", "tokens")


def run(words: list[str]) -> int:
    """Print what two runs have different; exit status 0 whatever that is."""
    config = compose_one("diff", words)
    if not config:
        return 0
    below = Path(config["paths"]["runs"])
    folders = [runs.find(str(config[key]), below) for key in ("a", "b")]
    one, other = map(described, folders)
    table = Table(box=None, pad_edge=False)
    for title in ("", "a", "b"):
        table.add_column(title, overflow="fold")
    count = 0
    for name, before, now in differences(one, other):
        count += 1
        table.add_row(name, shown(before), shown(now))
    if count:
        Console(highlight=False, markup=False).print(table)
    else:
        print("The two runs are the same in config, code, data, versions and metrics.")
    if any((runs.read_record(folder)["git"] or {}).get("dirty") for folder in folders):
        print("The code may differ besides: a checkout had changes that were not committed.")
    return 0


def described(run: Path) -> dict[str, Any]:
    """All that can be different, by name; not where and when."""
    record = runs.read_record(run)
    config = {key: value for key, value in runs.read_config(run).items() if key not in ("paths", "resume")}
    known = {"config": config} | {part: record[part] for part in PARTS} | record["metrics"]
    return flat({key: value for key, value in known.items() if value is not None}, between=" ")


def shown(value: Any) -> str:
    """A value in the table."""
    return f"{value:.7g}" if isinstance(value, float) else "" if value is None else str(value)
