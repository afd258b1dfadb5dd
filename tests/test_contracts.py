"""What the contracts of models, adapters and tasks carry: code outside the checkout, one file each, and no edit elsewhere.

The recurrent language model, the adapter and the task with a reference are those of docs/extending.md; the second family
stands here.
"""

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from seqlab.batch import Batch
from seqlab.generation.generate import generate_tokens
from seqlab.generation.next_token import SamplingOptions
from seqlab.serving.engine import load_run
from seqlab.tasks.losses import token_nll

EXTENDING = (Path(__file__).parents[1] / "docs" / "extending.md").read_text()
AVERAGING = '''
"""A second family: each token sees the mean of what its document has said so far."""

import torch
from torch import Tensor, nn


class Memory:
    """Sum of the tokens read, and how many, for each row."""

    def __init__(self, batch_size: int, weight: Tensor) -> None:
        self.total = weight.new_zeros(batch_size, weight.size(1))
        self.lengths = torch.zeros(batch_size, dtype=torch.int64)


class Averaging(nn.Module):
    def __init__(self, vocab_size: int, context_length: int, width: int = 16) -> None:
        super().__init__()
        self.context_length, self.width = context_length, width
        self.embedding = nn.Embedding(vocab_size, width)
        self.mix = nn.Linear(2 * width, width)
        self.head = nn.Linear(width, vocab_size)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (B, T) -> logits (B, T, V)"""
        return self.head(self.hidden(tokens))

    def init_cache(self, batch_size: int) -> Memory:
        return Memory(batch_size, self.head.weight)

    def hidden(self, tokens: Tensor, *, document_ids: Tensor | None = None, cache: Memory | None = None) -> Tensor:
        """tokens (B, T), document_ids (B, T) -> (B, T, C)"""
        x = self.embedding(tokens)  # (B, T, C)
        ids = torch.zeros_like(tokens) if document_ids is None else document_ids
        sees = (ids.unsqueeze(2) == ids.unsqueeze(1)).tril().to(x)  # (B, T, T)
        total, count = sees @ x, sees.sum(-1)  # (B, T, C), (B, T)
        if cache:
            total, count = total + cache.total.unsqueeze(1), count + cache.lengths.unsqueeze(1).to(count.device)
            cache.total, cache.lengths = total[:, -1], cache.lengths + tokens.size(1)
        return torch.tanh(self.mix(torch.cat([x, total / count.unsqueeze(-1)], dim=-1)))
'''
TEXT = [
    "data=text",
    "data.path=story.txt",
    "tokenizer=char",
    "data.context_length=16",
    "data.batch_size=24",
    "device=cpu",
]
GPT = ["model=gpt_mini", "model.n_layer=1", "model.n_head=2", "model.n_embd=16", "model.dropout=0"]
MINE = ["--config-dir", "mine", "allow=[mylab]"]


def example(title: str) -> str:
    """The last Python file of a section of docs/extending.md."""
    section = re.split(r"^#{2,3} ", EXTENDING, flags=re.MULTILINE)
    (text,) = [part for part in section if part.startswith(title)]
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)[-1]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, story: Path) -> Any:
    """Write mylab.py and a yaml outside the checkout; the module."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def write_files(code: str, group: str, name: str, node: dict[str, Any], header: str = "") -> Any:
        (tmp_path / "mylab.py").write_text(code)
        (tmp_path / "mine" / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / group / f"{name}.yaml").write_text(header + yaml.safe_dump(node))
        sys.modules.pop("mylab", None)
        importlib.invalidate_caches()
        return importlib.import_module("mylab")

    return write_files


def info(run: Path) -> dict[str, Any]:
    """run.json."""
    return json.loads((run / "run.json").read_text())


def runs(folder: Path) -> list[Path]:
    """All runs, the first one first."""
    return sorted(folder.glob("runs*/*/*"), key=lambda run: info(run)["started"])


def state(run: Path) -> dict[str, torch.Tensor]:
    """The tensors of last.ckpt."""
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def assert_cached_equals_uncached(model: Any, vocabulary: int) -> None:
    """Greedy tokens with a cache are those of the bare forward."""
    prompt, tokens = [1, 2, 3], [1, 2, 3]
    for _ in range(10):
        tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    assert list(generate_tokens(model, prompt, SamplingOptions(max_new_tokens=10))) == tokens[3:]
    inputs = torch.randint(vocabulary, (2, 9), generator=torch.Generator().manual_seed(0))
    cache = model.init_cache(2)
    pieces = [model.head(model.hidden(piece, cache=cache)) for piece in inputs.split([4, 1, 4], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, 1), model(inputs), rtol=0, atol=1e-5)
    assert cache.lengths.tolist() == [9, 9]


def assert_chunks_change_nothing(model: Any, vocabulary: int, **batch: Any) -> None:
    """A loss in chunks has the same values and gradients."""
    inputs = torch.randint(vocabulary, (2, 12), generator=torch.Generator().manual_seed(0))
    whole, chunked = (token_nll(model, Batch(inputs, inputs.roll(-1, 1), **batch), chunk) for chunk in (None, 5))
    torch.testing.assert_close(chunked, whole, rtol=0, atol=1e-5)
    parameters = list(model.parameters())
    for one, other in zip(*(torch.autograd.grad(loss.sum(), parameters) for loss in (whole, chunked)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def assert_resumes_exactly(seqlab: Any, folder: Path, *words: str) -> Path:
    """A run stopped in mid-epoch ends with the weights and metrics of one left alone; the latter."""
    assert seqlab("train", *words, "trainer.max_epochs=2", "paths.runs=runs-whole").status == 0
    assert seqlab("train", *words, "trainer.max_epochs=2", "trainer.max_steps=4").status == 0
    answer = seqlab("train", "resume=last", "trainer.max_steps=-1", "allow=[mylab]")
    assert answer.status == 0, answer.err
    (whole,), (resumed,) = folder.glob("runs-whole/*/*"), folder.glob("runs/*/*")
    one, other = state(whole), state(resumed)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert info(whole)["metrics"] == info(resumed)["metrics"]
    return whole


def test_a_second_family_is_trained_packed_chunked_cached_adapted_and_resumed(seqlab, write, tmp_path: Path) -> None:
    mylab = write(AVERAGING, "model", "averaging", {"_target_": "mylab.Averaging"})
    torch.manual_seed(0)
    model = mylab.Averaging(20, 16).eval()
    assert_cached_equals_uncached(model, 20)
    documents = torch.tensor([[0] * 5 + [1] * 7, [0] * 2 + [1] * 4 + [2] * 6])
    assert_chunks_change_nothing(model, 20)
    assert_chunks_change_nothing(model, 20, document_ids=documents)
    inputs = torch.randint(20, (2, 12), generator=torch.Generator().manual_seed(0))
    packed = token_nll(model, Batch(inputs, inputs, documents))
    alone = token_nll(model, Batch(inputs[1:, 2:6], inputs[1:, 2:6]))
    torch.testing.assert_close(packed[1:, 2:6], alone)

    words = ["model=averaging", *TEXT, *MINE, "task.loss_chunk=3"]
    whole = assert_resumes_exactly(seqlab, tmp_path, *[word.replace("task.", "+task.") for word in words])
    answer = seqlab("generate", f"run={whole}", "prompt=The river", "max_new_tokens=30", "allow=[mylab]")
    assert answer.status == 0
    assert len(answer.out) == len("The river") + 30 + 1
    lora = ["adapter=lora", "adapter.targets=[mix]", f"init_from={whole}", *TEXT[:2], *MINE, "device=cpu"]
    answer = seqlab("train", *lora, "trainer.max_steps=3")
    assert answer.status == 0, answer.err
    assert set(state(runs(tmp_path)[-1])) >= {"model.mix.lora_A.weight", "model.mix.lora_B.weight"}


def test_a_recurrent_language_model_generates_with_its_state(seqlab, write, tmp_path: Path) -> None:
    mylab = write(example("A model"), "model", "gru_lm", {"_target_": "mylab.GRULanguageModel", "width": 16})
    torch.manual_seed(0)
    model = mylab.GRULanguageModel(20, 16).eval()
    assert_cached_equals_uncached(model, 20)
    assert_chunks_change_nothing(model, 20)
    whole = assert_resumes_exactly(seqlab, tmp_path, "model=gru_lm", *TEXT, *MINE)
    words = ["generate", f"run={whole}", "prompt=The mill", "temperature=1", "allow=[mylab]"]
    assert seqlab(*words, "seed=3").out == seqlab(*words, "seed=3").out != seqlab(*words, "seed=4").out


def test_an_adapter_of_ones_own_is_saved_resumed_evaluated_and_merged(seqlab, write, tmp_path: Path) -> None:
    mylab = write(example("An adapter"), "adapter", "bitfit", {"_target_": "mylab.BitFit"})
    assert seqlab("train", *TEXT, *GPT, "trainer.max_epochs=1", "paths.runs=bases").status == 0
    (base,) = tmp_path.glob("bases/*/*")
    words = ["adapter=bitfit", f"init_from={base}", *TEXT[:2], "data.batch_size=24", "device=cpu", *MINE]
    whole = assert_resumes_exactly(seqlab, tmp_path, *words)
    kept = {name for name in state(whole) if name.startswith("model.")}
    assert kept
    assert all(name.endswith("bias") for name in kept)
    said = info(whole)
    assert said["checkpoints"]["best"] == "adapter"
    assert said["parameters"]["trainable"] < said["parameters"]["total"] / 5
    assert seqlab("evaluate", f"run={whole}", "split=val", "allow=[mylab]").status == 0
    measured = json.loads((whole / "evaluations" / "text-val-best.json").read_text())["metrics"]["val/loss"]
    assert measured == pytest.approx(said["metrics"]["best"]["val/loss"], rel=1e-5)
    assert seqlab("generate", f"run={whole}", "prompt=The mill", "max_new_tokens=3", "allow=[mylab]").status == 0
    assert (
        seqlab("train", f"init_from={whole}", *TEXT[:2], "trainer.max_steps=1", "device=cpu", "allow=[mylab]").status
        == 0
    )

    model, tokens = load_run(base, accelerator="cpu").model, torch.arange(8).unsqueeze(0)
    before, adapter = model(tokens), mylab.BitFit()
    adapter.apply(model)
    adapter.load(model, whole / "adapter")
    assert not torch.equal(model(tokens), before)
    with adapter.disabled(model):
        assert torch.equal(model(tokens), before)


@pytest.mark.parametrize("adapter", [[], ["adapter=lora"], ["adapter=bitfit"]])
def test_a_task_with_a_reference_compares_with_the_model_before_training(
    adapter: list[str], seqlab, write, tmp_path: Path
) -> None:
    write(example("An adapter"), "adapter", "bitfit", {"_target_": "mylab.BitFit"})
    write(
        example("An adapter") + example("A loss that compares"),
        "task",
        "anchored",
        {"defaults": ["pretraining", "_self_"], "task": {"_target_": "mylab.Anchored", "beta": 0.5}},
        header="# @package _global_\n",
    )
    assert seqlab("train", *TEXT, *GPT, "trainer.max_epochs=1", "paths.runs=bases").status == 0
    (base,) = tmp_path.glob("bases/*/*")
    words = ["task=anchored", f"init_from={base}", *TEXT[:2], "data.batch_size=24", "device=cpu", *adapter, *MINE]
    whole = assert_resumes_exactly(seqlab, tmp_path, *words, "optimizer.lr=1e-2")
    said = info(whole)
    assert said["metrics"]["last"]["val/kl"] > 0
    assert not [name for name in state(whole) if "reference" in name]
    assert seqlab("evaluate", f"run={whole}", "split=val", "checkpoint=last", "allow=[mylab]").status == 0
    measured = json.loads((whole / "evaluations" / "text-val-last.json").read_text())["metrics"]
    assert measured["val/kl"] == pytest.approx(said["metrics"]["last"]["val/kl"], rel=1e-4)
    assert seqlab("train", *words, "optimizer.lr=0", "trainer.max_steps=1").status == 0
    assert info(runs(tmp_path)[-1])["metrics"]["last"]["val/kl"] == pytest.approx(0, abs=1e-6)
