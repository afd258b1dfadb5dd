"""Every benchmark runs to its last line; what two of them prove is asserted, and no time is."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAST = {
    "corpus_memory --small 1 --large 2 --steps 2 --rounds 1": "more, round by round",
    "decoding --rounds 1 --tokens 8": "ratio, round by round",
    "devices --steps 2 --rounds 1": "ratio, round by round",
    "drafts --rounds 1 --tokens 20 --dtype float32": "the texts are the same",
    "exactness --steps 25 --rounds 1": "added, round by round",
    "gpt2_small --steps 1 --rounds 1": "ratio, round by round",
    "kills": "20 of 20 ended with bitwise the same weights",
    "lora --steps 1 --rounds 1": "ratio, round by round",
    "memory --steps 1 --rounds 1": "ratio, round by round",
    "server_memory --rounds 1": "answered, the others hung up",
    "serving --rounds 1": "16 of 16 texts are the same",
    "sine --rounds 1": "ratio, round by round",
    "sweep_kills": "10 of 10 tables equal that of the sweep left alone, with no process left",
    "sweeps --jobs 2 --rounds 1": "own cost of a job",
    "tokenizing --times 2 --rounds 1": "ratio, round by round",
}


def test_none_is_left_out() -> None:
    files = {file.stem for file in (ROOT / "benchmarks").glob("*.py")} - {"alternate", "seqlab_run"}
    assert files == {words.split()[0] for words in LAST}


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("words", LAST)
def test_a_benchmark_prints_its_table(words: str) -> None:
    name, *options = words.split()
    command = [sys.executable, "-m", f"benchmarks.{name}", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert LAST[words] in done.stdout.splitlines()[-1]
