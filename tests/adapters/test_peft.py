"""Against the library PEFT, from the same initial weights: forward, gradients, optimizer steps, merging, files."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from seqlab.adapters.lora import LoRA
from seqlab.models.gpt import GPT
from seqlab.models.llama import Llama

peft = pytest.importorskip("peft")
METHODS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "lora": ({}, {}),
    "rslora": ({"rslora": True}, {"use_rslora": True}),
    "dora": ({"dora": True}, {"use_dora": True}),
    "pissa": ({"init": "pissa"}, {"init_lora_weights": "pissa"}),
    "dora and rslora": ({"dora": True, "rslora": True}, {"use_dora": True, "use_rslora": True}),
    "ranks": (
        {"ranks": {"value": 2, "blocks.0.attention.query": 1}},
        {"rank_pattern": {"value": 2, "blocks.0.attention.query": 1}},
    ),
    "alphas": ({"alphas": {"up": 3}}, {"alpha_pattern": {"up": 3}}),
}
TARGETS = ("query", "value", "up", "head")


def tiny(kind: str = "gpt") -> nn.Module:
    torch.manual_seed(0)
    size = {"vocab_size": 50, "context_length": 12, "n_layer": 2, "n_head": 2, "n_embd": 16}
    return (
        GPT(**size, qkv_bias=True).eval() if kind == "gpt" else Llama(**size, n_inner=24, tie_embeddings=False).eval()
    )


def tokens() -> torch.Tensor:
    return torch.randint(50, (3, 12), generator=torch.Generator().manual_seed(1))


def loss_of(model: nn.Module) -> torch.Tensor:
    return F.cross_entropy(model(tokens()[:, :-1]).flatten(0, 1), tokens()[:, 1:].flatten())


def pair(method: str, kind: str = "gpt", targets: tuple[str, ...] = TARGETS) -> tuple[nn.Module, nn.Module, LoRA]:
    """PEFT's model and ours, with the same A and B, which are not zero."""
    mine, theirs = METHODS[method]
    adapter = LoRA(rank=4, alpha=8, targets=targets, **mine)
    ours = adapter.apply(tiny(kind))
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=list(targets), **theirs)
    other = peft.get_peft_model(tiny(kind), config)
    own = dict(ours.named_parameters())
    for name, parameter in other.named_parameters():
        if parameter.requires_grad:
            copied = own[rename(name)]
            if method != "pissa":
                torch.manual_seed(len(name))
                parameter.data = copied.data + 0.05 * torch.randn_like(copied)
            copied.data = parameter.data.clone()
    return other.eval(), ours.eval(), adapter


def rename(name: str) -> str:
    """PEFT's name of a parameter -> ours"""
    name = name.removeprefix("base_model.model.").replace(".default", "")
    return name.replace("lora_magnitude_vector.weight", "lora_magnitude_vector")


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss_of(model).backward()
    return {
        rename(name): p.grad.clone() for name, p in model.named_parameters() if p.requires_grad and p.grad is not None
    }


@pytest.mark.parametrize("kind", ["gpt", "llama"])
@pytest.mark.parametrize("method", METHODS)
def test_forward_gradients_steps_and_merge_are_those_of_peft(method: str, kind: str) -> None:
    theirs, ours, adapter = pair(method, kind)
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(ours(tokens()), theirs(tokens()), **close)
    mine, other = gradients(ours), gradients(theirs)
    assert mine.keys() == other.keys()
    for name, gradient in other.items():
        torch.testing.assert_close(mine[name], gradient, **close)
    for model in (theirs, ours):
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1, momentum=0.9)
        for _ in range(5):
            optimizer.zero_grad()
            loss_of(model).backward()
            optimizer.step()
    torch.testing.assert_close(ours(tokens()), theirs(tokens()), **close)
    assert (ours(tokens()) - tiny(kind)(tokens())).abs().max() > 0.05
    trained = ours(tokens())
    merged = adapter.merge(copy.deepcopy(ours))
    torch.testing.assert_close(merged(tokens()), trained, **close)
    theirs_merged = theirs.merge_and_unload().state_dict()
    for name, weight in merged.state_dict().items():
        torch.testing.assert_close(weight, theirs_merged[name], **close)


@pytest.mark.parametrize("method", METHODS)
def test_peft_reads_what_we_write(tmp_path: Path, method: str) -> None:
    _, ours, adapter = pair(method)
    optimizer = torch.optim.SGD([p for p in ours.parameters() if p.requires_grad], lr=0.1)
    loss_of(ours).backward()
    optimizer.step()
    adapter.save(ours, tmp_path)
    read = peft.PeftModel.from_pretrained(tiny(), str(tmp_path)).eval()
    torch.testing.assert_close(read(tokens()), ours(tokens()), rtol=1e-4, atol=1e-5)
    own = LoRA(rank=4, alpha=8, targets=TARGETS, **METHODS[method][0])
    assert torch.equal(own.load(own.apply(tiny()), tmp_path)(tokens()), ours(tokens()))


@pytest.mark.parametrize("method", METHODS)
def test_we_read_what_peft_writes(tmp_path: Path, method: str) -> None:
    theirs, _, _ = pair(method)
    expected = theirs(tokens())
    theirs.save_pretrained(str(tmp_path))
    choices = METHODS[method][0] if method != "pissa" else {}
    adapter = LoRA(rank=4, alpha=8, targets=TARGETS, **choices)
    base = tiny()
    if method == "pissa":  # PEFT has taken the product from the base's weights
        for name, parameter in theirs.base_model.model.named_parameters():
            if "lora_" not in name:
                base.get_parameter(name.replace(".base_layer", "")).data = parameter.data.clone()
    ours = adapter.load(adapter.apply(base), tmp_path)
    torch.testing.assert_close(ours(tokens()), expected, rtol=1e-4, atol=1e-5)


def test_an_adapted_embedding_is_that_of_peft(tmp_path: Path) -> None:
    theirs, ours, adapter = pair("lora", targets=("token_embedding", "position_embedding", "key"))
    torch.testing.assert_close(ours(tokens()), theirs(tokens()), rtol=1e-4, atol=1e-5)
    mine, other = gradients(ours), gradients(theirs)
    for name, gradient in other.items():
        torch.testing.assert_close(mine[name], gradient, rtol=1e-4, atol=1e-5)
    adapter.save(ours, tmp_path)
    read = peft.PeftModel.from_pretrained(tiny(), str(tmp_path)).eval()
    torch.testing.assert_close(read(tokens()), ours(tokens()), rtol=1e-4, atol=1e-5)
    expected = ours(tokens())
    torch.testing.assert_close(adapter.merge(ours)(tokens()), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("targets", ["all-linear", r"blocks\.1\..*(query|up)", "attention.value"])
def test_targets_are_those_of_peft(targets: str) -> None:
    theirs = targets if targets == "all-linear" or "blocks" in targets else [targets]
    other = peft.get_peft_model(tiny(), peft.LoraConfig(r=4, target_modules=theirs))
    ours = LoRA(rank=4, targets=targets).apply(tiny())
    expected = {rename(name) for name, p in other.named_parameters() if p.requires_grad}
    assert {name for name, p in ours.named_parameters() if p.requires_grad} | (
        {"head.lora_A.weight", "head.lora_B.weight"} if targets == "all-linear" else set()
    ) == expected


@pytest.mark.parametrize("targets", ["all-linear", r"blocks\.1\..*(query|up)", "attention.value", "token_embedding"])
def test_peft_finds_the_targets_of_a_saved_adapter(targets: str, tmp_path: Path) -> None:
    adapter = LoRA(rank=4, targets=targets)
    ours = adapter.apply(tiny())
    for name, parameter in ours.named_parameters():
        if "_B" in name:
            parameter.data += 0.1
    adapter.save(ours, tmp_path)
    read = peft.PeftModel.from_pretrained(tiny(), str(tmp_path)).eval()
    torch.testing.assert_close(read(tokens()), ours(tokens()), rtol=1e-4, atol=1e-5)
