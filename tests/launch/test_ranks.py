"""Data parallel on this machine's processor: one run folder, one log, the same numbers, and no rank dies unheard."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conftest import STORY, in_group
from seqlab.runs.process import process_exists

DATA = "data=text data.path=story.txt tokenizer=char data.context_length=16 data.batch_size=24 data.val_fraction=0.2"
MODEL = "model=gpt_mini model.n_layer=1 model.n_head=2 model.n_embd=16 threads=1 trainer.log_every_n_steps=1"
WORDS = [*DATA.split(), *MODEL.split()]
TWO = ["device=ddp", "trainer.devices=2", "trainer.accelerator=cpu"]


def started(folder: Path, *words: str) -> subprocess.Popen:
    """A command, running in a process group of its own."""
    environment = os.environ | {"PYTHONPATH": str(folder)}
    words = (sys.executable, "-m", "seqlab", *words)
    return in_group(words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def done(folder: Path, *words: str, status: int = 0) -> tuple[str, str]:
    """What a command printed, once it has ended with this status."""
    process = started(folder, *words)
    out, err = process.communicate(timeout=120)
    assert process.returncode == status, err
    return out, err


def record(run: Path) -> dict:
    """run.json."""
    return json.loads((run / "run.json").read_text())


def only_run(folder: Path, runs: str = "runs") -> Path:
    """The one run below a folder."""
    (run,) = folder.glob(f"{runs}/*/*")
    return run


def losses(run: Path, tag: str = "loss/train_step") -> list[tuple[int, float]]:
    """A curve as TensorBoard shows it."""
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def weights(run: Path) -> dict[str, torch.Tensor]:
    """The last weights."""
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def names(run: Path) -> set[str]:
    """What a run leaves behind, whatever process wrote it."""
    return {str(path.relative_to(run)).split(".tfevents")[0] for path in run.rglob("*")}


def test_two_processes_look_and_count_like_one(story: Path, tmp_path: Path) -> None:
    words = ["train", *WORDS, "model.dropout=0", "trainer.max_epochs=2", "data.batch_size=25"]  # 25: unequal shares
    done(tmp_path, *words, "device=cpu", "paths.runs=one")
    out, err = done(tmp_path, *words, *TWO, "paths.runs=two")
    one, two = only_run(tmp_path, "one"), only_run(tmp_path, "two")
    assert "device=ddp: 2 x cpu in 32-true" in out
    assert (out.count("parameters"), err) == (1, "")
    assert names(one) == names(two)
    alone, together = record(one), record(two)
    assert alone.keys() == together.keys()
    for key in ("status", "parameters", "steps", "tokens", "data", "data_properties", "objective"):
        assert alone[key] == together[key]
    assert alone["metrics"]["last"].keys() == together["metrics"]["last"].keys()
    for name, value in alone["metrics"]["last"].items():
        assert together["metrics"]["last"][name] == pytest.approx(value, rel=1e-6, abs=1e-6)
    for tag in ("loss/train", "loss/train_step", "loss/val", "optimizer/grad_norm", "speed/tokens"):
        here, there = losses(one, tag), losses(two, tag)
        assert [step for step, _ in here] == [step for step, _ in there]
        assert [v for _, v in there] == pytest.approx([v for _, v in here], rel=2e-6)


TASKS = {
    "pretraining": [*WORDS, "model.dropout=0.2", "callbacks.samples=null"],
    "forecasting": "model=rnn model.num_layers=2 model.dropout=0.2 data.length=220 data.batch_size=32".split(),
    "instruction": [
        *"data=instruction data.path=records.json tokenizer=byte data.batch_size=3".split(),
        *MODEL.split(),
        "model.dropout=0.2",
        "callbacks.samples=null",
    ],
}
DEFAULT = ("pretraining", 2)  # the others take minutes
RESUME = [
    pytest.param(task, step, marks=() if (task, step) == DEFAULT else pytest.mark.long)
    for task, steps in {"pretraining": range(1, 7), "forecasting": (1, 3, 5), "instruction": (2, 5, 6)}.items()
    for step in steps
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Runs of two processes that were left alone, one for each task."""
    folder = tmp_path_factory.mktemp("whole")
    write_data(folder)

    @cache
    def run(task: str) -> Path:
        words = ["train", *TASKS[task], *TWO, "threads=1", "trainer.max_epochs=2", f"paths.runs={task}"]
        done(folder, *dict.fromkeys(words))
        return only_run(folder, task)

    return run


def write_data(folder: Path) -> None:
    """A story, and instruction records of different lengths."""
    (folder / "story.txt").write_text(STORY)
    records = [{"instruction": f"Say {n}.", "output": ("so " * 12)[: 3 + n]} for n in range(20)]
    (folder / "records.json").write_text(json.dumps(records))


@pytest.mark.parametrize(("task", "step"), RESUME)
def test_two_processes_resume_bit_for_bit(task: str, step: int, whole: Callable[[str], Path], tmp_path: Path) -> None:
    write_data(tmp_path)
    words = ["train", *TASKS[task], *TWO, "threads=1", "trainer.max_epochs=2"]
    done(tmp_path, *dict.fromkeys(words), f"trainer.max_steps={step}")
    out, _ = done(tmp_path, "train", "resume=last", "trainer.max_steps=-1")
    assert f"resumed     after step {step}" in out
    run, alone = only_run(tmp_path), whole(task)
    assert losses(run) == losses(alone)
    one, other = weights(alone), weights(run)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.long
def test_a_run_may_go_on_with_another_number_of_processes(story: Path, tmp_path: Path) -> None:
    words = ["train", *WORDS, "model.dropout=0", "trainer.max_epochs=2", "callbacks.samples=null"]
    done(tmp_path, *words, "device=cpu", "paths.runs=whole")
    done(tmp_path, *words, *TWO, "trainer.max_steps=2")
    out, _ = done(tmp_path, "train", "resume=last", "trainer.max_steps=-1", "trainer.devices=1")
    assert "new value   trainer.devices: 2 -> 1" in out
    whole, run = only_run(tmp_path, "whole"), only_run(tmp_path)
    assert [v for _, v in losses(run)] == pytest.approx([v for _, v in losses(whole)], rel=2e-6)
    assert [step for step, _ in losses(run)] == list(range(1, record(whole)["steps"] + 1))


def running(folder: Path) -> tuple[subprocess.Popen, Path, int]:
    """A data-parallel run that has made some steps: its first process, its folder, and the other one's number."""
    process = started(folder, "train", *WORDS, *TWO, "trainer.max_epochs=100000", "callbacks.samples=null")
    deadline = time.monotonic() + 120
    while not list(folder.glob("runs/*/*/checkpoints/best.ckpt")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (child,) = [pid for pid in map(int, children) if b"seqlab.start" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return process, only_run(folder), child


def ended(run: Path) -> dict:
    """run.json, once it no longer says that the run is running."""
    deadline = time.monotonic() + 60
    while (said := record(run))["status"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return said


@pytest.mark.parametrize("dead", [1, pytest.param(0, marks=pytest.mark.long)])
def test_a_rank_that_is_killed_ends_the_run(dead: int, story: Path, tmp_path: Path) -> None:
    process, run, child = running(tmp_path)
    os.kill(child if dead else process.pid, signal.SIGKILL)
    said = ended(run)
    assert said["status"] == "failed"
    assert f"rank {dead}" in said["error"]
    assert "was killed" in said["error"]
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    if dead:
        assert err.strip().splitlines()[-1] == f"seqlab: {said['error']}"
    assert not list(run.glob("*.error"))


@pytest.mark.parametrize("everyone", [True, False])
def test_a_signal_stops_all_ranks_after_the_same_step(everyone: bool, story: Path, tmp_path: Path) -> None:
    process, run, child = running(tmp_path)
    if everyone:
        os.killpg(process.pid, signal.SIGINT)  # Ctrl-C
    else:
        os.kill(child, signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "continue with seqlab train resume=" in err
    assert "Traceback" not in err
    said = record(run)
    assert said["status"] == "interrupted"
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == said["steps"]


FAILING = """
import os
from seqlab.models.gpt import GPT
class Failing(GPT):
    calls = 0
    def forward(self, tokens):
        self.calls += 1
        if self.calls == 3 and os.environ.get("LOCAL_RANK") == "1":
            raise RuntimeError("the cable was pulled")
        return super().forward(tokens)
"""


STOP = """
from lightning.pytorch import Callback

from seqlab.errors import UserError


class Stop(Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.is_global_zero:
            raise UserError("The first rank has had enough.")
"""


@pytest.mark.long
def test_an_error_of_the_first_rank_is_the_runs(story: Path, tmp_path: Path) -> None:
    words = [*WORDS, *TWO, "+callbacks.stop={_target_: lab.Stop}", "allow=[lab]", "trainer.max_epochs=1"]
    (tmp_path / "lab.py").write_text(STOP)
    _, err = done(tmp_path, "train", *words, status=1)
    said = record(only_run(tmp_path))
    assert said["status"] == "failed"
    assert said["error"] == "UserError: The first rank has had enough."
    assert "rank 0" not in err


@pytest.mark.long
def test_a_refusal_before_the_first_step_leaves_nothing(tmp_path: Path) -> None:
    words = ["train", *TWO, "data.noise=1e30", "model=gru", "threads=1"]
    _, err = done(tmp_path, *words, status=1)
    assert "Traceback" not in err
    assert err.count("The loss became") == 1
    assert not list(tmp_path.glob("runs/*/*"))


@pytest.mark.long
def test_an_error_of_another_rank_is_the_runs(story: Path, tmp_path: Path) -> None:
    (tmp_path / "lab.py").write_text(FAILING)
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "failing.yaml").write_text("_target_: lab.Failing\ncontext_length: null\n")
    words = [
        "--config-dir",
        "mine",
        "allow=[lab]",
        "model=failing",
        "+model.n_layer=1",
        "+model.n_head=2",
        "+model.n_embd=8",
    ]
    _, err = done(tmp_path, "train", *DATA.split(), "threads=1", *TWO, *words, status=1)
    said = record(only_run(tmp_path))
    assert (said["status"], said["error"]) == ("failed", "rank 1: RuntimeError: the cable was pulled")
    assert "seqlab: rank 1: RuntimeError: the cable was pulled" in err


WITNESS = """
import json
from lightning.pytorch import Callback


class Witness(Callback):
    def __init__(self, run, config):
        self.run, self.config = run, config

    def on_train_start(self, trainer, pl_module):
        known = {"config": self.config, "built": pl_module.model.head.in_features, "ranks": trainer.world_size}
        (self.run / f"seen-by-{trainer.global_rank}.json").write_text(json.dumps(known))
"""


@pytest.mark.long
def test_every_rank_of_every_job_has_the_hyperparameters_of_its_job(tmp_path: Path) -> None:
    (tmp_path / "witness.py").write_text(WITNESS)
    callback = ["+callbacks.witness={_target_:witness.Witness,_partial_:true}", "allow=[witness]"]
    words = [
        "train",
        "-m",
        *TWO,
        "model=gru",
        "model.hidden_size=8,16,24",
        "trainer.max_epochs=2",
        "threads=1",
        *callback,
    ]
    process = subprocess.run([sys.executable, "-m", "seqlab", *words], capture_output=True, text=True, cwd=tmp_path)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "3 of 3 runs done" in process.stdout
    runs = sorted(file.parent for file in tmp_path.glob("runs/*/*/*/run.json"))
    assert [run.name for run in runs] == ["000-hidden_size_8", "001-hidden_size_16", "002-hidden_size_24"]
    for run, width in zip(runs, (8, 16, 24), strict=True):
        first, second = (json.loads((run / f"seen-by-{rank}.json").read_text()) for rank in (0, 1))
        assert first == second
        assert (first["built"], first["config"]["model"]["hidden_size"], first["ranks"]) == (width, width, 2)
        assert len(list(run.glob("events.*"))) == 1


@pytest.mark.long
def test_a_cluster_starts_a_written_folder(story: Path, tmp_path: Path) -> None:
    words = ["train", *WORDS, *TWO, "model.dropout=0", "trainer.max_epochs=1", "callbacks.samples=null"]
    out, _ = done(tmp_path, *words, "start=false")
    run = only_run(tmp_path)
    assert out.splitlines()[-1].endswith(f"-m seqlab.start {run}")
    assert record(run)["status"] == "pending"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "seqlab.start", str(run)]
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    process = subprocess.run([sys.executable, *launcher], capture_output=True, text=True, timeout=120, env=environment)
    assert process.returncode == 0, process.stderr
    said = record(run)
    assert (said["status"], said["hardware"]["processes"]) == ("done", 2)
    done(tmp_path, *words, "paths.runs=local")
    assert losses(run) == losses(only_run(tmp_path, "local"))


def rank_1(first: int) -> int | None:
    """The process of the other rank, once there is one."""
    for child in Path(f"/proc/{first}/task/{first}/children").read_text().split():
        with suppress(OSError):
            if b"LOCAL_RANK=1" in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
                return int(child)
    return None


@pytest.mark.long
@pytest.mark.parametrize("how", ["killed", "ctrl-c"])
def test_what_happens_before_the_ranks_have_found_each_other_is_said(how: str, story: Path, tmp_path: Path) -> None:
    process = started(tmp_path, "train", *WORDS, *TWO)
    while not (other := rank_1(process.pid)):
        time.sleep(0.01)
    time.sleep(0.5)
    if how == "killed":
        os.kill(other, signal.SIGKILL)
    else:
        os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    if how == "killed":
        assert process.returncode == 1
        assert record(only_run(tmp_path))["error"] == "rank 1: was killed by SIGKILL"
        assert "seqlab: rank 1: was killed by SIGKILL" in err
    else:
        assert process.returncode == 130, err
        assert "Stopped" in err
        assert not list(tmp_path.glob("runs/*/*"))


@pytest.mark.long
def test_a_rank_whose_first_rank_was_killed_before_they_met_ends(story: Path, tmp_path: Path) -> None:
    process = started(tmp_path, "train", *WORDS, *TWO)
    while not (other := rank_1(process.pid)):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    deadline = time.monotonic() + 60  # torch alone waits for half an hour
    while process_exists(other):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    said = record(only_run(tmp_path))
    assert (said["status"], said["error"]) == ("failed", "rank 0: was killed")
