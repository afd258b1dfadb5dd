"""The wheel in an environment of its own, and the tour."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from conftest import CORES

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
ROOT = Path(__file__).parents[2]


def test_a_wheel_trains_outside_the_checkout(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("seqlab-*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel]
    subprocess.run(install, check=True, capture_output=True)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    words = [tmp_path / "venv" / "bin" / "seqlab", "train", "model=gru", "device=cpu"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    (run,) = tmp_path.glob("runs/*/*")
    said = json.loads((run / "run.json").read_text())
    assert said["status"] == "done"
    assert said["git"] is None
    assert said["metrics"]["best"]["test/mse"] < 0.02

    def sweep(*more: str) -> subprocess.CompletedProcess:
        short = ["train", "-m", "model=rnn,gru", "trainer.max_epochs=2", "device=cpu", *more]
        return subprocess.run([words[0], *short], cwd=tmp_path, capture_output=True, text=True, env=environment)

    done = sweep()  # Hydra finds the plugins there too
    assert done.returncode == 0, done.stderr
    assert "2 of 2 runs done" in done.stdout
    for missing, extra in (("sweep.sampler=tpe", "sweep"), ("hydra/launcher=slurm", "slurm")):
        done = sweep(missing)
        assert done.returncode == 1
        assert f"pip install 'seqlab[{extra}]'" in done.stderr
        assert "Traceback" not in done.stderr
    assert len(list(tmp_path.glob("runs/*/*-sweep-*"))) == 1


def test_the_tour(tmp_path: Path) -> None:
    environment = os.environ | {
        "RUNS": str(tmp_path / "runs"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SEQLAB_CACHE": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": str(CORES),
    }
    words = ["bash", "experiments/tour/run.sh"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    records = [json.loads(file.read_text()) for file in (tmp_path / "runs").rglob("run.json")]
    assert {said["status"] for said in records} == {"done"}
    assert "tensorboard --logdir" in done.stdout
