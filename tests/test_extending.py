"""A model, a data set, a tokenizer and a loss each cost one Python file and one yaml, also outside the checkout."""

import sys
from pathlib import Path

import pytest

MODEL = '''
from torch import Tensor, nn


class Bigram(nn.Module):
    """The next token from the last one; only `forward`, no cache, no packing."""

    def __init__(self, vocab_size: int, width: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Embedding(vocab_size, width), nn.Linear(width, vocab_size))

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (B, T) -> logits (B, T, V)"""
        return self.layers(tokens)
'''
DATA = '''
import torch
from seqlab.data.base import DataModule


class Counting(DataModule):
    """Tokens that count upwards."""

    data_properties = ("vocab_size", "context_length")

    def __init__(self, batch_size: int = 4, vocab_size: int = 10, context_length: int = 6) -> None:
        super().__init__(batch_size)
        self.vocab_size, self.context_length = vocab_size, context_length

    def read_splits(self) -> dict:
        """Sixteen windows and four."""
        tokens = (torch.arange(20).unsqueeze(1) + torch.arange(self.context_length + 1)) % self.vocab_size
        pairs = [(row[:-1], row[1:]) for row in tokens]
        return {"train": pairs[:16], "val": pairs[16:]}

    def collate(self, items: list) -> tuple:
        """-> inputs (B, T), targets (B, T)"""
        return tuple(torch.stack(column) for column in zip(*items))
'''
TOKENIZER = '''
from pathlib import Path


class Words:
    """One token per word of the training text."""

    def __init__(self, text: str) -> None:
        self.words = sorted(set(text.split()))
        self.eos_id, self.vocab_size = len(self.words), len(self.words) + 1

    def encode(self, text: str) -> list[int]:
        return [self.words.index(word) for word in text.split()]

    def decode(self, ids: list[int]) -> str:
        return " ".join(self.words[i] for i in ids if i != self.eos_id)

    def save(self, folder: Path) -> None:
        (folder / "words.txt").write_text(" ".join(self.words))

    @classmethod
    def load(cls, folder: Path) -> "Words":
        return cls((folder / "words.txt").read_text())
'''
LOSS = '''
import torch
from seqlab.tasks.forecasting import Forecasting


class Huber(Forecasting):
    """The Huber loss instead of the squared error."""

    def compute_sums(self, batch: tuple) -> dict:
        sums = super().compute_sums(batch)
        windows, targets = batch
        huber = torch.nn.functional.huber_loss(self.model(windows), targets, reduction="sum")
        return sums | {"loss": (huber, sums["loss"][1])}
'''
ADDED = {
    "model": (
        MODEL,
        "bigram",
        "_target_: mylab.Bigram\nwidth: 16\n",
        ["data=text", "data.path=story.txt", "tokenizer=char", "data.context_length=8"],
    ),
    "data": (
        DATA,
        "counting",
        "# @package _global_\ndefaults:\n  - override /task: pretraining\n"
        "data: {_target_: mylab.Counting, batch_size: 4}\ncallbacks: {samples: null}\n",
        ["model=gpt_mini", "model.n_embd=16", "model.n_head=2"],
    ),
    "tokenizer": (
        TOKENIZER,
        "words",
        "_target_: mylab.Words\n",
        ["data=text", "data.path=story.txt", "model=gpt_mini", "model.n_embd=16", "data.context_length=8"],
    ),
    "task": (LOSS, "huber", "# @package _global_\ntask: {_target_: mylab.Huber}\noptimizer: {lr: 0.02}\n", []),
}


@pytest.mark.parametrize("group", ADDED)
def test_one_file_and_one_yaml(
    group: str, seqlab, story: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, name, text, words = ADDED[group]
    (tmp_path / "mylab.py").write_text(code)
    (tmp_path / "mine" / group).mkdir(parents=True)
    (tmp_path / "mine" / group / f"{name}.yaml").write_text(text)
    monkeypatch.delitem(sys.modules, "mylab", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    common = ["--config-dir", "mine", "allow=[mylab]", "device=cpu", "trainer.max_steps=3", *words]
    answer = seqlab("train", f"{group}={name}", *common)
    assert answer.status == 0, answer.err
    assert seqlab("evaluate", "run=last", "split=train", "allow=[mylab]").status == 0
    if group in ("model", "tokenizer"):
        answer = seqlab("generate", "run=last", "prompt=The river", "max_new_tokens=5", "allow=[mylab]")
        assert answer.status == 0
        assert answer.out.startswith("The river")
