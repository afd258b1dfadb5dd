"""Memory of training on a small and on a large corpus: python -m benchmarks.corpus_memory

A process each trains the same small GPT on bytes, from shards that `seqlab tokenize` has written before. What is compared
is the most anonymous memory (RssAnon) that the process has held: pages of mapped shards are the system's to take back.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from benchmarks.alternate import alternate, machine

WORDS = "data=text tokenizer=byte model=gpt_mini data.context_length=256 callbacks.samples=null device=cpu threads=1".split()
BLOCK = 1 << 20


def write_text(file: Path, tokens: int) -> None:
    """Random words of so many bytes, each a token."""
    random = np.random.default_rng(0)
    words = [bytes(random.choice(list(b"abcdefghij"), size)).decode() for size in random.integers(2, 9, 1000)]
    with open(file, "w", encoding="ascii") as out:
        for start in range(0, tokens, BLOCK):
            text = " ".join(random.choice(words, BLOCK // 4))
            out.write(text[: min(BLOCK, tokens - start) - 1] + "\n")


def seqlab(verb: str, file: Path, *words: str) -> subprocess.Popen:
    """Start a command."""
    command = [
        sys.executable,
        "-m",
        "seqlab",
        verb,
        *WORDS,
        f"data.path={file}",
        f"paths.runs={file.parent / 'runs'}",
        *words,
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def measure_training(file: Path, steps: int) -> float:
    """The most anonymous memory of a training, in millions of bytes."""
    process = seqlab("train", file, f"trainer.max_steps={steps}", "trainer.limit_val_batches=10")
    most, status = 0, Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        if found := re.search(r"RssAnon:\s+(\d+) kB", status.read_text()):
            most = max(most, int(found[1]))
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"training ended with status {process.returncode}")
    return most * 1024 / 1e6


def main() -> None:
    """Print the table; the ratio is that of memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=float, default=20, help="millions of bytes of tokens, two bytes each")
    parser.add_argument("--large", type=float, default=2000)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{' '.join(WORDS)}, {options.steps} steps; {machine()}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SEQLAB_CACHE"] = f"{folder}/cache"
        contenders = {}
        for size in (options.large, options.small):
            file = Path(folder, f"{size:g}.txt")
            write_text(file, int(size * 1e6 / 2))
            start = time.perf_counter()
            if seqlab("tokenize", file).wait():
                raise SystemExit("tokenizing failed")
            print(f"{size:g} MB of tokens, encoded in {time.perf_counter() - start:.1f} s")
            contenders[f"{size:g} MB of tokens"] = lambda file=file: measure_training(file, options.steps)
        figures = list(alternate(contenders, options.rounds, "MB").values())
        more = sorted(large - small for large, small in zip(*figures, strict=True))
        print(f"  {'more, round by round':<28} {more[len(more) // 2]:9.1f} MB   [{more[0]:.1f}, {more[-1]:.1f}]")


if __name__ == "__main__":
    main()
