"""A sweep on this machine: all jobs are frozen first, then each runs in a process of its own, one after another."""

import multiprocessing
import re
from pathlib import Path

from seqlab import freeze
from seqlab.freeze import Composed
from seqlab.mistakes import exit_status
from seqlab.runs import folder as runs
from seqlab.start import start


def run_all(jobs: list[Composed]) -> int:
    """Run a sweep's jobs; how many did not end well. A failed job is recorded in its folder and stops nothing.

    The processes are forked from a server that has imported torch and Lightning once, and has done nothing else.
    """
    bases = [freeze.check(job) for job in jobs]
    first = jobs[0]
    names = [first.choices.get(group, "none") for group in ("sweep", "experiment")]
    name = next((name for name in names if name != "none"), "multirun")
    sweep = runs.dated(Path(first.config["paths"]["runs"]), f"sweep-{name}")
    folders = []
    for number, (job, base, difference) in enumerate(zip(jobs, bases, differences(jobs), strict=True)):
        folder = runs.make(sweep, f"{number:03d}-{difference}")
        freeze.write(job, folder, base)
        folders.append(folder)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["seqlab.train"])
    failed = []
    for number, folder in enumerate(folders, 1):
        print(f"\n[{number}/{len(folders)}] {folder.name}", flush=True)
        process = context.Process(target=job_process, args=(folder,))
        process.start()
        process.join()
        if process.exitcode == 130:
            raise KeyboardInterrupt
        if process.exitcode:
            failed.append(folder)
    print(f"\n{len(folders) - len(failed)} of {len(folders)} runs done in {sweep}")
    if failed:
        print("failed: " + ", ".join(folder.name for folder in failed))
    return len(failed)


def job_process(folder: Path) -> None:
    """One job, in its own process."""
    raise SystemExit(exit_status(lambda: start(folder, in_sweep=True) and None))


def differences(jobs: list[Composed]) -> list[str]:
    """What differs among the jobs' overrides, in the form `lr_1e-3-seed_1`."""
    words = [dict(word.split("=", 1) for word in job.overrides if "=" in word) for job in jobs]
    keys = [key for key in words[0] if len({word.get(key) for word in words}) > 1] or list(words[0])
    return ["-".join(f"{key.rsplit('.', 1)[-1]}_{plain(word.get(key, ''))}" for key in keys) or "run" for word in words]


def plain(value: str) -> str:
    """A value in letters that a folder's name may have."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", value).strip("-")
