"""Low-rank adaptation (Hu et al., arXiv 2106.09685), by hand, and in the file format of the library PEFT."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from seqlab.adapters.base import Adapter
from seqlab.errors import UserError
from seqlab.files import write_json
from seqlab.types import Fraction, PositiveFloat, PositiveInt

CONFIG_FILE = "adapter_config.json"  # PEFT's name
PREFIX = "base_model.model."  # of each tensor in PEFT's file


class LoRALinear(nn.Module):
    """A frozen linear layer W plus (alpha / r) B A. A starts random and B zero, so that at first nothing changes."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float, dropout: float) -> None:
        super().__init__()
        self.base, self.scale, self.dropout, self.enabled = base, alpha / rank, nn.Dropout(dropout), True
        like = {"device": base.weight.device, "dtype": base.weight.dtype}
        self.lora_A = nn.Linear(base.in_features, rank, bias=False, **like)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False, **like)
        nn.init.kaiming_uniform_(self.lora_A.weight, a=math.sqrt(5))
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)"""
        if not self.enabled:
            return self.base(x)
        return self.base(x) + self.lora_B(self.lora_A(self.dropout(x))) * self.scale

    def merged(self) -> nn.Linear:
        """The base layer with the product added to its weight."""
        with torch.no_grad():
            self.base.weight += self.scale * self.lora_B.weight @ self.lora_A.weight
        return self.base


class LoRA(Adapter):
    """Puts a pair of low-rank matrices beside every linear layer whose name ends in one of `targets`."""

    def __init__(
        self,
        rank: PositiveInt = 8,
        alpha: PositiveFloat = 16,
        dropout: Fraction = 0.0,
        targets: Sequence[str] = ("query", "value"),
    ) -> None:
        self.rank, self.alpha, self.dropout, self.targets = rank, alpha, dropout, list(targets)

    def apply(self, model: nn.Module) -> nn.Module:
        """Freeze the model and add the matrices; in place.

        Raises UserError for a target that names no linear layer, or one that shares its weight with another layer.
        """
        linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
        known = sorted({leaf_name(name) for name in linear})
        for target in self.targets:
            if target not in known:
                raise UserError(f"adapter.targets={target} names no linear layer; this model has {', '.join(known)}.")
        chosen = {name: module for name, module in linear.items() if leaf_name(name) in self.targets}
        weights = [id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False)]
        for name, module in chosen.items():
            if weights.count(id(module.weight)) > 1:
                raise UserError(
                    f"adapter.targets={leaf_name(name)} shares its weight with another layer: leave it out, or untie the two."
                )
        model.requires_grad_(False)
        for name, module in chosen.items():
            replace_module(model, name, LoRALinear(module, self.rank, self.alpha, self.dropout))
        return model

    def merge(self, model: nn.Module) -> nn.Module:
        """Add each product to the weight below it; in place. A model without an adapter stays as it is."""
        for name, module in lora_layers(model).items():
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

    def save(self, model: nn.Module, folder: Path, metadata: dict[str, str] | None = None) -> None:
        """Write the two files that PEFT reads onto the same bare model.

        The names are ours: `base_model.model.blocks.0.attention.query.lora_A.weight` (r, in), `….lora_B.weight` (out, r).
        """
        config = {
            "peft_type": "LORA",
            "r": self.rank,
            "lora_alpha": self.alpha,
            "lora_dropout": self.dropout,
            "target_modules": sorted(self.targets),
            "bias": "none",
            "task_type": None,
        }
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / CONFIG_FILE, config)
        tensors = {f"{PREFIX}{name}": tensor for name, tensor in self.trainable_state_dict(model).items()}
        self.save_tensors(tensors, folder, metadata)

    def read_tensors(self, folder: Path) -> dict[str, Tensor]:
        """The tensors of a PEFT folder by their names in the model that carries the adapter."""
        return {name.removeprefix(PREFIX): tensor for name, tensor in super().read_tensors(folder).items()}

    @classmethod
    def from_folder(cls, folder: Path) -> "LoRA":
        """The adapter that a PEFT folder describes; `apply` and `load` put it onto a bare model."""
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        return cls(config["r"], config["lora_alpha"], config["lora_dropout"], config["target_modules"])


def lora_layers(model: nn.Module) -> dict[str, LoRALinear]:
    """The adapted layers by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoRALinear)}


def leaf_name(name: str) -> str:
    """The last part of a dotted name."""
    return name.rsplit(".", 1)[-1]


def replace_module(model: nn.Module, name: str, new: nn.Module) -> None:
    """Put a module in place of the one with this dotted name."""
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, new)
