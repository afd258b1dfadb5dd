"""Low-rank adaptation (Hu et al., arXiv 2106.09685), by hand, and in the file format of the library PEFT."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seqlab.adapters.base import Adapter
from seqlab.adapters.low_rank import (
    Init,
    LoRAEmbedding,
    LoRALayer,
    LoRALinear,
    LoRARecurrent,
    LowRank,
    LowRankOptions,
)
from seqlab.adapters.targets import (
    choose_targets,
    leaf_name,
    list_candidates,
    look_up,
    matches_name,
    shorten_name,
)
from seqlab.errors import UserError
from seqlab.files import write_json
from seqlab.types import Fraction, PositiveFloat, PositiveInt

CONFIG_FILE = "adapter_config.json"  # PEFT's name
PREFIX = "base_model.model."  # of each tensor in PEFT's file


class LoRA(Adapter):
    """Puts a pair of low-rank matrices beside every layer that one of `targets` names.

    A target is a layer's name or the end of it, a regular expression of the whole name, or `all-linear`: all but the head.
    `ranks` and `alphas` are those of some layers, by names or regular expressions. The product is scaled by alpha / rank, or with
    `rslora` by alpha / sqrt(rank) (Kalajdzievski, arXiv 2312.03732). `dora` trains the length of each row by itself, `init=pissa`
    begins with the largest singular vectors (see `seqlab.adapters.low_rank`). B has `lr_ratio` times the learning rate of A
    (LoRA+, Hayou et al., arXiv 2402.12354).
    """

    def __init__(
        self,
        rank: PositiveInt = 8,
        alpha: PositiveFloat = 16,
        dropout: Fraction = 0.0,
        targets: Sequence[str] | str = ("query", "value"),
        ranks: Mapping[str, PositiveInt] | None = None,
        alphas: Mapping[str, PositiveFloat] | None = None,
        rslora: bool = False,
        dora: bool = False,
        init: Init = "random",
        lr_ratio: PositiveFloat = 1.0,
    ) -> None:
        if dora and init == "pissa":
            raise ValueError("dora=true and init=pissa are not combined: leave one out.")
        self.rank, self.alpha, self.dropout = rank, alpha, dropout
        self.targets = [targets] if isinstance(targets, str) else list(targets)
        self.ranks = {str(name): value for name, value in (ranks or {}).items()}
        self.alphas = {str(name): value for name, value in (alphas or {}).items()}
        self.rslora, self.dora, self.init, self.lr_ratio = rslora, dora, init, lr_ratio

    def apply(self, model: nn.Module) -> nn.Module:
        """Freeze the model and add the matrices; in place. It may carry an adapter, which is frozen too.

        Raises UserError for a target that names no layer, one that shares its weight with another layer, and a key that would
        have no effect.
        """
        chosen = choose_targets(model, self.targets)
        self.check_targets(model, chosen)
        freeze_model(model)
        recurrent: dict[str, dict[str, LowRankOptions]] = {}
        for name, module in chosen.items():
            options = self.find_options(name)
            self.check_rank(name, module, options.rank)
            if isinstance(module, tuple):
                layers, _, weight = name.rpartition(".")
                recurrent.setdefault(layers, {})[weight] = options
            else:
                is_embedding = isinstance(module, nn.Embedding | LoRAEmbedding)
                replace_module(model, name, (LoRAEmbedding if is_embedding else LoRALinear)(module, options))
        for name, weights in recurrent.items():
            replace_module(model, name, LoRARecurrent(model.get_submodule(name), weights))
        return model

    def check_targets(self, model: nn.Module, chosen: dict[str, Any]) -> None:
        """Refuse a shared weight, an embedding with what does not fit it, and a rank of nothing. Raises UserError."""
        weights = [id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False)]
        for name, module in chosen.items():
            target = f"adapter.targets={leaf_name(name)}"
            if isinstance(module, nn.Embedding | LoRAEmbedding) and (self.dora or self.init == "pissa"):
                key = "dora=true" if self.dora else "init=pissa"
                raise UserError(f"{target} is an embedding, which adapter.{key} does not fit: leave one out.")
            if isinstance(module, nn.Linear | nn.Embedding) and weights.count(id(module.weight)) > 1:
                raise UserError(f"{target} shares its weight with another layer: leave it out, or untie the two.")
        for key in ("ranks", "alphas"):
            for pattern in getattr(self, key):
                if not any(matches_name(pattern, name) for name in chosen):
                    raise UserError(f"adapter.{key}.{pattern} has no effect: it names none of adapter.targets.")

    def check_rank(self, name: str, module: Any, rank: int) -> None:
        """Refuse more singular vectors than a weight has, and a rank of which no weight has so many. Raises UserError."""
        shape = (getattr(*module) if isinstance(module, tuple) else module.weight).shape
        limit, what = (min(shape), "singular vectors") if self.init == "pissa" else (max(shape), "rows or columns")
        if rank > limit:
            raise UserError(f"A rank of {rank} is more than the {limit} {what} of {name}: use a smaller adapter.rank.")

    def find_options(self, name: str) -> LowRankOptions:
        """What the weight of this name gets."""
        rank, alpha = look_up(self.ranks, name, self.rank), look_up(self.alphas, name, self.alpha)
        scale = alpha / math.sqrt(rank) if self.rslora else alpha / rank
        return LowRankOptions(rank, scale, self.dropout, self.init, self.dora)

    def merge(self, model: nn.Module) -> nn.Module:
        """Add each product to the weight below it; in place. A model without an adapter stays as it is."""
        outer: list[str] = []
        for name, module in list(model.named_modules()):
            if isinstance(module, LoRALayer) and not name.startswith(tuple(f"{one}." for one in outer)):
                outer.append(name)
                replace_module(model, name, module.merged())
        return model

    @contextmanager
    def disabled(self, model: nn.Module) -> Iterator[None]:
        """The model without the products."""
        layers = lora_layers(model).values()
        for layer in layers:
            layer.enabled = False
        try:
            yield
        finally:
            for layer in layers:
                layer.enabled = True

    def trainable_state_dict(self, model: nn.Module) -> dict[str, Tensor]:
        """The adapter's tensors by their names in the model that carries it, with the factors that PiSSA began with."""
        trained = super().trainable_state_dict(model)
        layers = {name.partition(".lora_A")[0] for name in trained}
        initial = {
            n: t for n, t in model.named_buffers() if ".initial_" in n and n.rpartition(".initial_")[0] in layers
        }
        return trained | initial

    def list_lr_ratios(self, model: nn.Module) -> dict[str, float]:
        """Of the parameters that have a learning rate of their own, how many times as large it is."""
        names = [name for name, p in model.named_parameters() if p.requires_grad]
        return {
            name: self.lr_ratio
            for name in names
            if self.lr_ratio != 1 and ("lora_B" in name or "lora_embedding_B" in name)
        }

    def save(self, model: nn.Module, folder: Path, metadata: dict[str, str] | None = None) -> None:
        """Write the two files that PEFT reads onto the same bare model.

        The names are ours: `base_model.model.blocks.0.attention.query.lora_A.weight` (r, in), `….lora_B.weight` (out, r). What
        PiSSA took off at first is part of a product of twice the rank.
        """
        folder.mkdir(parents=True, exist_ok=True)
        adapted = list_adapted(model)
        targets = {shorten_name(name, adapted, list_candidates(model)) for name in adapted}
        write_json(folder / CONFIG_FILE, self.describe() | {"target_modules": sorted(targets)})
        tensors = (
            join_initial(self.trainable_state_dict(model)) if self.init == "pissa" else self.trainable_state_dict(model)
        )
        self.save_tensors({f"{PREFIX}{name}": tensor for name, tensor in tensors.items()}, folder, metadata)

    def describe(self) -> dict[str, Any]:
        """What PEFT's adapter_config.json says."""
        times = 2 if self.init == "pissa" else 1  # of the rank; the scale stays
        alpha_times = math.sqrt(times) if self.rslora else times
        return {
            "peft_type": "LORA",
            "r": self.rank * times,
            "lora_alpha": self.alpha * alpha_times,
            "lora_dropout": self.dropout,
            "rank_pattern": {name: rank * times for name, rank in self.ranks.items()},
            "alpha_pattern": {name: alpha * alpha_times for name, alpha in self.alphas.items()},
            "use_rslora": self.rslora,
            "use_dora": self.dora,
            "bias": "none",
            "task_type": None,
        }

    def read_tensors(self, folder: Path) -> dict[str, Tensor]:
        """The tensors of a PEFT folder by their names in the model that carries the adapter."""
        tensors = {name.removeprefix(PREFIX): tensor for name, tensor in super().read_tensors(folder).items()}
        return split_initial(tensors) if self.init == "pissa" else tensors


def join_initial(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """B A - B0 A0 as one product of twice the rank, as PEFT saves PiSSA."""
    joined = {}
    for name, tensor in tensors.items():
        layer, _, kind = name.removesuffix(".weight").rpartition(".")
        if kind == "lora_A":
            joined[name] = torch.cat([tensor, tensors[f"{layer}.initial_a"]])
        elif kind == "lora_B":
            joined[name] = torch.cat([tensor, -tensors[f"{layer}.initial_b"]], dim=1)
    return joined


def split_initial(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `join_initial`."""
    split = {}
    for name, tensor in tensors.items():
        layer, _, kind = name.removesuffix(".weight").rpartition(".")
        if kind == "lora_A":
            split[name], split[f"{layer}.initial_a"] = tensor.chunk(2)
        elif kind == "lora_B":
            split[name], negative = tensor.chunk(2, dim=1)
            split[f"{layer}.initial_b"] = -negative
    return split


def freeze_model(model: nn.Module) -> None:
    """Freeze all weights, and an adapter that is there already with its dropout."""
    model.requires_grad_(False)
    for module in model.modules():
        if isinstance(module, LowRank):
            module.dropout = nn.Dropout(0.0)


def lora_layers(model: nn.Module) -> dict[str, LoRALayer]:
    """The layers whose adapter is trained, by name."""
    layers = {name: module for name, module in model.named_modules() if isinstance(module, LoRALayer)}
    return {name: layer for name, layer in layers.items() if layer.is_trained()}


def list_adapted(model: nn.Module) -> list[str]:
    """The names of what has a trained product: layers, or weights of recurrent ones."""
    found = []
    for name, layer in lora_layers(model).items():
        found += [f"{name}.{weight}" for weight in layer.names] if isinstance(layer, LoRARecurrent) else [name]
    return found


def replace_module(model: nn.Module, name: str, new: nn.Module) -> None:
    """Put a module in place of the one with this dotted name."""
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, new)
