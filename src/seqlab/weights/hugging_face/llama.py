"""Llama folders in Hugging Face format: Llama 1 to 3, SmolLM2, and whatever else calls itself `llama`."""

import re
from typing import Any

from torch import Tensor

from seqlab.errors import UserError
from seqlab.weights.hugging_face import check_values, unknown_tensor

TRANSPOSED = None  # every weight is (out, in)
MODEL = "seqlab.models.llama.Llama"
NAMES = {  # of a block, then of the rest
    "self_attn.q_proj": "attention.query",
    "self_attn.k_proj": "attention.key",
    "self_attn.v_proj": "attention.value",
    "self_attn.o_proj": "attention.output",
    "mlp.gate_proj": "feed_forward.gate",
    "mlp.up_proj": "feed_forward.up",
    "mlp.down_proj": "feed_forward.down",
    "input_layernorm": "norm1",
    "post_attention_layernorm": "norm2",
}
OUTER_NAMES = {"embed_tokens": "token_embedding", "norm": "norm", "lm_head": "head"}
SUPPORTED_VALUES: dict[str, list[Any]] = {
    "hidden_act": ["silu"],
    "attention_bias": [False],
    "mlp_bias": [False],
}
ROPE_KEYS = {  # of Llama 3's scaling
    "factor": "factor",
    "low_freq_factor": "low_freq_factor",
    "high_freq_factor": "high_freq_factor",
    "original_max_position_embeddings": "original_context_length",
}
SIZES = {  # key of config.json: (our name, what transformers takes if it is not said)
    "vocab_size": ("vocab_size", 32000),
    "max_position_embeddings": ("context_length", 2048),
    "num_hidden_layers": ("n_layer", 32),
    "num_attention_heads": ("n_head", 32),
    "num_key_value_heads": ("n_kv_head", None),
    "hidden_size": ("n_embd", 4096),
    "intermediate_size": ("n_inner", 11008),
    "head_dim": ("head_size", None),
    "attention_dropout": ("dropout", 0.0),
    "tie_word_embeddings": ("tie_embeddings", False),
    "rms_norm_eps": ("norm_eps", 1e-6),
}


def config_to_node(config: dict[str, Any], path: str) -> dict[str, Any]:
    """The model node that a config.json describes. Raises UserError for a value that is not supported."""
    check_values(config, SUPPORTED_VALUES, path, "Llama")
    return read_sizes(config, SIZES) | read_rope(config, path) | {"qkv_bias": False, "qk_norm": False}


def read_sizes(config: dict[str, Any], sizes: dict[str, tuple[str, Any]]) -> dict[str, Any]:
    """The keywords of `Llama` that are said under another name."""
    node = {name: config.get(key, default) for key, (name, default) in sizes.items()}
    return {"_target_": MODEL} | complete_heads(node)


def complete_heads(node: dict[str, Any]) -> dict[str, Any]:
    """A node with those sizes of heads that follow from others."""
    n_kv_head, head_size = node.get("n_kv_head"), node.get("head_size")
    return node | {"n_kv_head": n_kv_head or node["n_head"], "head_size": head_size or node["n_embd"] // node["n_head"]}


def read_rope(config: dict[str, Any], path: str) -> dict[str, Any]:
    """Speed and scaling of rotary positions, as transformers 5 says them or as its forerunners did. Raises UserError."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    share = rope.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0
    if share != 1.0:
        raise UserError(f"{path} has partial_rotary_factor={share}; init_from reads models that rotate all of a head.")
    if kind not in ("default", "llama3"):
        raise UserError(f"{path} has rotary positions of type {kind}; init_from reads default and llama3.")
    scaling = {ours: rope[theirs] for theirs, ours in ROPE_KEYS.items()} if kind == "llama3" else None
    return {"rope_theta": rope.get("rope_theta", config.get("rope_theta", 10000.0)), "rope_scaling": scaling}


def node_to_config(node: dict[str, Any]) -> dict[str, Any]:
    """The config.json of a model node. Raises UserError for what the Llama of transformers does not have."""
    for key in ("qkv_bias", "qk_norm"):
        if node[key]:
            raise UserError(f"model.{key}=true cannot be written as Llama, which has none.")
    return write_sizes(node, SIZES) | {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}


def write_sizes(node: dict[str, Any], sizes: dict[str, tuple[str, Any]]) -> dict[str, Any]:
    """What `read_sizes` and `read_rope` read, with all sizes said."""
    node = complete_heads(node)
    config = {key: node[name] for key, (name, _) in sizes.items()}
    scaling, rope = node["rope_scaling"], {"rope_theta": node["rope_theta"], "rope_type": "default"}
    if scaling:
        rope |= {"rope_type": "llama3"} | {theirs: scaling[ours] for theirs, ours in ROPE_KEYS.items()}
    return config | {"rope_parameters": rope, "bos_token_id": None, "pad_token_id": None}  # none of another vocabulary


def from_hf(tensors: dict[str, Tensor], family: str = "Llama") -> dict[str, Tensor]:
    """A folder's tensors under the names of `seqlab.models.llama.Llama`.

    Names may lack the prefix `model.`; a missing head (tied) is the token embedding. Raises UserError for an unknown name.
    """
    ours: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        block = re.fullmatch(r"(?:model\.)?layers\.(\d+)\.(.+)\.(weight|bias)", name)
        part, kind = (block[2], block[3]) if block else name.removeprefix("model.").rpartition(".")[::2]
        if part.endswith("rotary_emb") and kind == "inv_freq":  # which follows from the config
            continue
        if part not in (NAMES if block else OUTER_NAMES):
            raise unknown_tensor(name, family)
        ours[f"blocks.{block[1]}.{NAMES[part]}.{kind}" if block else f"{OUTER_NAMES[part]}.{kind}"] = tensor
    if "token_embedding.weight" in ours:
        ours.setdefault("head.weight", ours["token_embedding.weight"])
    return ours


def to_hf(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `seqlab.models.llama.Llama` under Llama's names: the inverse of `from_hf`.

    A tied head, which is the same tensor, is left out.
    """
    inner, outer = ({ours: name for name, ours in names.items()} for names in (NAMES, OUTER_NAMES))
    theirs: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        block = re.fullmatch(r"blocks\.(\d+)\.(.+)\.(weight|bias)", name)
        if block:
            theirs[f"model.layers.{block[1]}.{inner[block[2]]}.{block[3]}"] = tensor
        elif name != "head.weight":
            part, _, kind = name.rpartition(".")
            theirs[f"model.{outer[part]}.{kind}"] = tensor
        elif tensor.data_ptr() != tensors["token_embedding.weight"].data_ptr():
            theirs["lm_head.weight"] = tensor
    return theirs


def name_layer(name: str) -> tuple[str, tuple[str, ...]]:
    """The name of a layer of `seqlab.models.llama.Llama` in transformers, and the layers that are side by side in it."""
    inner, outer = ({ours: theirs for theirs, ours in names.items()} for names in (NAMES, OUTER_NAMES))
    block = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
    if block:
        return f"model.layers.{block[1]}.{inner[block[2]]}", (name,)
    return f"{'' if name == 'head' else 'model.'}{outer[name]}", (name,)
