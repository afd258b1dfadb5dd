"""A sweep whose jobs fail in every way, and then exactly these again."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ZOO = """# rnn, lstm, gru on the sine and gpt_mini on text: seqlab train -m sweep=zoo
defaults: [none, _self_]
blocks:
  - {model: "rnn,lstm,gru", data: sine, trainer.max_epochs: 20}
  - {model: gpt_mini, model.n_layer: 1, model.n_embd: 16, model.n_head: 2, data: text, data.path: story.txt,
     data.context_length: 16, tokenizer: char, trainer.max_epochs: 1, threads: 1}
seeds: 6
"""
FAILING = {3: "raise", 7: "nan", 13: "kill", 16: "slow"}


def command(folder: Path, *words: str) -> subprocess.CompletedProcess:
    """A command in a folder."""
    words = (sys.executable, "-m", "seqlab", "train", *words, "allow=[trouble]")
    return subprocess.run(words, cwd=folder, capture_output=True, text=True)


@pytest.mark.long
def test_of_24_jobs_4_fail_and_then_exactly_these_run_again(tmp_path: Path, story: Path) -> None:
    shutil.copy(ROOT / "tests" / "sweeps" / "trouble.py", tmp_path)
    for number, kind in FAILING.items():
        file = tmp_path / "trouble" / f"{number:03d}"
        file.parent.mkdir(exist_ok=True)
        file.write_text(kind)
    zoo = tmp_path / "mine" / "sweep" / "zoo.yaml"
    zoo.parent.mkdir(parents=True)
    zoo.write_text(ZOO)
    callback = "+callbacks.trouble={_target_:trouble.Trouble,_partial_:true,folder:trouble}"
    limit = "hydra.launcher.timeout_minutes=0.2"
    done = command(tmp_path, "-m", "sweep=zoo", "--config-dir", "mine", "device=cpu", callback, limit)
    print(done.stdout)
    assert done.returncode == 1, done.stderr
    assert "20 of 24 runs done" in done.stdout
    (sweep,) = tmp_path.glob("runs/*/*-sweep-zoo")

    def records() -> dict[int, dict]:
        return {int(file.parent.name[:3]): json.loads(file.read_text()) for file in sweep.glob("*/run.json")}

    first = records()
    assert {number for number, record in first.items() if record["status"] == "failed"} == set(FAILING)
    assert {number for number, record in first.items() if record["status"] == "done"} == set(range(24)) - set(FAILING)
    assert first[3]["error"] == "RuntimeError: the roof is on fire"
    assert "loss became nan" in first[7]["error"]
    assert "SIGKILL" in first[13]["error"]
    assert "took longer than" in first[16]["error"]

    shutil.rmtree(tmp_path / "trouble")
    done = command(tmp_path, "sweep.resume=last", "hydra.launcher.timeout_minutes=10")
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    again = records()
    assert {number for number, record in again.items() if record != first[number]} == set(FAILING)
    assert all(record["status"] == "done" for record in again.values())
    assert "24 of 24 runs done" in done.stdout
