"""Folders of the library PEFT: a LoRA adapter in adapter_config.json and adapter_model.safetensors, and its base."""

import math
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqlab.adapters.base import WEIGHTS_FILE
from seqlab.adapters.lora import CONFIG_FILE, PREFIX
from seqlab.adapters.low_rank import measure_rows
from seqlab.errors import UserError
from seqlab.files import read_json, read_safetensors
from seqlab.weights.hub import PREFIX as HUB_PREFIX
from seqlab.weights.hub import find_folder

MERGE = "Merge the adapter with PEFT (merge_and_unload), and save the model."
PLAIN_NAME = re.compile(r"[\w.]+")  # a regular expression of another's file could take for ever
FACTOR = re.compile(r"(.+)\.(lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)(?:\.weight)?")
SUPPORTED_VALUES: dict[str, tuple[Any, ...]] = {  # any other value would be read without an error, and wrongly
    "peft_type": ("LORA",),
    "bias": ("none",),
    "modules_to_save": (None, []),
    "trainable_token_indices": (None, [], {}),
    "lora_bias": (None, False),
    "use_rslora": (None, True, False),
    "use_dora": (None, True, False),
    "layer_replication": (None,),
    "alora_invocation_tokens": (None,),
    "kasa_config": (None,),
    "monteclora_config": (None,),
    "velora_config": (None,),
    "arrow_config": (None,),
    "init_lora_weights": (None, True, False, "gaussian", "orthogonal", "eva"),  # others change the base's weights
}


def is_peft_folder(folder: Path) -> bool:
    """True if the folder holds an adapter of PEFT, and not that of a run or a model of its own."""
    own = (folder / "config.json", folder / "config.yaml", folder.parent / "config.yaml")
    return (folder / CONFIG_FILE).is_file() and not any(file.is_file() for file in own)


def find_base_folder(folder: Path) -> Path:
    """The folder of the base of an adapter; that of a whole model is itself. Raises UserError if it is not there."""
    if not is_peft_folder(folder):
        return folder
    key = "base_model_name_or_path"
    name = read_json(folder / CONFIG_FILE).get(key)
    if not isinstance(name, str) or not name:
        raise UserError(
            f"{folder}/{CONFIG_FILE} does not say what the adapter is of: write its base's folder as {key}."
        )
    for place in (Path(name).expanduser(), folder / name):
        if (place / "config.json").is_file():
            return place.resolve()
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name) is None:
        raise UserError(
            f"{folder} is an adapter of {name}, which is not a folder in Hugging Face format: write where it is as {key} in "
            f"{CONFIG_FILE}."
        )
    revision = read_json(folder / CONFIG_FILE).get("revision")
    return find_folder(f"{HUB_PREFIX}{name}@{revision}" if revision else HUB_PREFIX + name)


def merge_peft_adapter(
    tensors: dict[str, Tensor], folder: Path, transposed: re.Pattern[str] | None
) -> dict[str, Tensor]:
    """A base's tensors under the names of transformers, with an adapter in them; `transposed` are names of weights (I, O).

    Raises UserError for an adapter of another base, and for what seqlab does not read.
    """
    config, merged = read_peft_config(folder), dict(tensors)
    for layer, parts in read_parts(folder).items():
        places = (f"{layer}.weight", f"{layer.partition('.')[2]}.weight")  # a base may lack the first part of its names
        name = next((place for place in places if place in tensors), "")
        weight = parts.pop("weight", tensors.get(name, torch.empty(0)))
        turned = transposed is not None and transposed.search(name) is not None
        adapted = adapt_weight(weight.float().T if turned else weight.float(), parts, config, layer)
        if adapted is None or name not in tensors or weight.shape != tensors[name].shape:
            base = find_base_folder(folder)
            raise UserError(
                f"The adapter in {folder} is damaged, or of another base than {base}: {layer} does not fit there."
            )
        merged[name] = (adapted.T if turned else adapted).contiguous()  # in fp32, also of a base in bfloat16
    return merged


def read_parts(folder: Path) -> dict[str, dict[str, Tensor]]:
    """Of each layer the tensors of its adapter, by their kind, and the weight itself where PEFT has saved it too."""
    file = folder / WEIGHTS_FILE
    tensors = read_safetensors(file) if file.is_file() else {}
    if not tensors or not all(tensor.is_floating_point() for tensor in tensors.values()):
        raise UserError(
            f"{folder} has no {WEIGHTS_FILE} with the matrices of a LoRA: copy or download the folder again."
        )
    layers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        name = name.removeprefix(PREFIX)
        if found := FACTOR.fullmatch(name):
            layers.setdefault(found[1], {})[found[2]] = tensor.float()
        elif name.endswith(".weight"):
            layers.setdefault(name.removesuffix(".weight").removesuffix(".base_layer"), {})["weight"] = tensor
        else:
            raise UserError(f"{file} has {name}, which is not part of a LoRA. {MERGE}")
    return layers


def read_peft_config(folder: Path) -> dict[str, Any]:
    """adapter_config.json as plain data. Raises UserError for a value that would be read wrongly."""
    config = read_json(folder / CONFIG_FILE)
    for key, values in SUPPORTED_VALUES.items():
        if config.get(key) not in values and (key in config or key == "peft_type"):
            raise UserError(f"{folder}/{CONFIG_FILE} has {key}={config.get(key)}, which seqlab does not read. {MERGE}")
    patterns = config.get("alpha_pattern") or {}
    numbers = [config.get("lora_alpha", 8), *(patterns.values() if isinstance(patterns, dict) else ["?"])]
    if not all(isinstance(number, int | float) for number in numbers) or not all(map(PLAIN_NAME.fullmatch, patterns)):
        raise UserError(
            f"{folder}/{CONFIG_FILE} has an alpha that is not a number, or an alpha_pattern that is not a layer's name. {MERGE}"
        )
    return config


def adapt_weight(weight: Tensor, parts: dict[str, Tensor], config: dict[str, Any], layer: str) -> Tensor | None:
    """A weight (O, I), or embeddings (V, C), with an adapter; None if the matrices do not fit it."""
    if not parts:
        return weight
    is_embedding = "lora_embedding_A" in parts
    first, second = (parts.get(f"lora_embedding_{part}" if is_embedding else f"lora_{part}") for part in "AB")
    weight = weight.T if is_embedding else weight
    magnitude = parts.get("lora_magnitude_vector")
    if first is None or second is None or first.size(0) != second.size(1) or not len(first):
        return None
    if (magnitude is not None) != bool(config.get("use_dora")) or (
        magnitude is not None and len(magnitude) != len(weight)
    ):
        return None
    if (second.size(0), first.size(1)) != weight.shape:
        return None
    adapted = weight + find_scale(config, layer, first.size(0)) * second @ first
    if magnitude is not None:
        adapted = adapted * (magnitude / measure_rows(adapted)).unsqueeze(1)
    return adapted.T if is_embedding else adapted


def find_scale(config: dict[str, Any], layer: str, rank: int) -> float:
    """By what the product of a layer is multiplied."""
    patterns = config.get("alpha_pattern") or {}
    alphas = [alpha for name, alpha in patterns.items() if f".{layer}".endswith(f".{name}")]
    alpha = alphas[0] if alphas else config.get("lora_alpha", 8)
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
