"""Mistakes in one's own yaml and Python file, and of keys that Lightning, Hydra and torch know: a sentence each."""

import importlib
import json
import sys
import threading
from pathlib import Path

import pytest
import yaml

import seqlab as package
from seqlab.errors import UserError

CODE = """
from collections import deque

from lightning.pytorch import Callback
from torch import nn


class Own(nn.Module):
    def __init__(self, vocab_size: int, width: int, layers: int = 1, transposed: bool = False) -> None:
        super().__init__()
        self.transposed = transposed
        self.embedding, self.head = nn.Embedding(vocab_size, width), nn.Linear(width, vocab_size)

    def forward(self, tokens):
        logits = self.head(self.embedding(tokens))
        return logits.transpose(1, 2) if self.transposed else logits


class Silent(Own):
    def forward(self, tokens):
        pass


def no_schedule(optimizer, total_steps: int, **others):
    pass


class Meter(Callback):
    def state_dict(self):
        return {"last": deque([1.0])}


class NoModel:
    def __init__(self, vocab_size: int, width: int) -> None:
        pass
"""
TEXT = ["data=text", "data.path=story.txt", "tokenizer=char", "data.context_length=16", "device=cpu"]
TEXT += ["trainer.max_steps=1", "callbacks.samples=null"]
OWN = [*TEXT, "model=own", "--config-dir", "mine", "allow=[wronglab]"]


@pytest.fixture
def write(tmp_path: Path, story: Path, monkeypatch: pytest.MonkeyPatch):
    """Write mine/model/own.yaml."""
    (tmp_path / "wronglab.py").write_text(CODE)
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "mine" / "model").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("SEQLAB_ALLOW", "")
    importlib.invalidate_caches()
    return lambda keys: (tmp_path / "mine" / "model" / "own.yaml").write_text(f"_target_: wronglab.Own\n{keys}")


@pytest.mark.parametrize(
    ("keys", "words", "message"),
    [
        ("widht: 32", [], "model.widht is not a keyword of Own. Did you mean width?"),
        ("", [], "model needs width: set model.width=…."),
        ("width: wide", [], "model.width=wide does not fit: it must be a whole number"),
        (
            "width: 8",
            ["model.layers=2"],
            "It is a keyword of Own that the yaml leaves out: add it with +model.layers=2.",
        ),
        ("width: 8\ntransposed: true", [], "Own gives (8, 30, 16) instead of logits (B, T, V), (8, 16, 30): fix it."),
        (
            "width: 8",
            ["model._target_=wronglab.NoModel"],
            "wronglab.NoModel gives NoModel instead of a Module: fix it",
        ),
        ("width: 8", ["model._target_=wronglab.Silent"], "Silent.forward gives nothing instead of a Tensor: fix it"),
        (
            "width: 8",
            ["+callbacks.x={_target_:wronglab.NoModel,vocab_size:1,width:1}"],
            "NoModel gives NoModel instead of a Callback",
        ),
        (
            "width: 8",
            ["+callbacks.x={_target_:wronglab.Meter}"],
            "The state_dict of the callback Meter holds collections.deque, which cannot be read back: keep tensors",
        ),
        (
            "width: 8",
            ["+callbacks.x={_target_:leaves.Meter}", "allow=[wronglab,leaves]"],
            "leaves ends Python when it is imported (sys.exit(0)): put what it runs as a script below if __name__",
        ),
        (
            "width: 8",
            ["schedule._target_=wronglab.no_schedule", "~schedule.warmup_steps"],
            "schedule: what it names gives nothing instead of a LRScheduler or ReduceLROnPlateau: fix it",
        ),
        ("width: 8", ["allow=[]"], "if you trust it, type allow=[wronglab], or set SEQLAB_ALLOW=wronglab"),
        ("width: 8", ["--config-dir", "."], "--config-dir takes one folder"),
        ("width: 8\nwidth: 9", [], "own.yaml is not YAML: width stands twice in line"),
        ("defaults: [own]\nwidth: 8", [], "The defaults of a yaml of yours lead back to itself"),
        ("width: [8", [], "own.yaml is not YAML: while parsing a flow sequence in line"),
    ],
)
def test_a_mistake_in_an_own_yaml(keys: str, words: list[str], message: str, seqlab, write, tmp_path: Path) -> None:
    write(keys)
    answer = seqlab("train", *OWN, *words)
    assert answer.status == 1
    assert message in answer.err
    assert "Traceback" not in answer.err
    assert not list(tmp_path.glob("runs/*/*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trainer.benchmark=true"], "add it with +trainer.benchmark=true"),
        (["trainer.val_check_interval=0"], "trainer.val_check_interval=0 does not fit"),
        (["trainer.val_check_interval=1.5"], "trainer.val_check_interval=1.5 does not fit"),
        (["trainer.limit_train_batches=0.0001"], "Please increase the `limit_train_batches` argument"),
        (
            ["data.val_fraction=0.2", "trainer.limit_val_batches=0.0001"],
            "Please increase the `limit_val_batches` argument",
        ),
        (["trainer.devices=[0]"], "names GPUs by number, and a CPU has none"),
        (["trainer.precision=16-mixed"], "needs a GPU: use bf16-mixed or 32-true on a CPU"),
        (
            ["data.val_fraction=0.2", "trainer.limit_train_batches=0.5", "trainer.val_check_interval=8"],
            "is more than the",
        ),
    ],
)
def test_keys_of_lightning(words: list[str], message: str, seqlab) -> None:
    answer = seqlab("train", "device=cpu", "trainer.max_epochs=1", "data.batch_size=100", *words)
    assert answer.status == 1
    assert message in answer.err
    assert "Traceback" not in answer.err


def test_a_key_of_ones_own_is_for_others_to_refer_to(seqlab, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    text = "# @package _global_\nwidth: 7\nmodel: {hidden_size: '${width}'}\n"
    (folder / "wide.yaml").write_text(text)
    words = ["train", "experiment=wide", "--config-dir", "mine", "device=cpu", "trainer.max_epochs=1"]
    assert seqlab(*words, "width=9").status == 0
    (run,) = tmp_path.glob("runs/*/*")
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["hidden_size"] == 9
    assert "width" not in config
    (folder / "wide.yaml").write_text(f"{text}depth: 2\n")
    assert "There is no depth in a run's config." in seqlab(*words).err


def test_a_path_may_hold_what_omegaconf_interpolates(seqlab, story: Path, tmp_path: Path) -> None:
    odd = tmp_path / "a ${b} $HOME"
    odd.mkdir()
    (odd / "story.txt").write_text(story.read_text())
    words = ["data=text", f"data.path={odd}/story.txt", *TEXT[2:], "model=gpt_mini", f"paths.runs={odd}/runs"]
    answer = seqlab("train", *words)
    assert answer.status == 0, answer.err
    (run,) = odd.glob("runs/*/*")
    assert seqlab("evaluate", f"run={run}", "split=val").status == 0
    assert seqlab("train", f"resume={run}", "trainer.max_steps=2").status == 0


def test_a_run_in_a_thread_and_the_process_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(2)
    config, found = package.compose(["model=gru", "device=cpu", "trainer.max_epochs=1"]), []
    thread = threading.Thread(target=lambda: found.append(package.train(config)))
    thread.start()
    thread.join()
    assert found[0].metrics["train/loss"] > 0
    package.train(config)
    assert torch.get_num_threads() == 2  # the sine's recipe uses one


def test_a_damaged_run_is_not_the_last_one(seqlab, tmp_path: Path) -> None:
    assert seqlab("train", "device=cpu", "trainer.max_epochs=1").status == 0
    (tmp_path / "runs" / "2020-01-01" / "broken").mkdir(parents=True)
    (tmp_path / "runs" / "2020-01-01" / "broken" / "run.json").write_text('{"format": 2, "sta')
    assert seqlab("evaluate", "run=last", "split=test").status == 0


def test_a_damaged_adapter_is_named(seqlab, story: Path, tmp_path: Path) -> None:
    small = ["model=gpt_mini", "model.n_layer=1", "model.n_head=2", "model.n_embd=16"]
    assert seqlab("train", *TEXT, *small, "adapter=lora").status == 0
    (file,) = tmp_path.glob("runs/*/*/adapter/adapter_model.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    answer = seqlab("generate", "run=last", "prompt=The")
    assert answer.status == 1
    assert f"{file} is damaged" in answer.err


def test_a_metric_stands_at_the_step_at_which_it_was_measured(seqlab, tmp_path: Path) -> None:
    words = ["device=cpu", "data.val_fraction=0.2", "data.batch_size=100", "trainer.max_epochs=2"]
    words += ["trainer.val_check_interval=4", "objective.mode=max"]  # best is the first validation
    assert seqlab("train", *words).status == 0
    (run,) = tmp_path.glob("runs/*/*")
    points = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [(point["step"], "val/loss" in point, "train/loss" in point) for point in points] == [
        (4, True, False),
        (7, False, True),
        (11, True, False),
        (14, True, True),  # the last weights are validated, whatever the interval
    ]
    metrics = json.loads((run / "run.json").read_text())["metrics"]
    assert metrics["best"]["val/loss"] == points[0]["val/loss"]
    assert "train/loss" not in metrics["best"]  # none was measured in mid-epoch
    assert "test/mse" in metrics["best"]
    assert "test/mse" not in metrics["last"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optimizer.lr=["], "optimizer.lr=[ cannot be read"),
        (["--config-dir", "mine"], "--config-dir has no effect here"),
        (["objective.metric=val/mae"], "objective.metric=val/mae cannot be changed"),
    ],
)
def test_what_a_resume_refuses(words: list[str], message: str, seqlab) -> None:
    assert seqlab("train", "device=cpu", "trainer.max_epochs=1", "data.val_fraction=0.1").status == 0
    answer = seqlab("train", "resume=last", "trainer.max_epochs=2", *words)
    assert answer.status == 1
    assert message in answer.err
    assert "Traceback" not in answer.err


def test_code_that_was_allowed_and_is_not_used_is_not_called_edited(seqlab, write, monkeypatch) -> None:
    assert seqlab("train", *TEXT, "model=gpt_mini", "allow=[wronglab]").status == 0
    monkeypatch.setenv("SEQLAB_ALLOW", "")
    answer = seqlab("evaluate", "run=last", "split=val")
    assert answer.status == 0, answer.err
    assert "edited" not in answer.err


def test_edited_code_is_said(seqlab, write, tmp_path: Path) -> None:
    write("width: 8")
    assert seqlab("train", *OWN).status == 0
    (run,) = tmp_path.glob("runs/*/*")
    assert "edited" not in seqlab("evaluate", f"run={run}", "split=val", "allow=[wronglab]").err
    (tmp_path / "wronglab.py").write_text(CODE + "# edited\n")
    answer = seqlab("evaluate", f"run={run}", "split=val", "allow=[wronglab]")
    assert answer.status == 0
    assert f"wronglab.py was edited since {run} was trained with it" in answer.err
    answer = seqlab("reproduce", f"run={run}")
    assert f"code {tmp_path}/wronglab.py" in answer.out
    assert "also differs:" in answer.out


def test_help_lists_ones_own_options(write, seqlab) -> None:
    write("width: 8  # channels")
    assert "\n  own\n" in seqlab("train", "--config-dir", "mine", "--help").out
    assert "\n  own\n" not in seqlab("train", "--help").out


def test_load_may_allow(write, seqlab, monkeypatch: pytest.MonkeyPatch) -> None:
    write("width: 8")
    assert seqlab("train", *OWN).status == 0
    monkeypatch.setenv("SEQLAB_ALLOW", "")
    with pytest.raises(UserError, match=r"type allow=\[wronglab\]"):
        package.load("last")
    assert package.load("last", allow=["wronglab"]).generate("The", max_new_tokens=3)
