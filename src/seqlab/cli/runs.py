"""The verb runs."""

import sys
from typing import Any

from seqlab.cli.overrides import get_override, get_runs_folder
from seqlab.cli.tables import format_cell, print_table
from seqlab.errors import UserError, did_you_mean
from seqlab.report.listing import ListedRun, check_key, filter_runs, find_runs
from seqlab.runs.folder import relative_to_cwd, short_id
from seqlab.runs.process import describe_status
from seqlab.streams import print_wrapped

COLUMNS = ("status", "model", "data", "seed")


def main(args: list[str]) -> int:
    """List the runs below paths.runs. Raises UserError for a key that no run has."""
    runs_folder, sort = get_runs_folder(args), get_override(args, "sort") or "started"
    limit = parse_limit(get_override(args, "limit") or "20")
    runs, errors = find_runs(runs_folder)
    for error in errors:
        print_wrapped(f"left out    {error}", sys.stderr)
    filters = parse_filters([arg for arg in args if arg.split("=")[0] not in ("sort", "limit", "paths.runs")])
    found = filter_runs(runs, filters, runs_folder)
    check_key(runs, sort, runs_folder)
    found.sort(key=lambda run: sort_key(run, sort))
    shown = found[-limit:] if sort == "started" else found[:limit]
    named = ["name"] if any(run.info["name"] for run in shown) else []
    metrics = {(run.info["objective"] or {}).get("metric") for run in shown}
    known = {"started", "steps", "name", *COLUMNS, *filters} | (metrics if len(metrics) == 1 else set())  # seen anyway
    extra = [*named, *({sort} - known)]
    if runs and not found:
        key, wanted = list(filters.items())[-1]
        there = sorted({str(run.lookup(key)) for run in runs})
        shown_filters = " ".join(f"{key}={value}" for key, value in filters.items())
        raise UserError(f"No run below {runs_folder} has {shown_filters}.{did_you_mean(wanted, there)}")
    print_runs(shown, extra)
    if filters.get("status") == "failed":
        for run in shown:
            print_wrapped(f"{relative_to_cwd(run.folder)}: {run.info['error']}")
    hint = "" if runs else ": train one with seqlab train, or name another folder with paths.runs=<folder>"
    print_wrapped(f"{len(shown)} of {len(runs)} runs below {runs_folder}{hint}")
    return 0


def print_runs(runs: list[ListedRun], extra: list[str]) -> None:
    """Print a row for each run: with its short id on a terminal, with its path in a file or a pipe."""
    name = short_id if sys.stdout.isatty() else relative_to_cwd
    rows = []
    for run in runs:
        best, metric = run.best_objective(), (run.info["objective"] or {}).get("metric")
        cells = [name(run.folder), describe_status(run.info), *(run.lookup(key) for key in (*COLUMNS[1:], *extra))]
        cells += [None if best is None else f"{metric} {format_cell(best)}", run.info["steps"]]
        rows.append([*map(format_cell, cells)])
    titles = ["run", *COLUMNS, *extra, "objective", "steps"]
    print_table(titles, rows, text_columns=len(titles), optional=("seed", "data", "steps", "status"))


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
