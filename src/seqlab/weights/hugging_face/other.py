"""Folders of families without a module of their own: any causal language model of transformers, trained as `model=hf`."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqlab.errors import UserError, first_line
from seqlab.models.hf import LENGTHS, complete_config, find_unknown_keys

MODEL = "seqlab.models.hf.HFModel"
TRANSPOSED = None  # transformers knows
DEFAULT_LENGTH = 2048  # of a model whose positions have no end, such as BLOOM's
NOT_OF_THE_MODEL = ("architectures", "dtype", "torch_dtype", "transformers_version", "_name_or_path", "use_cache")


def config_to_node(config: dict[str, Any], path: str) -> dict[str, Any]:
    """The model node that a config.json describes. Raises UserError if transformers has no such causal model."""
    try:
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    except ModuleNotFoundError:
        raise UserError(f"{path} is of a model that needs transformers: pip install 'seqlab[hf]'.") from None
    if str(config.get("model_type")) not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise UserError(
            f"{path} has model_type={config.get('model_type')}, which is not a causal model of transformers: name another folder."
        )
    length = next((config[key] for key in LENGTHS if config.get(key)), DEFAULT_LENGTH)
    left_out = {*NOT_OF_THE_MODEL, *find_unknown_keys(config)}  # of its makers' own programs
    kept = {key: value for key, value in config.items() if key not in left_out}
    return {"_target_": MODEL, "config": kept, "vocab_size": config.get("vocab_size"), "context_length": length}


def node_to_config(node: dict[str, Any]) -> dict[str, Any]:
    """The config.json of a model node."""
    return complete_config(node["config"], node["vocab_size"], node["context_length"])


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """A folder's tensors under their names in `HFModel`; transformers knows the names in its files. Raises UserError."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        opened: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:  # transformers and safetensors raise many kinds of them
        raise UserError(
            f"{folder} cannot be read by transformers ({first_line(error)}): its weights are damaged, or are not those of its "
            "config.json; copy or download the folder again."
        ) from error
    model, loading = opened
    for kind in ("missing", "unexpected", "mismatched"):
        if names := sorted(map(str, loading[f"{kind}_keys"])):
            raise UserError(
                f"The weights of {folder} do not fit its config.json: {names[0]} is {kind}; download it again."
            )
    return {f"model.{name}": tensor for name, tensor in model.state_dict().items()}


def to_hf(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `HFModel` under the names of transformers; of tied weights the first name alone."""
    seen: set[int] = set()
    kept = {}
    for name, tensor in tensors.items():
        if tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            kept[name.removeprefix("model.")] = tensor
    return kept


def name_layer(name: str) -> tuple[str, tuple[str, ...]]:
    """The name of a layer of `HFModel` in transformers, and the layers that are side by side in it."""
    return name.removeprefix("model."), (name,)
