"""A run's adapter as a folder that PEFT, and what reads its adapters, puts onto the base in transformers."""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from seqlab.adapters.base import WEIGHTS_FILE
from seqlab.adapters.lora import CONFIG_FILE, PREFIX, LoRA, lora_layers
from seqlab.adapters.low_rank import LoRAEmbedding, LoRALinear, weight_of
from seqlab.adapters.targets import list_candidates, shorten_name
from seqlab.build import build_adapter
from seqlab.config.targets import check_targets
from seqlab.errors import UserError
from seqlab.export.hugging_face import check_new_folder, export_tokenizer
from seqlab.files import write_json, write_output
from seqlab.runs.folder import read_config
from seqlab.weights.hf_folder import find_writing_family, is_hf_folder
from seqlab.weights.hub import PREFIX as HUB_PREFIX
from seqlab.weights.hub import find_folder
from seqlab.weights.peft_folder import is_peft_folder
from seqlab.weights.restore import check_base_place, load_adapted_model
from seqlab.weights.sources import resolve_init_from, weights_path


class Factors(NamedTuple):
    """What is added to one weight (O, I): scale B A; with a magnitude its rows have these lengths."""

    first: Tensor  # A (r, I)
    second: Tensor  # B (O, r)
    scale: float
    magnitude: Tensor | None = None  # (O,)


def export_to_peft(run: Path, checkpoint: str, out: Path, init_from: str | None = None) -> list[str]:
    """Write adapter_config.json and adapter_model.safetensors under transformers' names; return the names of the files.

    Where a layer of transformers is several of ours side by side, as GPT-2's c_attn, their products become one, block by block.
    Raises UserError for a run without a LoRA, a folder that is there already, and a model that no family can say.
    """
    check_new_folder(out)
    config = read_config(run)
    check_base_place(config, init_from)
    source = resolve_init_from(str(run), run)
    family, _ = find_writing_family(source.model or {}, source.family)
    check_targets(config)
    adapter = build_adapter(config)
    if not isinstance(adapter, LoRA):
        raise UserError(f"{run} has no LoRA, and so nothing for PEFT: use format=hf.")
    model = load_adapted_model(run, weights_path(run, checkpoint), adapter, init_from)
    known = [
        family.name_layer(name)[0] for name, layer in list_candidates(model).items() if isinstance(layer, nn.Module)
    ]
    layers, embeddings = {}, set()
    for name, module in lora_layers(model).items():
        theirs, side_by_side = family.name_layer(name)
        layers[theirs] = join_side_by_side([model.get_submodule(other) for other in side_by_side])
        if isinstance(module, LoRAEmbedding):
            embeddings.add(theirs)
    base = name_base(init_from or config["init_from"])
    with write_output(out) as partial:
        partial.mkdir()
        written = describe_layers(layers, known, adapter) | {"fan_in_fan_out": family.TRANSPOSED is not None}
        write_json(partial / CONFIG_FILE, written | base)
        save_file(name_tensors(layers, embeddings), partial / WEIGHTS_FILE, {"format": "pt"})
        export_tokenizer(run, config, partial)
        if out.is_dir():
            out.rmdir()  # an empty one
    return sorted(file.name for file in out.iterdir())


def join_side_by_side(modules: list[nn.Module]) -> Factors:
    """The factors of layers that lie side by side, some of which have none, as those of one layer."""
    found = [read_factors(module) for module in modules]
    if len(found) == 1:
        return found[0]
    scale = next(factors.scale for factors in found if len(factors.first))
    first = torch.cat([factors.first for factors in found])
    second = torch.block_diag(*(factors.second * (factors.scale / scale) for factors in found))
    lengths = [factors.magnitude for factors in found if factors.magnitude is not None]
    return Factors(first, second, scale, torch.cat(lengths) if len(lengths) == len(found) else None)


def read_factors(module: Any) -> Factors:
    """The factors of a layer; of one without an adapter, of rank 0."""
    if isinstance(module, LoRAEmbedding):
        return Factors(module.lora_embedding_A.detach(), module.lora_embedding_B.detach(), module.scale)
    if isinstance(module, LoRALinear):
        first, second = module.join_factors()
        magnitude = module.lora_magnitude_vector
        return Factors(first, second, module.scale, None if magnitude is None else magnitude.detach())
    weight = weight_of(module).detach()
    return Factors(weight.new_zeros(0, weight.size(1)), weight.new_zeros(weight.size(0), 0), 1.0, weight.norm(dim=1))


def describe_layers(layers: dict[str, Factors], known: list[str], adapter: LoRA) -> dict[str, Any]:
    """What PEFT's adapter_config.json says; layers whose rank or alpha is rare have it by name."""
    ranks = {name: len(factors.first) for name, factors in layers.items()}
    alphas = {name: factors.scale * ranks[name] for name, factors in layers.items()}
    rank, alpha = (Counter(values.values()).most_common(1)[0][0] for values in (ranks, alphas))
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": adapter.dropout,
        "target_modules": sorted({shorten_name(name, layers, known) for name in layers}),
        "rank_pattern": {name: value for name, value in ranks.items() if value != rank},
        "alpha_pattern": {name: value for name, value in alphas.items() if value != alpha},
        "use_rslora": False,  # which is in alpha
        "use_dora": adapter.dora,
        "bias": "none",
    }


def name_tensors(layers: dict[str, Factors], embeddings: set[str]) -> dict[str, Tensor]:
    """The tensors by PEFT's names."""
    tensors: dict[str, Tensor] = {}
    for name, factors in layers.items():
        kinds = ("embedding_A", "embedding_B") if name in embeddings else ("A.weight", "B.weight")
        for kind, tensor in zip(kinds, (factors.first, factors.second), strict=True):
            tensors[f"{PREFIX}{name}.lora_{kind}"] = tensor.contiguous()
        if factors.magnitude is not None:
            tensors[f"{PREFIX}{name}.lora_magnitude_vector"] = factors.magnitude
    return tensors


def name_base(init_from: str | None) -> dict[str, str | None]:
    """What transformers opens as the base of the adapter; nothing if it is a run, which must be exported for it.

    Raises UserError for a base that is an adapter itself.
    """
    key = "base_model_name_or_path"
    folder = find_folder(init_from) if init_from and init_from != "last" else None
    if folder and is_peft_folder(folder):
        raise UserError(
            f"{init_from}, the base of this run, is an adapter of PEFT itself: use format=hf, which merges both."
        )
    if init_from and init_from.startswith(HUB_PREFIX):
        name, _, revision = init_from.removeprefix(HUB_PREFIX).partition("@")
        return {key: name, "revision": revision or None}
    return {key: str(folder.resolve()) if folder and is_hf_folder(folder) else None}
