"""plan=true: what a command would run, without writing anything."""

from rich.console import Console
from rich.table import Table

from seqlab.errors import UserError
from seqlab.launch.create import ComposedRun
from seqlab.launch.plan import Plan, Planner
from seqlab.report.rows import overrides_to_dict, varying_keys
from seqlab.report.tables import TABLE_WIDTH, shorten_keys
from seqlab.sweeps.create import check_job

SIZE_UNITS = ("B", "kB", "MB", "GB", "TB")


def show_plan(jobs: list[ComposedRun]) -> int:
    """Print the jobs with the keys that differ, and their sizes; exit status 1 where one of them is refused."""
    bases = [check_job(job)[0] for job in jobs]  # all of them before any data are read
    planner, plans = Planner(), []
    for number, job in enumerate(jobs):
        if not job.error:
            try:
                plans.append((number, job, planner.plan_run(job, bases[number])))
            except UserError as mistake:
                job.error = str(mistake)
    if plans:
        print_plan_table(plans, [overrides_to_dict(job.overrides) for job in jobs])
    for number, job in enumerate(jobs):
        if job.error:
            print(f"{number:03d} is refused: {job.error}")
    if len(jobs) > 1:
        disk = format_bytes(sum(plan.disk for _, _, plan in plans))
        print(
            f"{len(plans)} of {len(jobs)} jobs can run; together they keep {disk} of checkpoints; nothing was written"
        )
    return 1 if len(plans) < len(jobs) else 0


def print_plan_table(plans: list[tuple[int, ComposedRun, Plan]], words: list[dict[str, str]]) -> None:
    """A row a job, of all whose words these are."""
    keys, jobs = varying_keys(words), len(words)
    devices = {plan.device for _, _, plan in plans}
    console = Console(highlight=False, markup=False, width=TABLE_WIDTH)
    if len(devices) == 1:
        console.print(f"device      {devices.pop()}")
    table = Table(box=None, pad_edge=False)
    titles = [
        *shorten_keys(keys),
        *(["device"] if devices else []),
        "parameters",
        "steps",
        "tokens",
        "memory",
        "disk",
    ]
    for number, title in enumerate(["", *titles] if jobs > 1 else titles):
        table.add_column(title, justify="left" if number <= len(keys) and jobs > 1 else "right")
    for number, _, plan in plans:
        trained = f" ({plan.trainable:,} trained)" if plan.trainable != plan.parameters else ""
        cells = [words[number].get(key, "") for key in keys] + ([plan.device] if devices else [])
        cells += [f"{plan.parameters:,}{trained}", f"{plan.steps:,}", "" if plan.tokens is None else f"{plan.tokens:,}"]
        cells += [format_bytes(plan.memory), format_bytes(plan.disk)]
        table.add_row(*([f"{number:03d}"] if jobs > 1 else []), *cells)
    console.print(table)


def format_bytes(size: float) -> str:
    """Bytes in a unit that fits."""
    for unit in SIZE_UNITS:
        if size < 1000 or unit == SIZE_UNITS[-1]:
            break
        size /= 1000
    return f"{size:.0f} {unit}" if size >= 100 or unit == "B" else f"{size:.1f} {unit}"
