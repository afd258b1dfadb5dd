"""Weights in other people's formats: folders in Hugging Face's GPT-2 format (config.json, model.safetensors)."""

import json
import re
from pathlib import Path
from typing import Any

from torch import Tensor

from seqlab.errors import UserError

BLOCK_NAMES = {
    "ln_1": "norm1",
    "ln_2": "norm2",
    "attn.c_proj": "attention.output",
    "mlp.c_fc": "feed_forward.up",
    "mlp.c_proj": "feed_forward.down",
}
OUTER_NAMES = {"wte": "token_embedding", "wpe": "position_embedding", "ln_f": "norm", "lm_head": "head"}
ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu"}

# What may stand in config.json, the default first; another architecture would be read without an error.
SUPPORTED_VALUES: dict[str, list[Any]] = {
    "model_type": ["gpt2"],
    "activation_function": list(ACTIVATIONS),
    "layer_norm_epsilon": [1e-5],
    "scale_attn_weights": [True],
    "scale_attn_by_inverse_layer_idx": [False],
    "add_cross_attention": [False],
}


def is_hf_folder(folder: Path) -> bool:
    """Whether the folder holds a model in Hugging Face format."""
    return (folder / "config.json").is_file()


def config_to_node(folder: Path) -> dict[str, Any]:
    """The config node of the GPT that a folder's config.json describes."""
    config = json.loads((folder / "config.json").read_text())
    for key, values in SUPPORTED_VALUES.items():
        if config.get(key, values[0]) not in values:
            raise UserError(
                f"{folder}/config.json has {key}={config.get(key)}; init_from reads GPT-2 folders with {key}="
                f"{' or '.join(map(str, values))}."
            )
    return {
        "_target_": "seqlab.models.gpt.GPT",
        "vocab_size": config["vocab_size"],
        "context_length": config["n_positions"],
        "n_layer": config["n_layer"],
        "n_head": config["n_head"],
        "n_embd": config["n_embd"],
        "n_inner": config.get("n_inner"),
        "dropout": config.get("resid_pdrop", 0.1),
        "qkv_bias": True,
        "head_bias": False,
        "tie_embeddings": config.get("tie_word_embeddings", True),
        "norm": "pre",
        "activation": ACTIVATIONS[config.get("activation_function", "gelu_new")],
        "init": "gpt2",
    }


def read_state_dict(folder: Path) -> dict[str, Tensor]:
    """The weights of a GPT-2 folder under the names of `seqlab.models.gpt.GPT`."""
    from safetensors.torch import load_file

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(
            f"{folder} has no .safetensors file; save the model with save_pretrained(…) of a current transformers."
        )
    theirs: dict[str, Tensor] = {}
    for file in files:
        theirs |= load_file(file)
    return from_hf(theirs)


def from_hf(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """GPT-2 names and layouts to ours: Conv1D weights (in, out) are transposed, q|k|v lie side by side on the output.

    Reads names with and without the prefix `transformer.`, ignores mask buffers, and gives a missing head (tie_embeddings) the
    token embedding. Raises Mistake for a name that GPT-2 does not have.
    """
    ours: dict[str, Tensor] = {}
    for name, tensor in theirs.items():
        name = name.removeprefix("transformer.")
        if name.endswith((".attn.bias", ".attn.masked_bias")):
            continue
        block = re.fullmatch(r"h\.(\d+)\.(.+)\.(weight|bias)", name)
        if block is None:
            part, _, kind = name.rpartition(".")
            if part not in OUTER_NAMES:
                raise UserError(
                    f"The weights have a tensor {name}, which GPT-2 does not: init_from reads GPT-2 folders only."
                )
            ours[f"{OUTER_NAMES[part]}.{kind}"] = tensor
            continue
        prefix, part, kind = f"blocks.{block[1]}.", block[2], block[3]
        if part != "attn.c_attn" and part not in BLOCK_NAMES:
            raise UserError(
                f"The weights have a tensor {name}, which GPT-2 does not: init_from reads GPT-2 folders only."
            )
        if part.startswith(("attn", "mlp")) and kind == "weight":
            tensor = tensor.T.contiguous()  # (out, in)
        if part == "attn.c_attn":
            for ours_name, piece in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                ours[f"{prefix}attention.{ours_name}.{kind}"] = piece.contiguous()
        else:
            ours[f"{prefix}{BLOCK_NAMES[part]}.{kind}"] = tensor
    ours.setdefault("head.weight", ours["token_embedding.weight"])
    return ours
