"""Greedy texts are those of transformers, token for token, alone and in a batch of prompts of unequal length."""

from pathlib import Path
from typing import Any

import pytest
import torch

from seqlab.generation.batch import GenerationBatch, TokenSequence
from seqlab.generation.next_token import SamplingOptions
from seqlab.serving.engine import load_run

transformers = pytest.importorskip("transformers")
SMALL = {
    "vocab_size": 300,
    "bos_token_id": 0,
    "eos_token_id": 299,
    "initializer_range": 0.2,
    "tie_word_embeddings": False,
}
CONFIGS = {
    "gpt2": lambda: transformers.GPT2Config(n_layer=2, n_head=2, n_embd=32, n_positions=256, **SMALL),
    "llama": lambda: transformers.LlamaConfig(
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        hidden_size=32,
        intermediate_size=48,
        max_position_embeddings=256,
        **SMALL,
    ),
}
PROMPTS = [[5], [7, 8, 9, 250, 3], list(range(20, 60)), [100] * 3]


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("packed", [False, True])
def test_two_hundred_tokens_are_the_same(family: str, packed: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs: Any = transformers.AutoModelForCausalLM.from_config(CONFIGS[family]()).eval()
    theirs.save_pretrained(tmp_path)
    model = load_run(tmp_path, accelerator="cpu", dtype="float32", packed=packed).model
    batch = GenerationBatch(model)
    options = SamplingOptions(max_new_tokens=200, min_new_tokens=200)
    sequences = [TokenSequence(prompt, options, end_ids=[299]) for prompt in PROMPTS]
    for sequence in sequences:
        batch.add(sequence)
    while batch.sequences:
        batch.step()
    given = {"max_new_tokens": 200, "min_new_tokens": 200, "do_sample": False, "pad_token_id": 0}
    for prompt, sequence in zip(PROMPTS, sequences, strict=True):
        expected = theirs.generate(torch.tensor([prompt]), **given)[0].tolist()
        assert sequence.tokens == expected
        assert len(set(sequence.new_tokens)) > 20  # it does not repeat itself
