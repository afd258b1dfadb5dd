"""What keeping freed memory saves in a step of GPT-2 small on a CPU: python -m benchmarks.memory

`seqlab.device.prepare` tells glibc to keep what it is given back. Each contender is a process of its own that makes the
same steps (fp32, batch 2 of 256 tokens, fused AdamW). Seconds per step, of the steps after the first.
"""

import argparse
import subprocess
import sys
import time

import torch
from benchmarks.alternate import alternate, machine
from torch.nn import functional as F

from seqlab import device
from seqlab.models.gpt import GPT


def steps(count: int) -> float:
    """Seconds per step of a bare PyTorch loop."""
    model = GPT(50257, 256, dropout=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    tokens = torch.randint(50257, (2, 257))
    for number in range(count + 1):
        if number == 1:
            start = time.perf_counter()
        loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - start) / count


def main() -> None:
    """Alternate both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--process", choices=["kept", "given back"])
    options = parser.parse_args()
    if options.process:
        if options.process == "kept":
            device.setup_process(None)
        print(steps(options.steps))
        return

    def contender(name: str) -> float:
        words = [sys.executable, "-m", "benchmarks.memory", "--process", name, "--steps", str(options.steps)]
        return float(subprocess.run(words, capture_output=True, text=True, check=True).stdout)

    print(f"GPT-2 small, a step of 2 x 256 tokens; {machine()}")
    names = ("kept", "given back")
    alternate({name: lambda name=name: contender(name) for name in names}, options.rounds, "s/step")


if __name__ == "__main__":
    main()
