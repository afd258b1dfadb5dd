"""Language models that were never trained, loaded as runs are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from seqlab.models.gpt import GPT
from seqlab.models.rnn_lm import GRULM
from seqlab.prompts.styles import STYLES
from seqlab.serving.engine import LoadedRun
from seqlab.tokenizers.byte import ByteTokenizer
from variants import Uncached

NOTHING = {"metrics": {"last": {}, "best": {}}, "data_properties": {}}


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., LoadedRun]:
    """A run of a small model over bytes: `make_run("gru", style="alpaca")`."""

    def make(kind: str = "gpt", style: str | None = None, context_length: int = 64) -> LoadedRun:
        def load() -> Any:
            torch.manual_seed(0)
            if kind == "gru":
                return GRULM(vocab_size=257, hidden_size=24)
            model = GPT(vocab_size=257, context_length=context_length, n_layer=2, n_head=2, n_embd=32, init="gpt2")
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter += 0.1 * torch.randn_like(parameter)
            return Uncached(model) if kind == "uncached" else model

        config = {"model": {"vocab_size": 257}, "tokenizer": {}}
        return LoadedRun(tmp_path, config, load, NOTHING, ByteTokenizer(), STYLES[style] if style else None)

    return make
