"""Low-rank adaptation (Hu et al., arXiv 2106.09685), by hand, and in the file format of the library PEFT."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


class LoRALinear(nn.Module):
    """A frozen linear layer W plus (alpha / r) B A: A begins random and B zero, so that at first nothing changes."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float, dropout: float) -> None:
        super().__init__()
        self.base, self.scale, self.dropout = base, alpha / rank, nn.Dropout(dropout)
        like = {"device": base.weight.device, "dtype": base.weight.dtype}
        self.lora_A = nn.Linear(base.in_features, rank, bias=False, **like)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False, **like)
        nn.init.kaiming_uniform_(self.lora_A.weight, a=math.sqrt(5))
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)"""
        return self.base(x) + self.lora_B(self.lora_A(self.dropout(x))) * self.scale

    def merged(self) -> nn.Linear:
        """The base layer with the product added to its weight."""
        with torch.no_grad():
            self.base.weight += self.scale * self.lora_B.weight @ self.lora_A.weight
        return self.base


def lora(
    model: nn.Module,
    rank: int = 8,
    alpha: float = 16,
    dropout: float = 0.0,
    targets: Sequence[str] = ("query", "value"),
) -> nn.Module:
    """Freeze the model and put an adapter on every linear layer whose name ends in one of `targets`; in place.

    Raises ValueError for a target that names no linear layer, or one whose weight is shared with another layer.
    """
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    names = sorted({leaf_name(name) for name in linear})
    for target in targets:
        if target not in names:
            raise ValueError(f"adapter.targets={target} names no linear layer; this model has {', '.join(names)}.")
    chosen = {name: module for name, module in linear.items() if leaf_name(name) in targets}
    weights = [id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False)]
    for name, module in chosen.items():
        if weights.count(id(module.weight)) > 1:
            raise ValueError(
                f"adapter.targets={leaf_name(name)} shares its weight with another layer: leave it out, or untie them."
            )
    model.requires_grad_(False)
    for name, module in chosen.items():
        replace_module(model, name, LoRALinear(module, rank, alpha, dropout))
    return model


def leaf_name(name: str) -> str:
    """The last part of a dotted name."""
    return name.rsplit(".", 1)[-1]


def merge(model: nn.Module) -> nn.Module:
    """Fold every adapter into the layer below it; in place. A model without adapters stays as it is."""
    for name, module in list(model.named_modules()):
        if isinstance(module, LoRALinear):
            replace_module(model, name, module.merged())
    return model


def replace_module(model: nn.Module, name: str, new: nn.Module) -> None:
    """Put a module in the place of the one with this dotted name."""
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, new)


def save_adapter(model: nn.Module, folder: Path, notes: dict[str, str] | None = None) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors`, which PEFT reads onto the same bare model.

    `notes` become metadata of the latter.

    The names are ours: `base_model.model.blocks.0.attention.query.lora_A.weight` (r, in), `….lora_B.weight` (out, r).
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, LoRALinear)}
    first = next(iter(layers.values()))
    rank = first.lora_A.out_features
    config = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": first.scale * rank,
        "lora_dropout": first.dropout.p,
        "target_modules": sorted({leaf_name(name) for name in layers}),
        "bias": "none",
        "task_type": None,
    }
    tensors = {
        f"base_model.model.{name}.{part}.weight": getattr(module, part).weight.detach().cpu().contiguous()
        for name, module in layers.items()
        for part in ("lora_A", "lora_B")
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2))
    save_file(tensors, folder / "adapter_model.safetensors", notes)


def adapter_tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors of an adapter's folder under the names of the model that carries it."""
    tensors = load_file(folder / "adapter_model.safetensors")
    return {name.removeprefix("base_model.model."): tensor for name, tensor in tensors.items()}


def load_adapter(model: nn.Module, folder: Path) -> nn.Module:
    """Put the adapter of a folder onto a bare model; in place. Raises ValueError where it does not fit."""
    config = json.loads((folder / "adapter_config.json").read_text())
    lora(model, config["r"], config["lora_alpha"], config["lora_dropout"], config["target_modules"])
    tensors, own = adapter_tensors(folder), model.state_dict()
    for name in {*tensors, *(name for name in own if "lora_" in name)}:
        if name not in tensors or name not in own or tensors[name].shape != own[name].shape:
            raise ValueError(f"The adapter in {folder} does not fit this model: {name} is missing or of another shape.")
    model.load_state_dict(tensors, strict=False)
    return model
