"""What `device=auto` takes against what is fixed: python -m benchmarks.devices

Step times of small and larger GPTs with one thread and with all; then whole commands with `device=auto` and `device=cpu` in turn,
on the machine as it is, and with a process on each core that keeps it busy.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from benchmarks.alternate import alternate, machine
from torch.nn.functional import cross_entropy

from seqlab.models.gpt import GPT

TEXT = "data=text data.path=text.txt tokenizer=byte model=gpt_mini callbacks.samples=null seed=1".split()


def steps_with(threads: int, model: GPT, tokens: torch.Tensor, steps: int) -> Callable[[], float]:
    """A contender: milliseconds of a step with so many threads."""

    def run() -> float:
        torch.set_num_threads(threads)
        start = time.perf_counter()
        for _ in range(steps):
            cross_entropy(model(tokens).flatten(0, 1), tokens.flatten()).backward()
        return (time.perf_counter() - start) / steps * 1e3

    return run


def train(device: str, steps: int) -> float:
    """Seconds of a whole command."""
    words = [*TEXT, f"device={device}", f"trainer.max_steps={steps}", f"paths.runs={tempfile.mkdtemp(dir='.')}"]
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "seqlab", "train", *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def burn() -> None:
    """Keep a core busy."""
    while True:
        pass


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    print(machine())
    for rows, length, width in ((1, 64, 16), (2, 64, 64), (2, 256, 128), (8, 256, 128)):
        model = GPT(vocab_size=257, context_length=256, n_layer=4, n_head=4, n_embd=width)
        tokens = torch.randint(257, (rows, length))
        print(
            f"a step of {rows} x {length} tokens, 4 layers of width {width}: {rows * length * width:,} activations of a layer"
        )
        steps = max(1, options.steps // 10)
        contenders = {f"{n} thread(s)": steps_with(n, model, tokens, steps) for n in (1, cores)}
        alternate(contenders, options.rounds, "ms")
    torch.set_num_threads(cores)
    os.chdir(tempfile.mkdtemp())
    Path("text.txt").write_text("One note a day keeps the deadline away; two make it a habit.\n" * 1000)
    for burners in (0, cores):
        print(f"seqlab train {' '.join(TEXT)} trainer.max_steps={options.steps}, beside {burners} busy processes")
        busy = [multiprocessing.Process(target=burn, daemon=True) for _ in range(burners)]
        for process in busy:
            process.start()
        contenders = {f"device={name}": lambda name=name: train(name, options.steps) for name in ("auto", "cpu")}
        alternate(contenders, options.rounds, "s")
        for process in busy:
            process.kill()


if __name__ == "__main__":
    main()
