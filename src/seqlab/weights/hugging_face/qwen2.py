"""Qwen 2 and 2.5 folders in Hugging Face format: Llama with biases of query, key and value."""

from functools import partial
from typing import Any

from seqlab.errors import UserError
from seqlab.weights.hugging_face import check_values, llama

MODEL, TRANSPOSED = llama.MODEL, llama.TRANSPOSED
from_hf, to_hf, name_layer = partial(llama.from_hf, family="Qwen 2"), llama.to_hf, llama.name_layer
SUPPORTED_VALUES: dict[str, list[Any]] = {"hidden_act": ["silu"], "use_sliding_window": [False]}
SIZES = llama.SIZES | {  # where transformers takes other values if nothing is said
    "vocab_size": ("vocab_size", 151936),
    "max_position_embeddings": ("context_length", 32768),
    "num_key_value_heads": ("n_kv_head", 32),
    "intermediate_size": ("n_inner", 22016),
}


def config_to_node(config: dict[str, Any], path: str) -> dict[str, Any]:
    """The model node that a config.json describes. Raises UserError for a value that is not supported."""
    check_values(config, SUPPORTED_VALUES, path, "Qwen 2")
    return llama.read_sizes(config, SIZES) | llama.read_rope(config, path) | {"qkv_bias": True, "qk_norm": False}


def node_to_config(node: dict[str, Any]) -> dict[str, Any]:
    """The config.json of a model node. Raises UserError for what the Qwen 2 of transformers does not have."""
    if node["qk_norm"] or not node["qkv_bias"]:
        raise UserError(
            "This model cannot be written as Qwen 2, which has model.qkv_bias=true and model.qk_norm=false."
        )
    return llama.write_sizes(node, SIZES) | {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}
