"""The verb runs."""

import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from seqlab.cli.overrides import get_override, get_runs_folder
from seqlab.cli.tables import TABLE_WIDTH, format_cell
from seqlab.errors import UserError
from seqlab.report.listing import ListedRun, check_key, filter_runs, find_runs
from seqlab.runs.folder import relative_to_cwd
from seqlab.runs.process import describe_status

COLUMNS = ("status", "model", "data", "seed")


def main(args: list[str]) -> int:
    """List the runs below paths.runs. Raises UserError for a key that no run has."""
    runs_folder, sort = get_runs_folder(args), get_override(args, "sort") or "started"
    limit = parse_limit(get_override(args, "limit") or "20")
    runs, errors = find_runs(runs_folder)
    for error in errors:
        print(f"left out    {error}", file=sys.stderr)
    filters = parse_filters([arg for arg in args if arg.split("=")[0] not in ("sort", "limit", "paths.runs")])
    found = filter_runs(runs, filters, runs_folder)
    check_key(runs, sort, runs_folder)
    found.sort(key=lambda run: sort_key(run, sort))
    shown = found[-limit:] if sort == "started" else found[:limit]
    extra = [key for key in [*filters, sort] if key not in ("started", *COLUMNS)]
    table = Table(box=None, pad_edge=False)
    has_errors = any(run.info["error"] for run in shown) and filters.get("status") == "failed"
    for title in (*COLUMNS, *extra, "objective", "steps", "run", *(["error"] if has_errors else [])):
        table.add_column(title, no_wrap=True)
    for run in shown:
        cells = [describe_status(run.info), *(run.lookup(key) for key in (*COLUMNS[1:], *extra))]
        cells += [run.best_objective(), run.info["steps"], relative_to_cwd(run.folder)]
        cells += [run.info["error"]] if has_errors else []
        table.add_row(*map(format_cell, cells))
    Console(highlight=False, markup=False, width=TABLE_WIDTH).print(table)
    print(f"{len(shown)} of {len(runs)} runs below {runs_folder}")
    return 0


def parse_filters(args: list[str]) -> dict[str, str]:
    """key=value, as typed. Raises UserError for anything else."""
    for arg in args:
        if "=" not in arg or arg.startswith("-"):
            raise UserError(
                f"{arg} is not key=value: filter as in seqlab runs model=gpt_mini status=done sort=val/loss."
            )
    return dict(arg.split("=", 1) for arg in args)


def parse_limit(text: str) -> int:
    """A number of runs. Raises UserError."""
    if not text.isdigit() or int(text) < 1:
        raise UserError(f"limit={text} is not a number of runs: give 1 or more.")
    return int(text)


def sort_key(run: ListedRun, key: str) -> tuple[int, Any]:
    """Numbers by size, the best objective first; then text; then runs that have nothing there."""
    value = run.lookup(key)
    if value is None:
        return (-1 if key == "started" else 2, 0)  # what was never started is not the newest
    if isinstance(value, bool) or not isinstance(value, int | float):
        return (1, str(value))
    objective = run.info["objective"] or {}
    return (0, -value if key == objective.get("metric") and objective["mode"] == "max" else value)
