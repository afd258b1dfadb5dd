"""What LoRA's relatives promise: nothing changes at first, merging keeps the outputs, adapters stand upon each other."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from seqlab.adapters.lora import LoRA, lora_layers
from seqlab.errors import UserError
from seqlab.models.gpt import GPT
from seqlab.models.rnn_lm import GRULM, LSTMLM, RNNLM
from seqlab.tasks.learning_rates import set_lr_ratios
from seqlab.training.optim import adamw, muon

RECURRENT = [RNNLM, LSTMLM, GRULM]
VARIANTS: dict[str, dict[str, Any]] = {
    "lora": {},
    "dora": {"dora": True},
    "pissa": {"init": "pissa"},
    "rslora": {"rslora": True},
}


def gpt() -> GPT:
    torch.manual_seed(0)
    return GPT(vocab_size=50, context_length=12, n_layer=2, n_head=2, n_embd=16).eval()


def recurrent(kind: type = LSTMLM) -> nn.Module:
    torch.manual_seed(0)
    return kind(vocab_size=50, hidden_size=16).eval()


def tokens() -> torch.Tensor:
    return torch.randint(50, (3, 12), generator=torch.Generator().manual_seed(1))


def loss_of(model: nn.Module) -> torch.Tensor:
    return F.cross_entropy(model(tokens()[:, :-1]).flatten(0, 1), tokens()[:, 1:].flatten())


def train(model: nn.Module, steps: int = 4) -> nn.Module:
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
    return model.eval()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("build", [gpt, *(lambda kind=kind: recurrent(kind) for kind in RECURRENT)])
def test_at_first_nothing_changes_and_merging_keeps_the_logits(build: Any, variant: str) -> None:
    adapter = LoRA(rank=4, targets="all-linear", **VARIANTS[variant])
    adapted = adapter.apply(build())
    torch.testing.assert_close(adapted(tokens()), build()(tokens()), atol=1e-5, rtol=1e-4)
    before = loss_of(adapted)
    train(adapted, steps=15)
    assert loss_of(adapted) < before - 0.1
    with adapter.disabled(adapted):
        frozen = build().requires_grad_(False)  # as recurrent layers are computed then
        assert torch.equal(adapted(tokens()), frozen(tokens()))
    merged = adapter.merge(copy.deepcopy(adapted))
    torch.testing.assert_close(merged(tokens()), adapted(tokens()), atol=1e-5, rtol=1e-4)
    assert set(merged.state_dict()) == set(build().state_dict())
    assert not lora_layers(merged)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_recurrent_adapter_is_saved_and_loaded(tmp_path: Path, variant: str) -> None:
    targets = ["weight_hh_l0", r"rnn\.weight_ih_l1", "token_embedding"][: 2 if variant in ("dora", "pissa") else 3]
    adapter = LoRA(rank=3, targets=targets, ranks={"weight_hh_l0": 2}, **VARIANTS[variant])
    adapted = train(adapter.apply(recurrent()))
    adapter.save(adapted, tmp_path)
    assert torch.equal(adapter.load(adapter.apply(recurrent()), tmp_path)(tokens()), adapted(tokens()))
    cache: Any = adapted.init_cache(3)  # type: ignore[operator]
    pieces = [adapted.hidden(part, cache=cache) for part in tokens().split(5, dim=1)]  # type: ignore[operator]
    torch.testing.assert_close(torch.cat(pieces, 1), adapted.hidden(tokens()))  # type: ignore[operator]


def test_dropout_of_a_recurrent_adapter_applies_in_training_only() -> None:
    adapted = train(LoRA(dropout=0.5, targets="all-linear").apply(recurrent()))
    assert torch.equal(adapted(tokens()), adapted(tokens()))
    adapted.train()
    assert not torch.equal(adapted(tokens()), adapted(tokens()))


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_adapter_upon_an_adapter(variant: str) -> None:
    """The first is frozen below the second, each is saved by itself, and merging folds both in."""
    first, second = (
        LoRA(rank=4, dropout=0.5),
        LoRA(rank=2, targets=["query", "up", "token_embedding"][:2], **VARIANTS[variant]),
    )
    below = train(first.apply(gpt()))
    expected = below(tokens())
    both = second.apply(below)
    torch.testing.assert_close(both(tokens()), expected, atol=1e-5, rtol=1e-4)
    assert all(".base." not in name for name in second.trainable_state_dict(both) if "query" in name)
    train(both)
    trained = both(tokens())
    assert (trained - expected).abs().max() > 0.01
    torch.testing.assert_close(second.merge(copy.deepcopy(both))(tokens()), trained, atol=1e-5, rtol=1e-4)
    with second.disabled(both):
        assert torch.equal(both(tokens()), expected)
    assert torch.equal(both(tokens()), trained)
    both.train()
    assert torch.equal(both(tokens()), trained)  # nothing is dropped below


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_upper_adapter_is_saved_alone(variant: str, tmp_path: Path) -> None:
    first, second = (LoRA(rank=2, **VARIANTS[variant]) for _ in range(2))
    below = train(first.apply(gpt()))
    lower = copy.deepcopy(below)
    both = train(second.apply(below))
    second.save(both, tmp_path)
    again = second.load(second.apply(lower), tmp_path)
    torch.testing.assert_close(again(tokens()), both(tokens()), atol=1e-5, rtol=1e-4)


def test_dora_of_a_row_of_zeros_is_a_number() -> None:
    model = gpt()
    with torch.no_grad():
        model.head.weight[7] = 0
    adapted = LoRA(dora=True, targets=["head"]).apply(model)
    assert adapted(tokens()).isfinite().all()
    assert LoRA().merge(adapted)(tokens()).isfinite().all()


def test_pissa_begins_with_the_largest_singular_vectors() -> None:
    weight = gpt().blocks[0].attention.query.weight
    layer: Any = LoRA(rank=5, alpha=7, init="pissa").apply(gpt()).get_submodule("blocks.0.attention.query")
    values = torch.linalg.svdvals(weight)
    product = layer.scale * layer.lora_B.weight @ layer.lora_A.weight
    torch.testing.assert_close(torch.linalg.svdvals(weight - product)[:11], values[5:], atol=1e-5, rtol=1e-4)


def test_lora_plus_gives_b_its_own_learning_rate() -> None:
    adapter = LoRA(lr_ratio=16, targets=["query", "token_embedding"])
    model = adapter.apply(gpt())
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    ratios = adapter.list_lr_ratios(model)
    assert set(ratios) == {name for name in named if "B" in name}
    for optimizer in (adamw(named.values(), lr=0.01, decay="matrices"), muon(named.items(), lr=0.01)):
        set_lr_ratios(optimizer, [(named[name], ratio) for name, ratio in ratios.items()])
        rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
        assert rates == {id(p): 0.16 if name in ratios else 0.01 for name, p in named.items()}
        before = {name: p.detach().clone() for name, p in named.items()}
        loss_of(model).backward()
        optimizer.step()
        assert all(not torch.equal(p, before[name]) for name, p in named.items() if name in ratios)
        optimizer.load_state_dict(optimizer.state_dict())


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"dora": True, "targets": ["token_embedding"]}, "token_embedding is an embedding, which adapter.dora=true"),
        ({"init": "pissa", "targets": ["token_embedding"]}, "embedding, which adapter.init=pissa"),
        ({"init": "pissa", "dora": True}, "not combined"),
        ({"ranks": {"up": 3}}, "adapter.ranks.up has no effect"),
        ({"rank": 10**9}, "use a smaller adapter.rank"),
        ({"targets": []}, "names nothing to train"),
        ({"alphas": {"querry": 3}}, "adapter.alphas.querry has no effect"),
        (
            {"rank": 17, "init": "pissa"},
            "17 is more than the 16 singular vectors of blocks.0.attention.query",
        ),
    ],
)
def test_what_does_not_fit_is_refused(choices: dict[str, Any], message: str) -> None:
    with pytest.raises((UserError, ValueError), match=message):
        LoRA(**choices).apply(gpt())
