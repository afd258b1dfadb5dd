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
        try:
            from transformers import AutoConfig, AutoModelForCausalLM
        except ModuleNotFoundError:
            raise ValueError("needs transformers: pip install 'seqlab[hf]'.") from None
        settings = {key: value for key, value in config.items() if key not in ("auto_map", "quantization_config")}
        settings |= {
            "vocab_size": vocab_size,
            "use_cache": False,
            "is_decoder": True,
        }  # BERT and its like are causal by that
        settings |= {key: context_length for key in LENGTHS if settings.get(key, context_length) < context_length}
        try:
            model_config = AutoConfig.for_model(**settings)
            self.model = AutoModelForCausalLM.from_config(model_config, dtype=torch.float32)
        except Exception as error:  # transformers raises many kinds of them for what it cannot build
            reason = str(error).splitlines()[0][:160]
            raise ValueError(f"config={config.get('model_type')} is not built by transformers: {reason}") from error
        self.vocab_size, self.context_length = vocab_size, context_length

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (B, T) -> logits (B, T, V)"""
        return self.model(input_ids=tokens).logits
