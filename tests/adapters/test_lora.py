"""LoRA: published counts, exact merging, a frozen base, and PEFT's file format."""

import copy
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from seqlab.adapters.base import read_metadata
from seqlab.adapters.lora import LoRA
from seqlab.adapters.low_rank import LoRALinear, LowRankOptions
from seqlab.errors import UserError
from seqlab.models.gpt import GPT

BLOCK = ("query", "key", "value", "output", "up", "down")


def tiny(**changes: Any) -> GPT:
    torch.manual_seed(0)
    size = {"vocab_size": 50, "context_length": 12, "n_layer": 2, "n_head": 2, "n_embd": 16, "qkv_bias": True}
    return GPT(**(size | changes)).eval()


def tokens(rows: int = 3) -> torch.Tensor:
    return torch.randint(50, (rows, 12), generator=torch.Generator().manual_seed(1))


def adapter(**choices: Any) -> LoRA:
    return LoRA(**({"rank": 4, "alpha": 8} | choices))


def trained(**choices: Any) -> nn.Module:
    """An adapter after steps that make it matter."""
    model = adapter(**choices).apply(tiny())
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for _ in range(4):
        F.cross_entropy(model(tokens()[:, :-1]).flatten(0, 1), tokens()[:, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def difference(one: nn.Module, other: nn.Module) -> float:
    with torch.inference_mode():
        return (one(tokens()) - other(tokens())).abs().max().item()


@pytest.mark.parametrize(
    ("targets", "count"),  # at rank 8, REFERENCE section 3
    [
        (("query", "value"), 294_912),
        (("query", "key", "value"), 442_368),
        (BLOCK, 1_327_104),
        ((*BLOCK, "head"), 1_735_304),
    ],
)
@pytest.mark.parametrize("times", [1, 2])
def test_trainable_parameters_of_gpt2_small(targets: tuple[str, ...], count: int, times: int) -> None:
    with torch.device("meta"):
        model = LoRA(rank=8 * times, targets=targets).apply(GPT(50_257, 256))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == times * count
    assert sum(p.numel() for p in model.parameters() if not p.requires_grad) == 162_419_712


def test_a_new_adapter_changes_nothing() -> None:
    model = tiny()
    before = model(tokens())
    assert torch.equal(LoRA(targets=BLOCK).apply(model)(tokens()), before)


def test_scale_is_alpha_over_rank() -> None:
    base = nn.Linear(5, 3)
    layer = LoRALinear(base, LowRankOptions(rank=4, scale=10 / 4))
    nn.init.normal_(layer.lora_B.weight)
    x = torch.randn(7, 5)
    expected = base(x) + 10 / 4 * x @ layer.lora_A.weight.T @ layer.lora_B.weight.T
    torch.testing.assert_close(layer(x), expected)


def test_only_the_adapter_is_trained() -> None:
    before = copy.deepcopy(tiny().state_dict())
    after = {name.replace(".base.", "."): tensor for name, tensor in trained(targets=BLOCK).state_dict().items()}
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert all(tensor.any() for name, tensor in after.items() if "lora_B" in name)


def test_merging_keeps_the_logits_and_is_idempotent() -> None:
    adapted = trained(targets=(*BLOCK, "head"))
    assert difference(adapted, tiny()) > 0.1
    merged = LoRA().merge(copy.deepcopy(adapted))
    assert difference(adapted, merged) < 1e-5
    assert set(merged.state_dict()) == set(tiny().state_dict())
    weights = copy.deepcopy(merged.state_dict())
    again = LoRA().merge(merged).state_dict()
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_disabled_is_the_base_also_after_an_error() -> None:
    adapted = trained(targets=BLOCK)
    before = adapted(tokens())
    with LoRA().disabled(adapted):
        assert torch.equal(adapted(tokens()), tiny()(tokens()))
    assert torch.equal(adapted(tokens()), before)
    with suppress(ZeroDivisionError), LoRA().disabled(adapted):
        raise ZeroDivisionError
    assert torch.equal(adapted(tokens()), before)


def test_dropout_applies_in_training_only() -> None:
    model = trained(dropout=0.5)
    assert torch.equal(model(tokens()), model(tokens()))
    model.train()
    assert not torch.equal(model(tokens()), model(tokens()))


@pytest.mark.parametrize(
    ("targets", "tie_embeddings", "message"),
    [
        (("query", "c_attn"), False, "c_attn names no layer that can be adapted; this model has down, head, key"),
        (("token_embedding",), True, "token_embedding shares its weight"),
        ((r"blocks\.(",), False, "neither a name nor a regular expression"),
        ((r"blocks\.9\..*",), False, "names no layer"),
        (("query", "head"), True, "head shares its weight"),
    ],
)
def test_targets_that_do_not_fit_are_refused(targets: tuple[str, ...], tie_embeddings: bool, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LoRA(targets=targets).apply(tiny(tie_embeddings=tie_embeddings))


def test_a_folder_gives_the_adapter_back(tmp_path: Path) -> None:
    choices = {"rank": 3, "alpha": 7, "dropout": 0.25, "targets": ("key", "down")}
    adapted = trained(**choices)
    adapter(**choices).save(adapted, tmp_path / "adapter", {"global_step": "4"})
    described = adapter(**choices)
    restored = described.load(described.apply(tiny()), tmp_path / "adapter").eval()
    assert read_metadata(tmp_path / "adapter")["global_step"] == "4"
    assert torch.equal(restored(tokens()), adapted(tokens()))
    layer = restored.get_submodule("blocks.0.attention.key")
    assert (layer.scale, layer.dropout.p, layer.rank) == (7 / 3, 0.25, 3)
    names = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert set(described.read_tensors(tmp_path / "adapter")) == set(described.trainable_state_dict(adapted)) == names


@pytest.mark.parametrize("change", [{"n_layer": 1}, {"n_layer": 3}, {"n_embd": 24}])
def test_an_adapter_of_another_model_is_refused(tmp_path: Path, change: dict[str, int]) -> None:
    adapter().save(trained(), tmp_path)
    with pytest.raises(UserError, match="does not fit this model"):
        adapter().load(adapter().apply(tiny(**change)), tmp_path)


@pytest.mark.parametrize("targets", [("query", "value"), (*BLOCK, "head")])
def test_peft_reads_the_folder_onto_the_bare_model(tmp_path: Path, targets: tuple[str, ...]) -> None:
    peft = pytest.importorskip("peft")
    adapted = trained(targets=targets)
    adapter(targets=targets).save(adapted, tmp_path)
    theirs = peft.PeftModel.from_pretrained(tiny(), str(tmp_path)).eval()
    assert difference(theirs, tiny()) > 0.1
    assert difference(theirs, adapted) < 1e-5
    with torch.inference_mode():
        assert difference(theirs.merge_and_unload(), adapter().merge(adapted)) < 1e-5


def test_an_adapter_of_gpt2_small_is_a_small_file(tmp_path: Path) -> None:
    with torch.device("meta"):
        base = GPT(100, 256)
    small = LoRA(rank=8)
    small.save(small.apply(base.to_empty(device="cpu")), tmp_path)
    assert (tmp_path / "adapter_model.safetensors").stat().st_size < 1_500_000
    assert sum(tensor.numel() for tensor in small.read_tensors(tmp_path).values()) == 294_912
