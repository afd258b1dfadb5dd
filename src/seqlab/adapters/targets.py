"""Which weights of a model an adapter is put on."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from torch import nn

from seqlab.adapters.low_rank import LoRAEmbedding, LoRALayer, is_linear
from seqlab.errors import UserError

ALL_LINEAR = "all-linear"
HEADS = ("head", "lm_head", "embed_out")  # which `all-linear` leaves out, as PEFT does
T = TypeVar("T")


def list_candidates(model: nn.Module) -> dict[str, Any]:
    """What an adapter may be put on, by name: linear layers, embeddings, and (layers, name) of each recurrent weight."""
    inside = tuple(f"{name}." for name, module in model.named_modules() if isinstance(module, LoRALayer))
    found: dict[str, Any] = {}
    for name, module in model.named_modules():
        if name.startswith(inside):
            continue
        if is_linear(module) or isinstance(module, nn.Embedding | LoRAEmbedding):
            found[name] = module
        elif isinstance(module, nn.RNNBase):
            found |= {
                f"{name}.{weight}": (module, weight) for weight, _ in module.named_parameters() if "weight" in weight
            }
    return found


def choose_targets(model: nn.Module, targets: Sequence[str]) -> dict[str, Any]:
    """The candidates that one of the targets names, in the model's order. Raises UserError for a target that names none."""
    candidates = list_candidates(model)
    chosen = set()
    if not targets:
        raise UserError("adapter.targets=[] names nothing to train: name layers, or use adapter=none.")
    for target in targets:
        named = {name for name in candidates if names_module(target, name, candidates[name])}
        if not named:
            known = ", ".join(sorted({leaf_name(name) for name in candidates}))
            raise UserError(f"adapter.targets={target} names no layer that can be adapted; this model has {known}.")
        chosen |= named
    return {name: candidate for name, candidate in candidates.items() if name in chosen}


def names_module(target: str, name: str, candidate: Any) -> bool:
    """True if a target is the end of a dotted name, a regular expression of all of it, or `all-linear`."""
    if target == ALL_LINEAR:
        return not isinstance(candidate, nn.Embedding | LoRAEmbedding) and leaf_name(name) not in HEADS
    return matches_name(target, name)


def matches_name(pattern: str, name: str) -> bool:
    """True if a pattern is the end of a dotted name, or a regular expression of all of it. Raises UserError."""
    try:
        return f".{name}".endswith(f".{pattern}") or re.fullmatch(pattern, name) is not None
    except re.error as error:
        raise UserError(f"adapter: {pattern} is neither a name nor a regular expression ({error}): fix it.") from error


def look_up(patterns: Mapping[str, T], name: str, default: T) -> T:
    """What the first pattern that matches a name has."""
    return next((value for pattern, value in patterns.items() if matches_name(pattern, name)), default)


def leaf_name(name: str) -> str:
    """The last part of a dotted name."""
    return name.rsplit(".", 1)[-1]


def shorten_name(name: str, adapted: Collection[str], known: Collection[str]) -> str:
    """The shortest end of a layer's name that no layer without an adapter has."""
    parts = name.split(".")
    ends = [".".join(parts[-count:]) for count in range(1, len(parts) + 1)]
    return next(end for end in ends if all(other in adapted for other in known if f".{other}".endswith(f".{end}")))
