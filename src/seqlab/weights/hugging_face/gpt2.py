"""GPT-2 folders in Hugging Face format: config.json and safetensors files."""

import re
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
TOKENIZER = {"_target_": "seqlab.tokenizers.gpt2.GPT2Tokenizer"}
TOKENIZER_FILES = ("vocab.json", "merges.txt")

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
    for key, values in SUPPORTED_VALUES.items():
        if config.get(key, values[0]) not in values:
            raise UserError(
                f"{path} has {key}={config.get(key)}; init_from reads GPT-2 folders with {key}={' or '.join(map(str, values))}."
            )
    return {
        "_target_": "seqlab.models.gpt.GPT",
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
            raise UserError(
                f"The weights have a tensor {name}, which GPT-2 does not: init_from reads GPT-2 folders only."
            )
        if block is None:
            ours[f"{OUTER_NAMES[part]}.{kind}"] = tensor
            continue
        prefix = f"blocks.{block[1]}."
        if part.startswith(("attn", "mlp")) and kind == "weight":
            tensor = tensor.T.contiguous()  # (out, in)
        if part == "attn.c_attn":
            for projection, piece in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                ours[f"{prefix}attention.{projection}.{kind}"] = piece.contiguous()
        else:
            ours[f"{prefix}{BLOCK_NAMES[part]}.{kind}"] = tensor
    if "token_embedding.weight" in ours:
        ours.setdefault("head.weight", ours["token_embedding.weight"])
    return ours
