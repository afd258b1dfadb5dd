"""A run that is killed at random moments and resumed comes to the same end."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_twenty_kills_change_no_bit() -> None:
    done = subprocess.run([sys.executable, "-m", "benchmarks.kills"], cwd=ROOT, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 of 20 ended with bitwise the same weights" in done.stdout
