"""A sweep on this machine: all jobs are frozen first, then each runs in a process of its own, one after another."""

import multiprocessing
import re
import subprocess
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from seqlab import freeze
from seqlab.freeze import Composed
from seqlab.mistakes import Interrupted, exit_status
from seqlab.runs import folder as runs
from seqlab.start import command, several, start
from seqlab.tracking.terminal import short


def write_all(jobs: list[Composed]) -> int:
    """Write the run folders of a sweep and start none."""
    sweep, folders = frozen(jobs)
    print(f"{len(folders)} runs written to {short(sweep)}; start each with: python -m seqlab.start <run folder>")
    return 0


def frozen(jobs: list[Composed]) -> tuple[Path, list[Path]]:
    """Check all jobs, then make the folder of the sweep and those of its runs."""
    checked = [freeze.check(job) for job in jobs]
    for line in dict.fromkeys(taken for _, taken in checked if taken):
        print(line)
    first = jobs[0]
    names = [first.choices.get(group, "none") for group in ("sweep", "experiment")]
    name = next((name for name in names if name != "none"), "multirun")
    sweep = runs.dated(Path(first.config["paths"]["runs"]), f"sweep-{name}")
    folders = []
    for number, (job, (base, _), difference) in enumerate(zip(jobs, checked, differences(jobs), strict=True)):
        folder = runs.make(sweep, f"{number:03d}-{difference}")
        freeze.write(job, folder, base)
        folders.append(folder)
    return sweep, folders


def run_all(jobs: list[Composed]) -> int:
    """Run a sweep's jobs; how many did not end well. A failed job is recorded in its folder and stops nothing.

    The processes are forked from a server that has imported torch and Lightning once, and has done nothing else.
    """
    sweep, folders = frozen(jobs)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["seqlab.train"])
    failed = []
    for number, folder in enumerate(folders, 1):
        print(f"\n[{number}/{len(folders)}] {folder.name}", flush=True)
        status = run_one(folder, context)
        if status == 130:
            raise Interrupted(f"The sweep {sweep} was stopped in {folder.name}; go on with resume={folder}.")
        if status:
            failed.append(folder)
    show(folders)
    print(f"{len(folders) - len(failed)} of {len(folders)} runs done in {short(sweep)}")
    return len(failed)


def show(folders: list[Path]) -> None:
    """A table of the runs, the best objective first."""
    records = [(folder.name, runs.read_record(folder)) for folder in folders]
    metric, mode = records[0][1]["objective"]["metric"], records[0][1]["objective"]["mode"]
    tests = sorted(
        {name for _, record in records for name in record["metrics"]["last"] if name in ("test/loss", "test/mse")}
    )[-1:]
    worst = float("inf") if mode == "min" else float("-inf")
    records.sort(key=lambda pair: pair[1]["metrics"]["best"].get(metric, worst), reverse=mode == "max")
    table = Table(box=None, pad_edge=False)
    for title in ("run", "status", f"best {metric}", *tests):
        table.add_column(title, justify="left" if title in ("run", "status") else "right")
    for name, record in records:
        numbers = [record["metrics"]["best"].get(metric), *(record["metrics"]["last"].get(test) for test in tests)]
        table.add_row(name, record["status"], *(f"{number:.5g}" if number is not None else "" for number in numbers))
    console = Console(highlight=False, soft_wrap=True)
    console.print()
    console.print(table)


def run_one(folder: Path, context: ForkServerContext) -> int | None:
    """Run one job in a process of its own, which is never forked where it starts others; its exit status."""
    if several(runs.read_config(folder)):
        started = subprocess.Popen(command(folder))
        patiently(started.wait)
        return started.returncode
    process = context.Process(target=job_process, args=(folder,))
    process.start()
    patiently(process.join)
    return process.exitcode


def patiently(wait: Callable[[], Any]) -> None:
    """Wait for a job; on Ctrl-C as well, since the job was told too, and saves."""
    try:
        wait()
    except KeyboardInterrupt:
        wait()


def job_process(folder: Path) -> None:
    """One job, in its own process."""
    raise SystemExit(exit_status(lambda: start(folder)))


def differences(jobs: list[Composed]) -> list[str]:
    """What differs among the jobs' overrides, in the form `lr_1e-3-seed_1`."""
    words = [dict(word.split("=", 1) for word in job.overrides if "=" in word) for job in jobs]
    keys = [key for key in words[0] if len({word.get(key) for word in words}) > 1] or list(words[0])
    return ["-".join(f"{key.rsplit('.', 1)[-1]}_{plain(word.get(key, ''))}" for key in keys) or "run" for word in words]


def plain(value: str) -> str:
    """A value in letters that a folder's name may have."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", value).strip("-")
