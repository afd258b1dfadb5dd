"""Kill a GPT run at random moments and go on: python -m benchmarks.kills

Every run writes a checkpoint after each step, is killed by SIGKILL at a moment drawn from the time that its training
takes, and is resumed with resume=last. Exit status 0 where every checkpoint was whole and all runs ended with bitwise the
same weights as the one that was left alone.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from seqlab.runs import checkpoints
from seqlab.runs.run_info import read_run_info

WORDS = (
    "train model=gpt_mini model.dropout=0.1 data=text data.path=text.txt data.context_length=64 tokenizer=char device=cpu "
    "threads=1 callbacks.samples=null callbacks.checkpoint.every_n_steps=1"
).split()


def seqlab(*words: str) -> subprocess.Popen:
    """A command, in a process group of its own."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-m", "seqlab", *words], start_new_session=True, **quiet)


def train(runs: str, steps: int) -> tuple[subprocess.Popen, Path]:
    """Start a run; it, and its folder once it trains."""
    process = seqlab(*WORDS, f"trainer.max_steps={steps}", f"paths.runs={runs}")
    while not (begun := list(Path(runs).glob("*/*/events*"))):
        assert process.poll() is None, "the run did not start"
        time.sleep(0.005)
    return process, begun[0].parent


def weights(run: Path) -> dict[str, torch.Tensor]:
    """The last weights."""
    return checkpoints.load_checkpoint(run / "checkpoints" / checkpoints.LAST)["state_dict"]


def killed(number: int, steps: int, seconds: float) -> tuple[str, dict[str, torch.Tensor]]:
    """Kill a run somewhere and resume it: a row of the table, and the weights at the end."""
    done = True
    while done:  # a run that was at its end before its moment came was not killed: again, at another moment
        runs = tempfile.mkdtemp(prefix=f"runs-{number}-", dir=".")
        process, run = train(runs, steps)
        moment = random.uniform(0, 0.95 * seconds)
        time.sleep(moment)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        done = read_run_info(run)["status"] == "done"
    writing = "yes" if list(run.glob("checkpoints/.*.seqlab")) else ""
    found = checkpoints.latest_checkpoint(run)
    whole = all(checkpoints.checksum_ok(path) for path in run.glob("checkpoints/*.ckpt"))
    step = checkpoints.load_checkpoint(found)["global_step"] if found else 0
    status = seqlab("train", "resume=last", f"paths.runs={runs}").wait()
    left = f"step {step:>3}{'' if whole else ', DAMAGED'}"
    return f"{number:>4}  {moment:7.2f} s  {writing:<8} {left:<12} {'done' if not status else 'FAILED':<7}", weights(
        run
    )


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seed", type=int, help="of the moments")
    options = parser.parse_args()
    random.seed(options.seed)
    os.chdir(tempfile.mkdtemp())
    Path("text.txt").write_text("".join(f"The mill has ground {number} sacks of flour.\n" for number in range(400)))
    process, alone = train("runs-alone", options.steps)
    start = time.perf_counter()
    assert process.wait() == 0
    seconds = time.perf_counter() - start
    expected = weights(alone)
    size = (alone / "checkpoints" / checkpoints.LAST).stat().st_size
    print(f"left alone: {options.steps} steps in {seconds:.1f} s, each with a checkpoint of {size:,} bytes")
    print("kill   after      writing  found        resumed  weights")
    bad = 0
    for number in range(1, options.kills + 1):
        row, found = killed(number, options.steps, seconds)
        equal = expected.keys() == found.keys() and all(torch.equal(expected[name], found[name]) for name in expected)
        bad += not equal or "DAMAGED" in row or "FAILED" in row
        print(f"{row} {'equal' if equal else 'DIFFERENT'}", flush=True)
    print(f"{options.kills - bad} of {options.kills} ended with bitwise the same weights")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
