"""What a launcher costs: python -m benchmarks.sweeps

The same sweep of short jobs by seqlab's own launcher, two jobs at a time on two cores, and by Hydra's basic one, in turn. The
own cost of a job is what lies between the ends of jobs and the starts of the next ones, shared among the jobs at once; what
comes before the first one is in the total.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.alternate import alternate, machine

BASIC = ["hydra/launcher=basic", "hydra/sweeper=basic"]
JOB = "model=lstm data=sine device=cpu threads=1".split()


def seqlab(words: list[str]) -> float:
    """Seconds that a command takes."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "seqlab", "train", *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def trained(runs: str) -> list[tuple[float, float]]:
    """When each run below a folder began and ended, in seconds."""
    records = [json.loads(file.read_text()) for file in Path(runs).glob("**/run.json")]
    stamp = datetime.datetime.fromisoformat
    return sorted((stamp(r["started"]).timestamp(), stamp(r["ended"]).timestamp()) for r in records)


def epochs_of_a_second() -> int:
    """The epochs that a run trains in a second on this machine, the start of the run included."""
    seqlab([*JOB, "trainer.max_epochs=200", "paths.runs=calibration"])
    ((start, end),) = trained("calibration")
    return max(1, round(200 / (end - start)))


def own_cost(runs: str, at_once: int) -> float:
    """Seconds a job that are not its own."""
    times = trained(runs)
    whole = max(end for _, end in times) - times[0][0]
    return whole * at_once / len(times) - statistics.fmean(end - start for start, end in times)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.chdir(tempfile.mkdtemp())
    epochs = epochs_of_a_second()
    seeds = ",".join(map(str, range(options.jobs)))
    words = ["-m", *JOB, f"seed={seeds}", f"trainer.max_epochs={epochs}"]
    costs: list[float] = []

    def own() -> float:
        runs = tempfile.mkdtemp(prefix="own-", dir=".")
        seconds = seqlab([*words, f"paths.runs={runs}", "hydra.launcher.jobs=2"])
        costs.append(own_cost(runs, 2))
        return seconds

    def basic() -> float:
        return seqlab([*words, f"paths.runs={tempfile.mkdtemp(prefix='basic-', dir='.')}", *BASIC])

    print(f"{machine()}; {options.jobs} jobs of {epochs} epochs")
    alternate({"seqlab": own, "Hydra's basic launcher": basic}, options.rounds, "s")
    print(f"own cost of a job: {statistics.median(costs):.3f} s [{min(costs):.3f}, {max(costs):.3f}]")


if __name__ == "__main__":
    main()
