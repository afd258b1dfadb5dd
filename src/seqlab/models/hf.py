"""Any causal language model of transformers, by its config.json."""

from typing import Any

import torch
from torch import Tensor, nn

from seqlab.types import PositiveInt

LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")  # what configs call the context


class HFModel(nn.Module):
    """A model of the library transformers. `config` is a config.json: its `model_type`, and what differs from its defaults.

    Attention is within the tokens given, so that it trains unpacked and generates without a cache.
    """

    def __init__(self, config: dict[str, Any], vocab_size: PositiveInt, context_length: PositiveInt) -> None:
        super().__init__()
        settings = complete_config(config, vocab_size, context_length) | {"use_cache": False}
        try:
            from transformers import AutoConfig, AutoModelForCausalLM

            self.model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**settings), dtype=torch.float32)
        except Exception as error:  # transformers raises many kinds of them for what it cannot build
            raise ValueError(describe_failure(config, error)) from error
        self.vocab_size, self.context_length = vocab_size, context_length

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (B, T) -> logits (B, T, V)"""
        return self.model(input_ids=tokens).logits


def complete_config(config: dict[str, Any], vocab_size: int, context_length: int) -> dict[str, Any]:
    """A config.json with this vocabulary, positions for the context, and causal where a model need not be, as BERT."""
    try:
        from transformers import AutoConfig
    except ModuleNotFoundError:
        raise ValueError("needs transformers: pip install 'seqlab[hf]'.") from None
    if config.get("vocab_size", vocab_size) != vocab_size:
        raise ValueError(
            f"config.vocab_size={config['vocab_size']} has no effect: it is the tokenizer's, or vocab_size. Leave it out."
        )
    if unknown := find_unknown_keys(config):
        raise ValueError(
            f"config.{unknown[0]} is not a key of a {config['model_type']} config of transformers: leave it out."
        )
    settings = config | {"vocab_size": vocab_size, "is_decoder": True}
    try:
        built = AutoConfig.for_model(**settings)
    except Exception as error:  # transformers' configs raise many kinds of them
        raise ValueError(describe_failure(config, error)) from error
    lengths = {key: getattr(built, key, None) for key in LENGTHS}
    return settings | {key: context_length for key, length in lengths.items() if length and length < context_length}


def find_unknown_keys(config: dict[str, Any]) -> list[str]:
    """The keys that transformers would take and ignore, as another family's names of sizes."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if config.get("model_type") not in CONFIG_MAPPING:
        return []  # which is said when it is built
    known = CONFIG_MAPPING[config["model_type"]]()
    return [key for key in config if not hasattr(known, key)]


def describe_failure(config: dict[str, Any], error: Exception) -> str:
    """What transformers says of a config that it does not build."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()] or [type(error).__name__]
    reason = f"{type(error).__name__}: {' '.join(lines[:2])[:160]}"
    return f"config={config.get('model_type')} is not built by transformers ({reason}): fix this value of its config."
