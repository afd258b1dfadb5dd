"""What a run trained comes back: frozen parts, buffers, adapters, whatever the seed, the resume and the base."""

import importlib
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

CODE = """
import torch
from torch import nn


class Positions(nn.Module):
    def __init__(self, vocab_size: int, context_length: int, is_buffer: bool = False) -> None:
        super().__init__()
        self.embedding, self.mix, self.head = nn.Embedding(vocab_size, 8), nn.Linear(8, 8), nn.Linear(8, vocab_size)
        positions = torch.linspace(0, 1, context_length).unsqueeze(1).repeat(1, 8)
        if is_buffer:
            self.register_buffer("positions", positions)
        else:
            self.positions = nn.Parameter(positions, requires_grad=False)

    def forward(self, tokens):
        return self.head(torch.tanh(self.mix(self.embedding(tokens) + self.positions[: tokens.size(1)])))


def two_groups(params, lr: float = 0.1, weight_decay: float = 0.5):
    params = list(params)
    groups = [{"params": params[:1]}, {"params": params[1:], "lr": lr / 10, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay)
"""
TEXT = ["data=text", "data.path=story.txt", "tokenizer=char", "data.context_length=16", "data.batch_size=24"]
TEXT += ["device=cpu", "callbacks.samples=null", "model.dropout=0"]
GPT = [*TEXT, "model=gpt_mini", "model.n_layer=1", "model.n_head=2", "model.n_embd=16"]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, story: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model and an optimizer of a user's own."""
    (tmp_path / "frozenlab.py").write_text(CODE)
    for group, node in (("model", "Positions"), ("optimizer", "two_groups\n_partial_: true\nlr: 0.1")):
        (tmp_path / "mine" / group).mkdir(parents=True)
        (tmp_path / "mine" / group / "own.yaml").write_text(f"_target_: frozenlab.{node}\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("SEQLAB_ALLOW", "frozenlab")
    importlib.invalidate_caches()


def newest(folder: Path) -> Path:
    return max(folder.glob("runs*/*/*"), key=lambda run: json.loads((run / "run.json").read_text())["started"])


def state(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


OWN = ["model=own", "--config-dir", "mine"]


def test_a_frozen_parameter_of_a_model_stays_in_its_checkpoint(seqlab, tmp_path: Path) -> None:
    words = [*TEXT[:-1], *OWN, "data.val_fraction=0"]
    assert seqlab("train", *words, "trainer.max_steps=2").status == 0
    assert "model.positions" in state(newest(tmp_path))
    assert seqlab("train", "resume=last", "trainer.max_steps=4").status == 0
    assert seqlab("generate", "run=last", "prompt=The", "max_new_tokens=2").status == 0


def test_an_adapter_on_a_model_with_a_buffer_is_resumed_and_evaluated(seqlab) -> None:
    words = [*TEXT[:-1], *OWN, "+model.is_buffer=true", "adapter=lora", "adapter.targets=[mix]"]
    assert seqlab("train", *words, "trainer.max_steps=2").status == 0
    answer = seqlab("train", "resume=last", "trainer.max_steps=4")
    assert answer.status == 0, answer.err
    assert seqlab("evaluate", "run=last", "split=val", "checkpoint=last").status == 0


def test_an_adapter_without_validation_is_that_of_the_last_end(seqlab, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    assert seqlab("train", *GPT, "adapter=lora", "data.val_fraction=0", "trainer.max_steps=2").status == 0
    assert seqlab("train", "resume=last", "trainer.max_steps=5").status == 0
    run = newest(tmp_path)
    saved = load_file(run / "adapter" / "adapter_model.safetensors")
    trained = [tensor for name, tensor in state(run).items() if "lora" in name]
    assert trained
    assert all(any(torch.equal(tensor, other) for other in saved.values()) for tensor in trained)


def test_adapters_of_other_seeds_begin_elsewhere(seqlab, tmp_path: Path) -> None:
    assert seqlab("train", *GPT, "trainer.max_steps=1", "paths.runs=base").status == 0
    (base,) = tmp_path.glob("base/*/*")
    firsts = []
    for seed in (1, 2):
        words = [*TEXT[:2], "adapter=lora", f"init_from={base}", "optimizer.lr=0", f"seed={seed}", "device=cpu"]
        assert seqlab("train", *words, "trainer.max_steps=1").status == 0
        firsts.append(next(tensor for name, tensor in state(newest(tmp_path)).items() if "lora_A" in name))
    assert not torch.equal(*firsts)


USES = {"evaluate": ["split=val"], "generate": ["prompt=The", "max_new_tokens=4"]}


@pytest.mark.parametrize("verb", ["evaluate", "generate", "train"])
def test_a_base_that_has_changed_is_refused(verb: str, seqlab, tmp_path: Path) -> None:
    assert seqlab("train", *GPT, "trainer.max_steps=1", "paths.runs=base").status == 0
    (base,) = tmp_path.glob("base/*/*")
    words = [*TEXT[:2], "adapter=lora", f"init_from={base}", "device=cpu", "callbacks.samples=null"]
    assert seqlab("train", *words, "trainer.max_steps=1").status == 0
    run = newest(tmp_path / ".")
    assert seqlab("train", f"resume={base}", "trainer.max_steps=9").status == 0
    before = (run / "run.json").read_bytes()
    rest = {
        "evaluate": [f"run={run}", "split=val"],
        "generate": [f"run={run}", "prompt=The"],
        "train": [f"resume={run}", "trainer.max_steps=2"],
    }
    answer = seqlab(verb, *rest[verb])
    assert answer.status == 1
    assert f"{base} is not what {run} was started from" in answer.err
    assert (run / "run.json").read_bytes() == before


def test_a_base_that_has_moved_is_named(seqlab, tmp_path: Path) -> None:
    assert seqlab("train", *GPT, "trainer.max_steps=1", "paths.runs=base").status == 0
    (base,) = tmp_path.glob("base/*/*")
    words = [*TEXT[:2], "adapter=lora", f"init_from={base}", "device=cpu", "callbacks.samples=null", "name=tuned"]
    assert seqlab("train", *words, "trainer.max_steps=1").status == 0
    at_home = {verb: seqlab(verb, "run=tuned", *rest).out for verb, rest in USES.items()}
    base.rename(tmp_path / "moved")
    for verb, rest in USES.items():
        answer = seqlab(verb, "run=tuned", *rest)
        assert answer.status == 1
        assert (
            f"needs its base, {base}, which is not there: bring it back. If it has moved, type init_from=" in answer.err
        )
        assert seqlab(verb, "run=tuned", *rest, "init_from=moved").out == at_home[verb]
    assert "needs its base" in seqlab("train", "resume=tuned", "trainer.max_steps=2").err
    assert "needs its base" in seqlab("reproduce", "run=tuned").err
    assert "equal bit for bit" in seqlab("reproduce", "run=tuned", "init_from=moved").out
    answer = seqlab("train", "resume=tuned", "trainer.max_steps=2", "init_from=moved")
    assert answer.status == 0, answer.err
    assert "init_from:" in answer.out
    assert seqlab("evaluate", "run=tuned", "split=val").status == 0  # it is in the config now


@pytest.mark.parametrize("verb", ["evaluate", "generate", "train"])
def test_a_lost_tokenizer_is_not_learned_anew(verb: str, seqlab, tmp_path: Path) -> None:
    assert seqlab("train", *GPT, "trainer.max_steps=1", "name=whole").status == 0
    (run,) = tmp_path.glob("runs/*/*-whole")
    shutil.rmtree(run / "tokenizer")
    words = {"train": ["resume=whole", "trainer.max_steps=2"], "generate": ["run=whole", "prompt=The"]}
    answer = seqlab(verb, *words.get(verb, ["run=whole", "split=val"]))
    assert answer.status == 1
    assert "tokenizer" in answer.err
    assert "restore it" in answer.err
    assert "Traceback" not in answer.err
    assert not (run / "tokenizer").exists()


def test_a_place_of_a_base_that_is_not_used_is_refused(seqlab, tmp_path: Path) -> None:
    assert seqlab("train", *GPT, "trainer.max_steps=1", "name=whole").status == 0
    for verb, rest in USES.items():
        assert "init_from=there has no effect" in seqlab(verb, "run=whole", *rest, "init_from=there").err
    assert "init_from=there has no effect" in seqlab("reproduce", "run=whole", "init_from=there").err


def test_parameter_groups_keep_what_is_theirs(seqlab, tmp_path: Path) -> None:
    words = [*GPT, "optimizer=own", "--config-dir", "mine", "trainer.max_steps=1"]
    answer = seqlab("train", *words)
    assert answer.status == 0, answer.err
    assert seqlab("train", "resume=last", "trainer.max_steps=3").status == 0
    saved = torch.load(newest(tmp_path) / "checkpoints" / "last.ckpt", weights_only=True)
    groups = saved["optimizer_states"][0]["param_groups"]
    assert [(group["initial_lr"], group["weight_decay"]) for group in groups] == [
        (pytest.approx(0.1), 0.5),
        (pytest.approx(0.01), 0.0),
    ]
