"""Families without a module of their own: what transformers builds trains, is exported, and gives its logits."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from commands import write_tokenizer
from seqlab.build import build_model
from seqlab.errors import UserError
from seqlab.models.hf import HFModel
from seqlab.weights.hf_folder import read_model_node
from seqlab.weights.restore import load_source
from seqlab.weights.sources import WeightsSource

FAMILIES: dict[str, dict[str, Any]] = {
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "gpt_neox": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64},
    "opt": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "ffn_dim": 64,
        "word_embed_proj_dim": 32,
    },
}
TOKENS = torch.arange(24).view(2, 12)


def write_folder(folder: Path, family: str, vocab_size: int = 281) -> Any:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(
        family, vocab_size=vocab_size, max_position_embeddings=64, **FAMILIES[family]
    )
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    model.save_pretrained(folder)
    return model


def load(folder: Path) -> HFModel:
    node = read_model_node(folder)
    model = build_model(node, {})
    load_source(model, WeightsSource(folder, folder))
    return model.eval()  # type: ignore[return-value]  # what the node names


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_transformers(family: str, tmp_path: Path) -> None:
    theirs = write_folder(tmp_path, family)
    with torch.no_grad():
        torch.testing.assert_close(load(tmp_path)(TOKENS), theirs(TOKENS).logits, rtol=0, atol=1e-5)


def test_a_file_may_leave_out_the_prefix(tmp_path: Path) -> None:
    """As bigscience/bloom-560m does."""
    theirs = write_folder(tmp_path, "bloom")
    file = tmp_path / "model.safetensors"
    bare = {
        name.removeprefix("transformer."): tensor for name, tensor in load_file(file).items() if "lm_head" not in name
    }
    save_file(bare, file, {"format": "pt"})
    with torch.no_grad():
        torch.testing.assert_close(load(tmp_path)(TOKENS), theirs(TOKENS).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("model_type", ["bert", "gpt_neox", "bloom"])
def test_every_model_is_causal(model_type: str) -> None:
    sizes = FAMILIES.get(model_type, {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2})
    model = HFModel({"model_type": model_type, **sizes}, vocab_size=50, context_length=12).eval()
    changed = TOKENS.clone()
    changed[:, 8:] = 3
    with torch.no_grad():
        assert torch.equal(model(TOKENS)[:, :8], model(changed)[:, :8])


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "nope"}, "config=nope is not built by transformers .*Unrecognized model identifier"),
        ({"model_type": "t5"}, "config=t5 is not built by transformers"),
        ({}, "config=None is not built by transformers .*model_type"),
        ({"model_type": "bloom", "hidden_size": 63, "n_head": 4}, "hidden_size.* must be divisible"),
        ({"model_type": "gpt_neox", "n_layer": 2}, "config.n_layer is not a key of a gpt_neox config"),
        ({"model_type": "bloom", "vocab_size": 10}, "config.vocab_size=10 has no effect"),
        ({"model_type": "bloom", "auto_map": {"AutoConfig": "a.B"}}, "config.auto_map is not a key"),
    ],
)
def test_what_transformers_cannot_build_is_said(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        HFModel(config, vocab_size=50, context_length=16)


def test_a_folder_that_is_not_a_causal_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(UserError, match="model_type=vit, which is not a causal model of transformers"):
        read_model_node(tmp_path)


def test_bloom_is_trained_exported_and_opened(seqlab, story: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bloom"
    write_tokenizer(folder)
    write_folder(folder, "bloom")
    words = ["data=text", f"data.path={story}", "data.context_length=16", "device=cpu", "trainer.max_steps=2"]
    trained = seqlab("train", f"init_from={folder}", *words)
    assert trained.status == 0, trained.err
    assert "base        bloom, read by transformers" in trained.out
    assert seqlab("evaluate", "run=last", "split=val").status == 0
    assert seqlab("generate", "run=last", "prompt=The river", "max_new_tokens=4").status == 0
    adapted = seqlab("train", f"init_from={folder}", *words, "adapter=lora", "adapter.targets=[query_key_value]")
    assert adapted.status == 0, adapted.err
    exported = seqlab("export", "run=last", "format=hf", "out=out")
    assert exported.status == 0, exported.err
    opened, found = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(found[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert opened.config.model_type == "bloom"
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "out")("The river").input_ids
