"""The same sweep by submitit, on this machine; its Slurm executor needs a cluster."""

import json
import os
import signal
from pathlib import Path

import pytest
import yaml
from tests.sweeps.test_sweeps import begun, command, only_sweep, records, states, statuses, wait_for

from seqlab.errors import UserError
from seqlab.sweeps.manifest import Job, Sweep
from seqlab.sweeps.slurm import SlurmLauncher

LOCAL = ["hydra/launcher=slurm", "hydra.launcher.cluster=local"]


def test_a_sweep_by_submitit_leaves_the_same(seqlab, tmp_path: Path) -> None:
    words = ["-m", "model=rnn,gru", "trainer.max_epochs=3", "device=cpu"]
    assert seqlab("train", *words, "paths.runs=own").status == 0
    answer = seqlab("train", *words, *LOCAL)
    assert answer.status == 0, answer.out + answer.err
    sweep = only_sweep(tmp_path)
    assert states(sweep) == statuses(sweep) == ["done"] * 2
    (own,) = tmp_path.glob("own/*/*/sweep.json")
    one, other = (
        [record["metrics"] for _, record in sorted(records(folder).items())] for folder in (own.parent, sweep)
    )
    assert one == other
    assert (sweep / "results.md").exists()


@pytest.mark.long
def test_ctrl_c_lets_submitted_jobs_save_and_they_go_on(seqlab, tmp_path: Path) -> None:
    sweep = command(
        "-m", "seed=1,2", "trainer.max_epochs=2000", "device=cpu", "hydra.launcher.jobs=1", *LOCAL, cwd=tmp_path
    )
    wait_for(lambda: begun(tmp_path))
    sweep.send_signal(signal.SIGINT)
    out, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 130, out
    folder = only_sweep(tmp_path)
    assert statuses(folder) == ["interrupted", "pending"]
    assert (folder / "000-seed_1" / "checkpoints" / "last.ckpt").exists()


@pytest.mark.long
def test_a_job_that_still_waits_is_not_submitted_again(seqlab, tmp_path: Path) -> None:
    words = ["-m", "seed=1,2", "trainer.max_epochs=400", "device=cpu", *LOCAL]
    sweep = command(*words, cwd=tmp_path)
    wait_for(lambda: len(list(tmp_path.glob("runs/*/*/submitit/*_submitted.pkl"))) == 2)
    wait_for(
        lambda: all(job["submitted"] for job in json.loads((only_sweep(tmp_path) / "sweep.json").read_text())["jobs"])
    )
    sweep.kill()
    sweep.wait()
    answer = seqlab("train", "sweep.resume=last")
    assert answer.status == 1
    assert "waits or runs on the cluster" in answer.err
    wait_for(lambda: statuses(only_sweep(tmp_path)) == ["done"] * 2, 120)
    wait_for(lambda: seqlab("train", "sweep.resume=last").status == 0)
    assert states(only_sweep(tmp_path)) == ["done"] * 2


@pytest.mark.long
def test_a_job_that_was_killed_is_failed(tmp_path: Path) -> None:
    sweep = command("-m", "seed=1", "trainer.max_epochs=100000", "device=cpu", *LOCAL, cwd=tmp_path)
    wait_for(lambda: begun(tmp_path))
    os.kill(records(only_sweep(tmp_path))[0]["process"]["pid"], signal.SIGKILL)
    out, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 1, out
    assert statuses(only_sweep(tmp_path)) == ["failed"]
    assert "on the cluster" in records(only_sweep(tmp_path))[0]["error"]


SBATCH = """#!/bin/sh
cat "$1" >> scripts
echo "Submitted batch job $(grep -c ntasks scripts)"
"""
SACCT = """#!/bin/sh
echo 'JobID|State|NodeList'
for job in 1 2; do echo "$job|FAILED|node$job"; done
"""


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["device=cuda"], ["--gpus-per-node=1", "--ntasks-per-node=1", "--partition=gpus", "--time=90"]),
        (["device=ddp", "trainer.accelerator=cuda", "trainer.devices=2"], ["--gpus-per-node=2", "--ntasks-per-node=2"]),
    ],
)
def test_gpus_that_the_submitting_machine_lacks_are_asked_for(
    words: list[str], asked: list[str], seqlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, script in {"sbatch": SBATCH, "srun": "#!/bin/sh", "sacct": SACCT}.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(script)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    launcher = ["hydra/launcher=slurm", "hydra.launcher.partition=gpus", "hydra.launcher.timeout_minutes=90"]
    assert seqlab("train", "-m", "seed=1,2", *words, *launcher).status == 1
    sweep = only_sweep(tmp_path)
    script = (tmp_path / "scripts").read_text()
    for option in asked:
        assert script.count(f"#SBATCH {option}\n") == 2, script
    for record in records(sweep).values():
        assert "ended as FAILED on the cluster" in record["error"]
    assert yaml.safe_load((sweep / "000-seed_1" / "config.yaml").read_text())["trainer"]["accelerator"] == "cuda"


def test_source_that_is_edited_is_refused_on_a_cluster_too(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, "", [], "", {}, {"/nowhere.py": "0"}, "")
    with pytest.raises(UserError, match="was edited since the sweep started"):
        SlurmLauncher(1).start_job(sweep, Job(0, "000", []))


def test_without_slurm_the_cluster_is_not_there(seqlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    answer = seqlab("train", "-m", "seed=1,2", "trainer.max_epochs=1", "device=cpu", "hydra/launcher=slurm")
    assert answer.status == 1
    assert "The cluster (slurm) refused the job" in answer.out
    assert statuses(only_sweep(tmp_path)) == ["failed"] * 2
