"""A run that was stopped anywhere ends bit for bit as if it had not been; what cannot be resumed is refused."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conftest import in_group
from seqlab.callbacks.checkpoint import Checkpoint
from seqlab.callbacks.interrupt import Interrupt
from seqlab.callbacks.metrics import TrainingMetrics
from seqlab.callbacks.recorder import RunRecorder
from seqlab.errors import Interrupted
from seqlab.files import read_checksums, write_checksums
from seqlab.runs.process import process_identity
from seqlab.runs.run_info import update_run_info

LONG = pytest.mark.long


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Instruction records of different lengths."""
    path = tmp_path / "records.json"
    path.write_text(json.dumps([{"instruction": f"Say {n}.", "output": ("so " * 12)[: 3 + n]} for n in range(20)]))
    return path


GPT = (
    "model=gpt_mini model.n_layer=1 model.n_head=2 model.n_embd=16 device=cpu model.dropout=0.2 callbacks.samples=null"
)
TASKS = {
    "forecasting": "model=rnn model.num_layers=2 model.dropout=0.2 device=cpu "
    "data.length=220 data.batch_size=32 data.val_fraction=0.1",
    "pretraining": f"data=text data.path=story.txt tokenizer=char data.context_length=16 data.batch_size=24 {GPT}",
    "instruction": f"data=instruction data.path=records.json tokenizer=byte data.batch_size=3 {GPT}",
}
STEPS = {"forecasting": 5, "pretraining": 6, "instruction": 6}  # of an epoch


def only_run(folder: Path) -> Path:
    """The one run below a folder."""
    (run,) = folder.glob("runs/*/*")
    return run


def record(run: Path) -> dict:
    """run.json."""
    return json.loads((run / "run.json").read_text())


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint."""
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    """Bit for bit."""
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    """The scalars of each step as TensorBoard shows them, without what a clock says."""
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag != "speed/tokens_per_second"]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}


class Kept:
    """A whole run of two epochs, and its checkpoint after every step."""

    def __init__(self, seqlab, folder: Path, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.seqlab = folder, seqlab
        save = Checkpoint.save_last

        def keep_each(checkpoint: Checkpoint, trainer) -> None:
            save(checkpoint, trainer)
            shutil.copy(checkpoint.last, folder / f"step-{trainer.global_step}.ckpt")
            if checkpoint.best.exists():
                shutil.copy(checkpoint.best, folder / f"best-{trainer.global_step}.ckpt")

        with monkeypatch.context() as patch:
            patch.setattr(Checkpoint, "save_last", keep_each)
            every = ["callbacks.checkpoint.every_n_steps=1", "trainer.log_every_n_steps=1", "trainer.max_epochs=2"]
            answer = seqlab("train", *words, *every)
        assert answer.status == 0, answer.err
        self.run = only_run(folder)
        self.last = self.run / "checkpoints" / "last.ckpt"
        (self.events,) = self.run.glob("events.*")
        self.events = self.events.rename(
            self.run / "events.out.tfevents.1.whole"
        )  # older than those of the same second
        self.end = weights(self.last), record(self.run)["metrics"], curves(self.run)
        self.steps = record(self.run)["steps"]
        self.best = self.run / "checkpoints" / "best.ckpt"
        self.best_step = torch.load(self.best, weights_only=True)["global_step"] if self.best.exists() else None

    def assert_resumes_after(self, step: int, *words: str) -> None:
        """Go on from the checkpoint of a step, over the logs of the whole run; the best weights are of then or of later."""
        shutil.copy(self.folder / f"step-{step}.ckpt", self.last)
        if step % 2 and self.best.exists():
            self.best.unlink()
            if (then := self.folder / f"best-{step}.ckpt").exists():
                shutil.copy(then, self.best)
        for events in self.run.glob("events.*"):
            if events != self.events:
                events.unlink()
        write_checksums(self.last.with_name("SHA256SUMS"), [])  # it knows other files
        update_run_info(self.run, status="interrupted")
        answer = self.seqlab("train", f"resume={self.run}", *words)
        assert answer.status == 0, answer.err
        assert f"resumed     after step {step}" in answer.out
        assert_same(self.end[0], weights(self.last))
        assert record(self.run)["metrics"] == self.end[1]
        if self.best.exists():
            assert torch.load(self.best, weights_only=True)["global_step"] == self.best_step
        assert curves(self.run) == self.end[2]


@pytest.mark.parametrize("task", TASKS)
def test_every_step_of_an_epoch_and_its_boundary_can_be_resumed(
    task: str, seqlab, story: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(seqlab, tmp_path, TASKS[task].split(), monkeypatch)
    assert kept.steps == 2 * STEPS[task]
    assert [step for step, _ in kept.end[2]["loss/train_step"]] == list(range(1, kept.steps + 1))
    for step in range(1, STEPS[task] + 2):
        kept.assert_resumes_after(step)


@pytest.mark.parametrize("task", [task if task == "pretraining" else pytest.param(task, marks=LONG) for task in TASKS])
@pytest.mark.parametrize(
    "variant",
    {
        "accumulation": "trainer.accumulate_grad_batches=4",
        "workers": "data.num_workers=2",
        "bf16": "trainer.precision=bf16-mixed",
        "validation in mid-epoch": "trainer.val_check_interval=2",
        "buckets": "data.bucket_by_length=true",
        "early stopping": "callbacks.early_stopping.patience=1 trainer.val_check_interval=2",
        "schedule": "schedule=cosine schedule.warmup_steps=3 trainer.gradient_clip_val=0.5",
        "plateau": "schedule=plateau schedule.patience=0 trainer.val_check_interval=2 optimizer.lr=0.05",
        "by epochs": "schedule=constant ~schedule.warmup_steps +schedule.gamma=0.5 +schedule.interval=epoch "
        "schedule._target_=torch.optim.lr_scheduler.ExponentialLR",
        "muon": "optimizer=muon",
    }.items(),
    ids=lambda variant: variant[0],
)
def test_whatever_the_recipe_a_run_can_be_resumed(
    task: str, variant: tuple[str, str], seqlab, story: Path, records: Path, tmp_path: Path, monkeypatch
) -> None:
    if variant[0] == "buckets" and task != "instruction":
        return  # only records have lengths
    words = TASKS[task].split()
    if variant[0] == "early stopping":
        words = [*words, "optimizer.lr=0.5"]
    kept = Kept(seqlab, tmp_path, [*words, *variant[1].split()], monkeypatch)
    assert (kept.steps < 2 * STEPS[task]) == (variant[0] in ("accumulation", "early stopping"))
    for step in range(1, kept.steps, 3 if variant[0] == "workers" else 2):
        kept.assert_resumes_after(step)


def test_an_adapter_can_be_resumed(seqlab, story: Path, records: Path, tmp_path: Path, monkeypatch) -> None:
    base = [*TASKS["pretraining"].split(), "tokenizer=byte", "data.context_length=200", "data.batch_size=2"]
    assert seqlab("train", *base, "trainer.max_steps=1", "paths.runs=bases").status == 0
    (run,) = tmp_path.glob("bases/*/*")
    words = ["data=instruction", "data.path=records.json", "data.batch_size=3", "device=cpu", "callbacks.samples=null"]
    kept = Kept(seqlab, tmp_path, [*words, f"init_from={run}", "adapter=lora", "adapter.dropout=0.1"], monkeypatch)
    for step in (1, 5, 6, 8):
        kept.assert_resumes_after(step)


@pytest.mark.parametrize("stop", [2, 6, 9])
def test_a_run_stopped_by_max_steps_goes_on(stop: int, seqlab, story: Path, tmp_path: Path) -> None:
    words = ["train", *TASKS["pretraining"].split(), "trainer.max_epochs=2"]
    assert seqlab(*words, "paths.runs=whole").status == 0
    (whole,) = tmp_path.glob("whole/*/*")
    assert seqlab(*words, f"trainer.max_steps={stop}").status == 0
    answer = seqlab("train", "resume=last", "trainer.max_steps=-1")
    assert answer.status == 0, answer.err
    assert f"new value   trainer.max_steps: {stop} -> -1" in answer.out
    run = only_run(tmp_path)
    assert record(run)["steps"] == record(whole)["steps"] == 12
    assert_same(weights(whole / "checkpoints" / "last.ckpt"), weights(run / "checkpoints" / "last.ckpt"))
    assert record(run)["metrics"]["last"]["train/loss"] == record(whole)["metrics"]["last"]["train/loss"]


def test_a_new_learning_rate_is_taken_from_the_next_step_on(seqlab, story: Path, tmp_path: Path) -> None:
    words = ["train", *TASKS["pretraining"].split(), "trainer.log_every_n_steps=1", "schedule=linear"]
    assert seqlab(*words, "trainer.max_steps=3", "trainer.max_epochs=2").status == 0
    answer = seqlab("train", "resume=last", "trainer.max_steps=-1", "optimizer.lr=0.1", "optimizer.weight_decay=0.3")
    assert answer.status == 0, answer.err
    assert "new value   optimizer.lr: 0.0004 -> 0.1" in answer.out
    run = only_run(tmp_path)
    assert [rate for _, rate in curves(run)["optimizer/lr"]][3:] == pytest.approx(
        [0.1 * (12 - n) / 12 for n in range(3, 12)]
    )
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["optimizer_states"][0]
    assert state["param_groups"][0]["weight_decay"] == 0.3
    assert record(run)["overrides"][-1] == "optimizer.weight_decay=0.3"


def test_validating_and_sampling_more_often_changes_nothing(seqlab, story: Path, tmp_path: Path) -> None:
    words = [word for word in TASKS["pretraining"].split() if word != "callbacks.samples=null"]
    words = ["train", *words, "trainer.log_every_n_steps=1", "trainer.max_epochs=4"]
    losses, ends = [], []
    for name, more in {
        "often": [
            "trainer.val_check_interval=1",
            "callbacks.samples.every_seconds=0",
            "callbacks.samples.temperature=1",
        ],
        "seldom": ["trainer.val_check_interval=6", "callbacks.samples=null"],
        "ten": ["trainer.val_check_interval=10", "trainer.check_val_every_n_epoch=null"],
    }.items():
        answer = seqlab(*words, *more, f"paths.runs={name}")
        assert answer.status == 0, answer.err
        (run,) = tmp_path.glob(f"{name}/*/*")
        losses.append(curves(run)["loss/train_step"])
        ends.append(weights(run / "checkpoints" / "last.ckpt"))
    assert losses[0] == losses[1] == losses[2]
    for end in ends[1:]:
        assert_same(ends[0], end)


def finish_run(seqlab, tmp_path: Path) -> Path:
    """A run of three steps."""
    words = TASKS["pretraining"].split()
    assert seqlab("train", *words, "trainer.max_steps=3", "callbacks.checkpoint.every_n_steps=1").status == 0
    return only_run(tmp_path)


@pytest.fixture
def finished(seqlab, story: Path, tmp_path: Path) -> Path:
    """A run that is done."""
    return finish_run(seqlab, tmp_path)


def contents(run: Path) -> dict[Path, bytes]:
    """All files of a run."""
    return {path: path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("hook", ["on_validation_end", "on_test_end"])
def test_a_run_killed_after_its_last_step_comes_to_its_end(
    hook: str, seqlab, story: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["train", *TASKS["pretraining"].split(), "data.test_fraction=0.15", "trainer.max_steps=4"]
    words.append("callbacks.checkpoint.every_n_steps=2")
    assert seqlab(*words, "paths.runs=whole").status == 0
    (whole,) = tmp_path.glob("whole/*/*")

    def die(self, trainer, pl_module) -> None:
        raise RuntimeError("pulled the plug")

    with monkeypatch.context() as patch:
        patch.setattr(RunRecorder, hook, die)
        with pytest.raises(RuntimeError, match="pulled the plug"):
            seqlab(*words)
    answer = seqlab("train", "resume=last")
    assert answer.status == 0, answer.err
    run = only_run(tmp_path)
    assert record(run)["status"] == "done"
    assert record(run)["metrics"] == record(whole)["metrics"]
    assert curves(run) == curves(whole)
    names = [{file.name for file in (each / "checkpoints").iterdir()} for each in (run, whole)]
    assert names[0] == names[1] == {"best.ckpt", "last.ckpt", "SHA256SUMS"}
    for each in (run, whole):
        assert seqlab("train", f"resume={each}", "trainer.max_steps=7").status == 0
    assert_same(weights(run / "checkpoints" / "last.ckpt"), weights(whole / "checkpoints" / "last.ckpt"))


def test_a_run_killed_before_its_first_checkpoint_has_one_curve(
    seqlab, story: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = TrainingMetrics.on_train_batch_end

    def die(self, trainer, *rest) -> None:
        log(self, trainer, *rest)
        if trainer.global_step == 4:
            for logger in trainer.loggers:
                logger.experiment.flush()
            raise RuntimeError("pulled the plug")

    with monkeypatch.context() as patch:
        patch.setattr(TrainingMetrics, "on_train_batch_end", die)
        with pytest.raises(RuntimeError, match="pulled the plug"):
            seqlab("train", *TASKS["pretraining"].split(), "trainer.max_epochs=1", "trainer.log_every_n_steps=1")
    answer = seqlab("train", "resume=last")
    assert answer.status == 0, answer.err
    assert [step for step, _ in curves(only_run(tmp_path))["loss/train_step"]] == [1, 2, 3, 4, 5, 6]


def test_the_best_weights_are_those_that_the_record_names(seqlab, story: Path, tmp_path: Path) -> None:
    words = ["train", *TASKS["pretraining"].split(), "data.test_fraction=0.15", "trainer.max_epochs=2"]
    assert seqlab(*words, "trainer.max_steps=8").status == 0
    answer = seqlab("train", "resume=last", "trainer.max_steps=-1", "optimizer.lr=1.0")
    assert answer.status == 0, answer.err
    run = only_run(tmp_path)
    best = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["metrics"]["val/loss"] == record(run)["metrics"]["best"]["val/loss"]
    assert seqlab("evaluate", "run=last", "split=val").status == 0
    measured = json.loads((run / "evaluations" / "text-val-best.json").read_text())["metrics"]["val/loss"]
    assert measured == pytest.approx(best["metrics"]["val/loss"], rel=1e-6)


def test_data_that_changed_are_refused(seqlab, finished: Path, story: Path) -> None:
    before = contents(finished)
    text = story.read_text()
    story.write_text(text.replace("mill", "will", 1))
    answer = seqlab("train", "resume=last", "trainer.max_steps=4")
    assert answer.status == 1
    assert "is not what this run was trained on" in answer.err
    assert f"init_from={finished}" in answer.err
    assert contents(finished) == before
    story.rename(story.with_name("moved.txt"))
    story.with_name("moved.txt").write_text(text)
    assert seqlab("train", "resume=last", "trainer.max_steps=4", "data.path=moved.txt").status == 0


def test_the_seconds_are_those_of_all_parts(seqlab, finished: Path) -> None:
    assert 0 < record(finished)["seconds"] < 1000
    update_run_info(finished, seconds=1000.0)
    assert seqlab("train", "resume=last", f"trainer.max_steps={record(finished)['steps'] + 1}").status == 0
    assert 1000 < record(finished)["seconds"] < 2000


def test_a_run_that_is_being_trained_is_not_resumed(seqlab, finished: Path) -> None:
    update_run_info(finished, status="running", process=process_identity(os.getppid()))
    answer = seqlab("train", "resume=last", "trainer.max_steps=5")
    assert answer.status == 1
    assert f"is being trained by process {os.getppid()}" in answer.err
    for dead in ({"pid": 2**22 + 1}, {"started": 1}):
        update_run_info(finished, status="running", process=process_identity(os.getppid()) | dead)
        steps = record(finished)["steps"] + 1
        assert seqlab("train", "resume=last", f"trainer.max_steps={steps}").status == 0


@pytest.fixture
def interrupted(seqlab, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that died after its third step, with the checkpoints of steps 3 and 2."""
    shutil.rmtree(finished)
    words = ["train", *TASKS["pretraining"].split(), "callbacks.checkpoint.every_n_steps=1", "trainer.max_epochs=1"]
    save = Checkpoint.save_last

    def die(checkpoint: Checkpoint, trainer) -> None:
        save(checkpoint, trainer)
        if trainer.global_step == 3:
            raise RuntimeError("pulled the plug")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save_last", die)
        with pytest.raises(RuntimeError, match="pulled the plug"):
            seqlab(*words)
    run = only_run(tmp_path)
    assert (record(run)["status"], record(run)["steps"]) == ("failed", 3)
    assert record(run)["error"] == "RuntimeError: pulled the plug"
    return run


@pytest.mark.parametrize("damage", ["a flipped byte", "the end is missing", "a pickle"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_offered(
    damage: str, seqlab, interrupted: Path, tmp_path: Path
) -> None:
    import pickle

    last = interrupted / "checkpoints" / "last.ckpt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    proof = tmp_path / "proof"
    crafted = pickle.dumps({"state_dict": Crafted(proof)}, protocol=2)
    last.write_bytes(
        {"a flipped byte": bytes(content), "the end is missing": bytes(content[:-500]), "a pickle": crafted}[damage]
    )
    answer = seqlab("train", "resume=last")
    assert answer.status == 1
    assert not proof.exists()
    previous = interrupted / "checkpoints" / "previous.ckpt"
    assert f"{last} is damaged" in answer.err
    assert f"resume={previous}" in answer.err
    answer = seqlab("train", f"resume={previous}")
    assert answer.status == 0, answer.err
    assert "resumed     after step 2" in answer.out
    assert record(interrupted)["status"] == "done"
    sums = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    assert subprocess.run(sums, cwd=last.parent, capture_output=True).returncode == 0
    assert {file.name for file in last.parent.iterdir()} == {"best.ckpt", "last.ckpt", "SHA256SUMS"}


def test_a_full_disk_leaves_the_checkpoint_before_whole(seqlab, interrupted: Path, tmp_path: Path) -> None:
    folder = interrupted / "checkpoints"
    before = {path: path.read_bytes() for path in folder.iterdir()}
    limit = folder.joinpath("last.ckpt").stat().st_size * 2 // 3
    command = [sys.executable, "-m", "seqlab", "train", f"resume={interrupted}"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 1
    assert "The disk is full, or a limit on file sizes is reached" in done.stderr
    assert "Traceback" not in done.stderr
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert record(interrupted)["status"] == "failed"
    assert seqlab("train", "resume=last").status == 0
    assert record(interrupted)["steps"] == STEPS["pretraining"]


def test_the_one_before_does_not_take_the_place_of_a_whole_one(seqlab, interrupted: Path) -> None:
    before = contents(interrupted)
    answer = seqlab("train", f"resume={interrupted / 'checkpoints' / 'previous.ckpt'}")
    assert answer.status == 1
    assert f"continue from it with resume={interrupted}" in answer.err
    assert contents(interrupted) == before


def test_a_folder_in_the_place_of_a_file_is_named(seqlab, interrupted: Path) -> None:
    (interrupted / "metrics.jsonl").unlink(missing_ok=True)
    (interrupted / "metrics.jsonl").mkdir()
    answer = seqlab("train", f"resume={interrupted}")
    assert answer.status == 1
    (sentence,) = answer.err.strip().splitlines()
    assert f"{interrupted / 'metrics.jsonl'} cannot be used (Is a directory)" in sentence


def test_a_kill_between_two_renames_leaves_the_one_before(seqlab, interrupted: Path) -> None:
    folder = interrupted / "checkpoints"
    last, previous = folder / "last.ckpt", folder / "previous.ckpt"
    entries = [("0" * 64, "last.ckpt"), *read_checksums(folder / "SHA256SUMS")]  # of the new one that was to come
    last.replace(previous)
    write_checksums(folder / "SHA256SUMS", entries)
    assert seqlab("evaluate", f"run={interrupted}", "split=train", "checkpoint=last").status == 0
    answer = seqlab("train", f"resume={previous}")
    assert answer.status == 0, answer.err
    assert "resumed     after step 3" in answer.out


class Crafted:
    """A pickle of it touches a file when it is loaded."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.proof}",)


@pytest.mark.parametrize(
    ("number", "more", "kill"),
    [
        (signal.SIGINT, [], os.kill),
        (signal.SIGTERM, [], os.kill),
        (signal.SIGINT, ["data.num_workers=2"], os.killpg),  # as a terminal does, the workers included
        (signal.SIGTERM, ["data.num_workers=2"], os.killpg),  # as timeout and systemd do
    ],
)
def test_a_signal_saves_and_the_run_resumes(
    number: int, more: list[str], kill: Callable[[int, int], None], story: Path, seqlab, tmp_path: Path
) -> None:
    words = [*TASKS["pretraining"].split(), "trainer.max_epochs=100000", *more]
    command = [sys.executable, "-m", "seqlab", "train", *words]
    process = in_group(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/*/*/checkpoints/best.ckpt")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    kill(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (out + err).count("Stopping after this step") == 1
    assert "continue with seqlab train resume=" in err
    assert "Traceback" not in err
    run = only_run(tmp_path)
    said = record(run)
    assert said["status"] == "interrupted"
    assert (run / "checkpoints" / "last.ckpt").exists()
    assert seqlab("train", "resume=last", f"trainer.max_steps={said['steps'] + 3}").status == 0
    assert record(run)["steps"] == said["steps"] + 3


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    interrupt = Interrupt(tmp_path)
    interrupt.handle_signal(signal.SIGINT, None)
    with pytest.raises(Interrupted, match="Stopped at once"):
        interrupt.handle_signal(signal.SIGINT, None)


def test_without_checkpoints_a_signal_still_ends_the_run_after_its_step(
    seqlab, story: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = TrainingMetrics.on_train_batch_end

    def press_ctrl_c(self, trainer, *rest) -> None:
        log(self, trainer, *rest)
        if trainer.global_step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(TrainingMetrics, "on_train_batch_end", press_ctrl_c)
    answer = seqlab("train", *TASKS["pretraining"].split(), "callbacks.checkpoint=null")
    assert answer.status == 130
    assert "Stopped at step 4; nothing was saved" in answer.err
    assert (record(only_run(tmp_path))["status"], record(only_run(tmp_path))["steps"]) == ("interrupted", 4)
