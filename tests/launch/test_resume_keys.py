"""What a resumed run may be told: every key of a config is applied or refused, and what is refused changes nothing."""

import json
import re
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from tests.launch.test_resume import TASKS, contents, finish_run, only_run, record

from seqlab.cli.resume import prepare_resume
from seqlab.config.nodes import flatten
from seqlab.errors import UserError
from seqlab.runs.folder import read_config
from seqlab.runs.pending_resume import is_resume_pending
from seqlab.tasks.base import Task
from seqlab.training import train as train_module


@pytest.fixture
def finished(seqlab, story: Path, tmp_path: Path) -> Path:
    """A run that is done."""
    return finish_run(seqlab, tmp_path)


def test_what_cannot_be_gone_on_with_is_refused_and_left_as_it_was(seqlab, finished: Path) -> None:
    before = contents(finished)
    for words, part in {
        ("model=gpt2",): "model=gpt2 cannot be changed",
        (): "is finished: it has made 3 steps",
        ("trainer.max_epoch=3",): "Did you mean trainer.max_epochs",
        ("trainer.max_steps=4", "optimizer.lr=-1"): "does not fit",
        (
            "trainer.max_steps=4",
            "model.n_embd=32",
        ): "model.n_embd=32 cannot be changed in a run that was started with 16",
        ("trainer.max_steps=4", "data.context_length=24"): "data.context_length=24 cannot be changed",
        (
            "trainer.max_steps=4",
            "data.batch_size=12",
        ): "its folder, its weights or the samples it has seen depend on it",
        ("trainer.max_steps=4", "seed=3"): "seed=3 cannot be changed",
        ("trainer.max_steps=4", "init_from=nowhere"): "init_from=nowhere cannot be changed",
        ("trainer.max_steps=4", "data.path=other.txt"): "other.txt, which this run was trained on, is not there",
        ("trainer.max_steps=4", "trainer.devices=two"): "trainer.devices=two is not a number of devices",
        ("trainer.max_steps=4", "trainer.accelerator=tpu"): "this machine has no such device",
        ("trainer.max_steps=4", "optimizer.lr=0.1,0.2"): "is a list of values to sweep over",
        ("trainer.max_steps=4", "-m"): "without -m",
        ("trainer.max_steps=3",): "is finished: it has made 3 steps",
        ("trainer.max_epochs=0",): "does not fit",
    }.items():
        answer = seqlab("train", "resume=last", *words)
        assert answer.status == 1
        assert part in answer.err
        assert contents(finished) == before
    assert seqlab("train", "resume=last", "trainer.max_steps=4").status == 0


def test_a_schedule_that_keeps_its_own_settings_is_not_changed(seqlab, story: Path, tmp_path: Path) -> None:
    (tmp_path / "mine" / "schedule").mkdir(parents=True)
    text = "_target_: torch.optim.lr_scheduler.StepLR\n_partial_: true\nstep_size: 2\ngamma: 0.5\n"
    (tmp_path / "mine" / "schedule" / "steps.yaml").write_text(text)
    words = [*TASKS["pretraining"].split(), "trainer.max_steps=3", "schedule=steps", "--config-dir", "mine"]
    assert seqlab("train", *words).status == 0
    before = contents(only_run(tmp_path))
    for word in ("schedule.gamma=0.1", "optimizer.lr=0.1"):
        answer = seqlab("train", "resume=last", "trainer.max_steps=4", word)
        assert answer.status == 1
        assert "cannot be changed while StepLR is the schedule" in answer.err
        assert contents(only_run(tmp_path)) == before
    assert seqlab("train", "resume=last", "trainer.max_steps=4", "optimizer.weight_decay=0.3").status == 0


def test_a_run_whose_time_is_up_is_not_resumed(seqlab, story: Path, tmp_path: Path) -> None:
    words = [*TASKS["pretraining"].split(), "trainer.max_epochs=1000", "+trainer.max_time={seconds: 1}"]
    assert seqlab("train", *words).status == 0
    before = contents(only_run(tmp_path))
    assert "trainer.max_time={'seconds': 1} is up: give it more" in seqlab("train", "resume=last").err
    assert "is up" in seqlab("train", "resume=last", "trainer.max_time=00:00:00:01").err
    assert "is not a time" in seqlab("train", "resume=last", "trainer.max_time=soon").err
    assert contents(only_run(tmp_path)) == before
    assert seqlab("train", "resume=last", "trainer.max_time=00:00:00:02").status == 0


def test_the_data_checked_are_the_data_read(
    seqlab, story: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [word for word in TASKS["pretraining"].split() if word != "data.path=story.txt"]
    (tmp_path / "texts").mkdir()
    story.rename(tmp_path / "texts" / "story.txt")
    words += ["data.path=story.txt", "paths.data=[texts]", "trainer.max_steps=2"]
    assert seqlab("train", *words).status == 0
    run = only_run(tmp_path)
    story.write_text("Another story. " * 200)  # the look-up finds this one first
    checksums = record(run)["data"]
    answer = seqlab("train", "resume=last", "trainer.max_steps=3")
    assert answer.status == 0, answer.err
    assert record(run)["data"] == checksums


def edit_config(run: Path, before: str, now: str) -> None:
    """Edit config.yaml by hand."""
    file = run / "config.yaml"
    assert before in file.read_text()
    file.write_text(file.read_text().replace(before, now))


OTHER_VALUES = {  # keys that may be changed, each with a value that no run of these tests has
    "threads": 2,
    "paths.data": ["elsewhere"],
    "data.num_workers": 1,
    "model.dropout": 0.05,
    "optimizer.lr": 0.0123,
    "optimizer.betas": [0.8, 0.98],
    "optimizer.weight_decay": 0.0321,
    "optimizer.fused": False,
    "schedule.warmup_steps": 1,
    "callbacks.checkpoint.every_minutes": 3,
    "callbacks.checkpoint.every_n_steps": 4,
    "callbacks.checkpoint.keep": "weights",
    "callbacks.early_stopping.patience": 50,
    "callbacks.forecast.every_seconds": 7.0,
    "callbacks.samples.prompt": "Said the",
    "callbacks.samples.every_seconds": 7.0,
    "callbacks.samples.temperature": 0.5,
    "callbacks.samples.max_new_tokens": 3,
    "trainer.max_epochs": 3,
    "trainer.max_steps": 50,
    "trainer.accumulate_grad_batches": 2,
    "trainer.gradient_clip_val": 0.7,
    "trainer.val_check_interval": 0.5,
    "trainer.check_val_every_n_epoch": 2,
    "trainer.limit_train_batches": 0.9,
    "trainer.limit_val_batches": 3,
    "trainer.limit_test_batches": 3,
    "trainer.log_every_n_steps": 2,
    "trainer.deterministic": "warn",
    "trainer.profiler": "simple",
    "trainer.precision": "bf16-mixed",
}
ELSEWHERE = {  # keys whose meaning on resume is tested in another place
    "resume": "the run itself",
    "paths.runs": "where resume=last looks: tests/runs/test_folder.py",
    "data.path": "test_data_that_changed_are_refused",
} | dict.fromkeys(("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy"), "test_ranks.py")


@pytest.mark.parametrize("task", ["forecasting", "pretraining"])
def test_every_key_of_a_config_is_applied_on_resume_or_refused(
    task: str, seqlab, story: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [word for word in TASKS[task].split() if word != "callbacks.samples=null"]
    answer = seqlab("train", *words, "trainer.max_steps=2", "schedule.warmup_steps=0")
    assert answer.status == 0, answer.err
    run = only_run(tmp_path)
    finished, trainers = contents(run), []
    build = train_module.build_trainer
    monkeypatch.setattr(
        train_module, "build_trainer", lambda *args, **rest: trainers.append(build(*args, **rest)) or trainers[-1]
    )
    start = Task.on_train_start

    def note(task: Task) -> None:
        task.trainer.validated_every = task.trainer.check_val_every_n_epoch
        start(task)

    monkeypatch.setattr(Task, "on_train_start", note)
    keys = [key for key in flatten(read_config(run)) if "_target_" not in key and "_partial_" not in key]
    more = ["trainer.max_steps=3"]
    for key in keys:
        if key in ELSEWHERE:
            continue
        value = OTHER_VALUES.get(key)
        if value is None:
            answer = seqlab("train", f"resume={run}", *more, f"{key}=7")
            assert answer.status == 1, key
            assert re.search(rf"{key}=.*(cannot be changed|is not|is unknown|does not fit|removes)", answer.err), (
                key,
                answer.err,
            )
            assert contents(run) == finished
            continue
        rest = [] if key == "trainer.max_steps" else more
        typed = json.dumps(value) if not isinstance(value, str) else value
        answer = seqlab("train", f"resume={run}", *rest, f"{key}={typed}")
        assert answer.status == 0, (key, answer.err)
        assert f"new value   {key}: " in answer.out, key
        assert_applied(key, value, trainers[-1])
        shutil.rmtree(run)
        for path, content in finished.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def assert_applied(key: str, value: object, trainer: Trainer) -> None:
    """What was built for the resumed run has the new value, after its checkpoint was restored."""
    group, _, name = key.partition(".")
    task = trainer.lightning_module
    if group == "optimizer":
        (parameters,) = task.optimizers().param_groups
        found = parameters["initial_lr" if name == "lr" else name]
        assert found == (tuple(value) if isinstance(value, list) else value), key
    elif group == "callbacks":
        node, _, attribute = name.partition(".")
        (callback,) = (each for each in trainer.callbacks if type(each).__module__.rsplit(".", 1)[-1].startswith(node))
        found = callback.every_seconds / 60 if attribute == "every_minutes" else getattr(callback, attribute)
        assert found == value, key
    elif key == "model.dropout":
        found = [each.p for each in task.model.modules() if isinstance(each, torch.nn.Dropout)]
        assert (found and set(found) == {value}) or task.model.rnn.dropout == value
    elif key == "data.num_workers":
        assert trainer.datamodule.num_workers == value
    elif name == "check_val_every_n_epoch":
        assert trainer.validated_every == value, key  # in the last epoch it becomes 1
    elif group == "trainer" and name not in ("deterministic", "profiler"):  # those: tests/training/test_trainer.py
        assert getattr(trainer, name) == value, key


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ("n_embd: 16", "n_embd: 32", "model.n_embd=32 cannot be changed in a run that was started with 16"),
        ("seed: 0", "seed: 4", "seed=4 cannot be changed in a run that was started with 0"),
    ],
)
def test_what_cannot_change_cannot_be_edited(before: str, now: str, said: str, seqlab, finished: Path) -> None:
    edit_config(finished, before, now)
    left = contents(finished)
    answer = seqlab("train", "resume=last", "trainer.max_steps=4")
    assert answer.status == 1
    assert said in answer.err
    assert contents(finished) == left


def test_what_was_edited_is_said_and_taken(seqlab, finished: Path) -> None:
    edit_config(finished, "weight_decay: 0.1", "weight_decay: 0.2")
    answer = seqlab("train", "resume=last", "trainer.max_steps=4")
    assert answer.status == 0, answer.err
    assert "new value   optimizer.weight_decay: 0.1 -> 0.2" in answer.out
    assert "new value   data.path" not in answer.out
    answer = seqlab("train", "resume=last", "trainer.max_steps=5")
    assert "optimizer.weight_decay" not in answer.out


@pytest.mark.parametrize(
    "error", [RuntimeError("no memory"), MemoryError(), UserError("no place"), KeyboardInterrupt()]
)
def test_a_resume_that_fails_before_its_first_step_leaves_the_run_as_it_was(
    error: BaseException, seqlab, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(finished)

    def fail(*args: object, **rest: object) -> None:
        assert record(finished)["status"] == "running"
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "build_trainer", fail)
        with suppress(RuntimeError):
            assert seqlab("train", "resume=last", "trainer.max_steps=4", "optimizer.lr=0.1").status != 0
    assert contents(finished) == before
    answer = seqlab("train", "resume=last", "trainer.max_steps=4", "trainer.num_nodes=2")
    assert answer.status == 1
    assert contents(finished) == before


def test_a_resume_that_is_killed_before_its_first_step_has_changed_nothing(seqlab, finished: Path) -> None:
    before = contents(finished)
    prepare_resume(["resume=last", "trainer.max_steps=4", "optimizer.lr=0.1"])
    assert {path: content for path, content in contents(finished).items() if path in before} == before
    assert is_resume_pending(finished)
    edit_config(finished, "weight_decay: 0.1", "weight_decay: 0.2")
    answer = seqlab("train", "resume=last", "trainer.max_steps=4")
    assert answer.status == 0, answer.err
    assert "weight_decay: 0.1 -> 0.2" in answer.out
    assert "optimizer.lr" not in answer.out
    assert not is_resume_pending(finished)
    assert record(finished)["resumed"] == [["trainer.max_steps=4"]]
    assert len(seqlab("runs").out.splitlines()) == 3


def test_a_resume_that_fails_within_its_first_step_has_changed_nothing(seqlab, finished: Path, monkeypatch) -> None:
    before = contents(finished)

    def fail(*args: object) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(Task, "on_before_optimizer_step", fail)
        with suppress(RuntimeError):
            seqlab("train", "resume=last", "trainer.max_steps=4", "trainer.accumulate_grad_batches=2")
    after = contents(finished)
    assert {path: after[path] for path in before if "events" not in path.name} == {
        path: content for path, content in before.items() if "events" not in path.name
    }
    answer = seqlab("train", "resume=last", "trainer.max_steps=4", "optimizer.lr=${oc.env:NOPE}")
    assert answer.status == 1
    assert "optimizer.lr refers to NOPE, which there is not" in answer.err
    answer = seqlab("train", "resume=last", "trainer.max_steps=4", "schedule.warmup_steps=many")
    assert "schedule.warmup_steps=many does not fit" in answer.err
