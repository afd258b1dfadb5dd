"""GPT-2 folders in Hugging Face format: config.json and safetensors files."""

import re
from typing import Any

import torch
from torch import Tensor

from seqlab.errors import UserError
from seqlab.weights.hugging_face import check_values, unknown_tensor

MODEL = "seqlab.models.gpt.GPT"
BLOCK_NAMES = {
    "ln_1": "norm1",
    "ln_2": "norm2",
    "attn.c_proj": "attention.output",
    "mlp.c_fc": "feed_forward.up",
    "mlp.c_proj": "feed_forward.down",
}
PROJECTIONS = ("query", "key", "value")  # c_attn has them side by side
OUTER_NAMES = {"wte": "token_embedding", "wpe": "position_embedding", "ln_f": "norm", "lm_head": "head"}
TRANSPOSED = re.compile(r"\.(attn|mlp)\.\w+\.weight$")  # of Conv1D, whose weight is (in, out)
TOKENIZER = {"_target_": "seqlab.tokenizers.gpt2.GPT2Tokenizer"}
TOKENIZER_FILES = ("vocab.json", "merges.txt")
ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu"}

# What config.json may say, the default first; any other value would be read without an error, and wrongly.
SUPPORTED_VALUES: dict[str, list[Any]] = {
    "activation_function": list(ACTIVATIONS),
    "layer_norm_epsilon": [1e-5],
    "scale_attn_weights": [True],
    "scale_attn_by_inverse_layer_idx": [False],
    "add_cross_attention": [False],
}


def config_to_node(config: dict[str, Any], path: str) -> dict[str, Any]:
    """The model node that a config.json describes. Raises UserError for a value that is not supported."""
    check_values(config, SUPPORTED_VALUES, path, "GPT-2")
    return {
        "_target_": MODEL,
        "vocab_size": config.get("vocab_size", 50257),  # what is not said is GPT-2 small's, as in transformers
        "context_length": config.get("n_positions", 1024),
        "n_layer": config.get("n_layer", 12),
        "n_head": config.get("n_head", 12),
        "n_embd": config.get("n_embd", 768),
        "n_inner": config.get("n_inner"),
        "dropout": config.get("resid_pdrop", 0.1),
        "qkv_bias": True,
        "head_bias": False,
        "tie_embeddings": config.get("tie_word_embeddings", True),
        "norm": "pre",
        "activation": ACTIVATIONS[config.get("activation_function", "gelu_new")],
        "init": "gpt2",
    }


def from_hf(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """GPT-2's tensors under the names and in the layout of `seqlab.models.gpt.GPT`.

    Conv1D weights (in, out) are transposed, q|k|v lie side by side on the output. Names may have the prefix `transformer.`,
    mask buffers are ignored, and a missing head (tied) is the token embedding. Raises UserError for an unknown name.
    """
    ours: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        name = name.removeprefix("transformer.")
        if name.endswith((".attn.bias", ".attn.masked_bias")):
            continue
        block = re.fullmatch(r"h\.(\d+)\.(.+)\.(weight|bias)", name)
        part, kind = (block[2], block[3]) if block else name.rpartition(".")[::2]
        known = {"attn.c_attn", *BLOCK_NAMES} if block else OUTER_NAMES.keys()
        if part not in known:
            raise unknown_tensor(name, "GPT-2")
        if block is None:
            ours[f"{OUTER_NAMES[part]}.{kind}"] = tensor
            continue
        prefix = f"blocks.{block[1]}."
        if part.startswith(("attn", "mlp")) and kind == "weight":
            tensor = tensor.T.contiguous()  # (out, in)
        if part == "attn.c_attn":
            for projection, piece in zip(PROJECTIONS, tensor.chunk(3), strict=True):
                ours[f"{prefix}attention.{projection}.{kind}"] = piece.contiguous()
        else:
            ours[f"{prefix}{BLOCK_NAMES[part]}.{kind}"] = tensor
    if "token_embedding.weight" in ours:
        ours.setdefault("head.weight", ours["token_embedding.weight"])
    return ours


def node_to_config(node: dict[str, Any]) -> dict[str, Any]:
    """The config.json of a model node. Raises UserError for what the GPT-2 of transformers does not have."""
    for key, value in {"norm": "pre", "head_bias": False}.items():
        if node[key] != value:
            raise UserError(f"model.{key}={node[key]} cannot be written as GPT-2, which has {key}={value}.")
    names = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": node["vocab_size"],
        "n_positions": node["context_length"],
        "n_layer": node["n_layer"],
        "n_head": node["n_head"],
        "n_embd": node["n_embd"],
        "n_inner": node["n_inner"],
        "activation_function": names[node["activation"]],
        "resid_pdrop": node["dropout"],
        "embd_pdrop": node["dropout"],
        "attn_pdrop": node["dropout"],
        "tie_word_embeddings": node["tie_embeddings"],
        "bos_token_id": None,  # which would be GPT-2's, outside of another vocabulary
    }


def to_hf(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `seqlab.models.gpt.GPT` under GPT-2's names and in its layout: the inverse of `from_hf`.

    Biases of query, key and value that the model does not have are zeros. A tied head, which is the same tensor, is left out.
    """
    theirs: dict[str, Tensor] = {}
    inner, outer = ({ours: name for name, ours in names.items()} for names in (BLOCK_NAMES, OUTER_NAMES))
    for name, tensor in tensors.items():
        block = re.fullmatch(r"blocks\.(\d+)\.(.+)\.(weight|bias)", name)
        if block is None:
            part, _, kind = name.rpartition(".")
            if part != "head" or tensor.data_ptr() != tensors["token_embedding.weight"].data_ptr():
                theirs[f"{'' if part == 'head' else 'transformer.'}{outer[part]}.{kind}"] = tensor
            continue
        prefix, part, kind = f"transformer.h.{block[1]}.", block[2], block[3]
        if (part, kind) == ("attention.query", "weight"):  # with its bias, and those of key and value
            names = [f"blocks.{block[1]}.attention.{projection}" for projection in PROJECTIONS]
            weights = [tensors[f"{name}.weight"] for name in names]
            biases = [tensors.get(f"{name}.bias", tensor.new_zeros(len(tensor))) for name in names]
            theirs[f"{prefix}attn.c_attn.weight"] = torch.cat(weights).T.contiguous()
            theirs[f"{prefix}attn.c_attn.bias"] = torch.cat(biases)
        elif part.removeprefix("attention.") not in PROJECTIONS:
            is_layer = not part.startswith("norm") and kind == "weight"
            theirs[f"{prefix}{inner[part]}.{kind}"] = tensor.T.contiguous() if is_layer else tensor
    return theirs


def name_layer(name: str) -> tuple[str, tuple[str, ...]]:
    """The name of a layer of `seqlab.models.gpt.GPT` in transformers, and the layers that are side by side in it."""
    inner, outer = ({ours: theirs for theirs, ours in names.items()} for names in (BLOCK_NAMES, OUTER_NAMES))
    block = re.fullmatch(r"(blocks\.(\d+)\.)(.+)", name)
    if block is None:
        return f"{'' if name == 'head' else 'transformer.'}{outer[name]}", (name,)
    if block[3].removeprefix("attention.") in PROJECTIONS:
        return f"transformer.h.{block[2]}.attn.c_attn", tuple(f"{block[1]}attention.{one}" for one in PROJECTIONS)
    return f"transformer.h.{block[2]}.{inner[block[3]]}", (name,)
