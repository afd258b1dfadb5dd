"""plan=true: what a command would run, without writing anything."""

from seqlab.cli.tables import print_table
from seqlab.errors import UserError
from seqlab.launch.create import ComposedRun
from seqlab.launch.plan import Plan, Planner
from seqlab.report.tables import shorten_keys
from seqlab.runs.settings import overrides_to_dict, varying_keys
from seqlab.streams import format_bytes, print_wrapped
from seqlab.sweeps.create import check_job

Planned = list[tuple[int, ComposedRun, Plan]]  # number of a job, the job, its sizes


def print_plan(jobs: list[ComposedRun]) -> int:
    """Print the jobs with the keys that differ, and their sizes; return 1 if one of them is refused."""
    sources = [check_job(job)[0] for job in jobs]  # all of them before any data are read
    planner, planned = Planner(), []
    for number, job in enumerate(jobs):
        if not job.error:
            try:
                planned.append((number, job, planner.plan_run(job, sources[number])))
            except UserError as error:
                job.error = str(error)
    if planned:
        print_plan_table(planned, [overrides_to_dict(job.overrides) for job in jobs])
    for number, job in enumerate(jobs):
        if job.error:
            print_wrapped(f"{f'{number:03d}' if len(jobs) > 1 else 'this'} is refused: {job.error}")
    if len(jobs) > 1:
        disk = format_bytes(sum(plan.disk for _, _, plan in planned))
        print_wrapped(
            f"{len(planned)} of {len(jobs)} jobs can run; together they keep {disk} of checkpoints; nothing was written"
        )
    return 1 if len(planned) < len(jobs) else 0


def print_plan_table(planned: Planned, overrides: list[dict[str, str]]) -> None:
    """Print a row for each job; `overrides` are those of all jobs, refused ones included."""
    keys, is_sweep = varying_keys(overrides), len(overrides) > 1
    devices = {plan.device for _, _, plan in planned}
    if len(devices) == 1:
        print_wrapped(f"device      {devices.pop()}")
    titles = [*([""] if is_sweep else []), *shorten_keys(keys), *(["device"] if devices else [])]
    titles += ["parameters", "steps", "tokens", "memory", "disk"]
    rows = []
    for number, _, plan in planned:
        trained = f" ({plan.trainable:,} trained)" if plan.trainable != plan.parameters else ""
        cells = [overrides[number].get(key, "") for key in keys] + ([plan.device] if devices else [])
        cells += [f"{plan.parameters:,}{trained}", f"{plan.steps:,}", "" if plan.tokens is None else f"{plan.tokens:,}"]
        cells += [format_bytes(plan.memory), format_bytes(plan.disk)]
        rows.append([*([f"{number:03d}"] if is_sweep else []), *cells])
    print_table(titles, rows, text_columns=len(keys) + 1 if is_sweep else 0)
