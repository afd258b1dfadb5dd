"""Kill a sweep at random moments and go on: python -m benchmarks.sweep_kills

Each round begins the same sweep, kills its process by SIGKILL at a moment drawn from the time that it takes, looks for processes
that were left, and resumes it. Exit status 0 where every table equals that of the sweep left alone, and nothing was left.
"""

import argparse
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = "train -m model=rnn,lstm,gru model.hidden_size=8,16 sweep.seeds=2 trainer.max_epochs=40 device=cpu".split()
TIMES = ("seconds",)  # columns that no two sweeps have in common
PATIENCE = 10.0  # seconds: a fork server notices the end only once it has imported
MARK = "SEQLAB_BENCHMARK_ROUND"  # in the environment of all processes of a round


def seqlab(words: list[str], mark: str) -> subprocess.Popen:
    """A command, in a process group of its own."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = [sys.executable, "-m", "seqlab", *words]
    return subprocess.Popen(command, start_new_session=True, env=os.environ | {MARK: mark}, **quiet)


def begun(runs: str) -> Path:
    """The sweep's folder, once there is one."""
    while not (found := list(Path(runs).glob("*/*/sweep.json"))):
        time.sleep(0.005)
    return found[0].parent


def left(mark: str) -> list[int]:
    """The processes of a round that are there, zombies aside."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            marked = f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0")
            zombie = (folder / "stat").read_text().rpartition(") ")[2].startswith("Z")
        except OSError:
            continue
        if marked and not zombie:
            found.append(int(folder.name))
    return found


def table(sweep: Path) -> list[dict[str, str]]:
    """results.csv by run, without times."""
    with open(sweep / "results.csv", newline="") as file:
        rows = [{key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(file)]
    return sorted(rows, key=lambda row: row["run"])


def killed(number: int, seconds: float, expected: list[dict[str, str]]) -> tuple[bool, str]:
    """A round: whether it is as it should be, and its line of the table."""
    runs, mark = f"runs-{number}", f"{os.getpid()}-{number}"
    process = seqlab([*WORDS, f"paths.runs={runs}"], mark)
    sweep = begun(runs)
    moment = random.uniform(0, 0.95 * seconds)
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len([1 for file in sweep.glob("*/run.json") if '"status": "done"' in file.read_text()])
    deadline = time.monotonic() + PATIENCE
    while (orphans := left(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    gone = PATIENCE - (deadline - time.monotonic())
    status = seqlab(["train", "sweep.resume=last", f"paths.runs={runs}"], mark).wait()
    equal = (sweep / "results.csv").exists() and table(sweep) == expected
    line = f"{number:>5} {moment:7.2f} s  {done:>4} done  {f'{len(orphans)} LEFT' if orphans else f'none after {gone:.2f} s':<18}"
    return (
        equal and not orphans and not status,
        f"{line} {'done' if not status else 'FAILED':<8} {'equal' if equal else 'DIFFERENT'}",
    )


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, help="of the moments")
    options = parser.parse_args()
    random.seed(options.seed)
    os.chdir(tempfile.mkdtemp())
    process = seqlab([*WORDS, "paths.runs=runs-alone"], "alone")
    alone = begun("runs-alone")
    start = time.perf_counter()
    assert process.wait() == 0
    seconds = time.perf_counter() - start
    expected = table(alone)
    print(f"left alone: {len(expected)} jobs in {seconds:.1f} s")
    print("round  killed at     finished  processes left     resumed  table")
    good = 0
    for number in range(1, options.kills + 1):
        fine, line = killed(number, seconds, expected)
        good += fine
        print(line, flush=True)
    print(f"{good} of {options.kills} tables equal that of the sweep left alone, with no process left")
    return 0 if good == options.kills else 1


if __name__ == "__main__":
    sys.exit(main())
