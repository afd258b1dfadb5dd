"""GPT-2 folders in Hugging Face format: the logits of transformers' own model, whatever the names in the file."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from seqlab.errors import UserError
from seqlab.models.gpt import GPT
from seqlab.weights.hf_folder import is_hf_folder, read_model_node, read_state_dict
from seqlab.weights.hugging_face import gpt2

transformers = pytest.importorskip("transformers")


def oracle(folder: Path, **changes: Any) -> torch.nn.Module:
    """transformers' GPT-2 with random weights, all biases and norms included, saved to the folder."""
    torch.manual_seed(0)
    size = {"vocab_size": 53, "n_positions": 16, "n_embd": 24, "n_layer": 2, "n_head": 3, **changes}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(bos_token_id=0, eos_token_id=0, **size)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return model


def port(folder: Path) -> GPT:
    node = read_model_node(folder)
    assert node.pop("_target_") == "seqlab.models.gpt.GPT"
    model = GPT(**node).eval()
    model.load_state_dict(read_state_dict(folder))
    return model


def largest_difference(theirs: torch.nn.Module, ours: GPT) -> float:
    tokens = torch.randint(53, (3, 16), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return (theirs(tokens).logits - ours(tokens)).abs().max().item()


@pytest.mark.parametrize("tie_embeddings", [True, False])
@pytest.mark.parametrize(
    "size",
    [
        {},
        {"n_embd": 32, "n_head": 4, "n_layer": 1},
        {"n_embd": 8, "n_head": 1, "n_layer": 4},
        {"n_inner": 40, "activation_function": "relu"},
        {"activation_function": "gelu"},
    ],
)
def test_ported_logits_are_those_of_transformers(tmp_path: Path, size: dict[str, Any], tie_embeddings: bool) -> None:
    theirs = oracle(tmp_path, tie_word_embeddings=tie_embeddings, **size)
    ours = port(tmp_path)
    assert (ours.head.weight is ours.token_embedding.weight) == tie_embeddings
    assert largest_difference(theirs, ours) < 1e-5


def bare(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("transformer."): tensor for name, tensor in weights.items()}


def with_buffers(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    mask = torch.ones(1, 1, 16, 16).tril()
    buffers = {f"transformer.h.{i}.attn.bias": mask.clone() for i in (0, 1)}
    return weights | buffers | {f"transformer.h.{i}.attn.masked_bias": torch.tensor(-1e4) for i in (0, 1)}


@pytest.mark.parametrize("tie_embeddings", [True, False])
@pytest.mark.parametrize("rewrite", [bare, with_buffers, lambda weights: bare(with_buffers(weights))])
def test_names_of_hub_files(tmp_path: Path, rewrite: Any, tie_embeddings: bool) -> None:
    theirs = oracle(tmp_path, tie_word_embeddings=tie_embeddings)
    file = tmp_path / "model.safetensors"
    weights = rewrite(load_file(file))
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, file)
    assert largest_difference(theirs, port(tmp_path)) < 1e-5


def test_mask_buffers_are_ignored_and_attention_biases_kept() -> None:
    width = 6
    bias = torch.arange(3.0 * width)
    theirs = {
        "transformer.wte.weight": torch.randn(5, width),
        "transformer.h.0.attn.bias": torch.ones(1, 1, 4, 4),
        "transformer.h.0.attn.c_attn.bias": bias,
    }
    ours = gpt2.from_hf(theirs)
    parts = [ours[f"blocks.0.attention.{part}.bias"] for part in ("query", "key", "value")]
    torch.testing.assert_close(torch.cat(parts), bias, rtol=0, atol=0)
    assert set(ours) == {
        "token_embedding.weight",
        "head.weight",
        *(f"blocks.0.attention.{part}.bias" for part in ("query", "key", "value")),
    }


def test_weights_in_several_files_are_put_together(tmp_path: Path) -> None:
    theirs = oracle(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = list(load_file(file).items())
    file.unlink()
    for number, part in enumerate((weights[:7], weights[7:]), 1):
        save_file(dict(part), tmp_path / f"model-0000{number}-of-00002.safetensors")
    assert largest_difference(theirs, port(tmp_path)) < 1e-5


def test_a_folder_that_lacks_a_file_of_its_index_is_refused(tmp_path: Path) -> None:
    model = oracle(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    read_state_dict(tmp_path)
    last = sorted(tmp_path.glob("*.safetensors"))[-1]
    last.unlink()
    with pytest.raises(UserError, match=f"lacks {last.name} of model.safetensors.index.json: copy or download"):
        read_state_dict(tmp_path)


def test_a_size_that_config_json_leaves_out_is_that_of_transformers(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    theirs = transformers.GPT2Config.from_pretrained(tmp_path)
    ours = read_model_node(tmp_path)
    for key, name in {"n_positions": "context_length", "resid_pdrop": "dropout"}.items():
        assert ours[name] == getattr(theirs, key)
    for key in ("vocab_size", "n_layer", "n_head", "n_embd", "n_inner"):
        assert ours[key] == getattr(theirs, key)


def test_a_config_json_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(UserError, match=r"config\.json is damaged \(it holds list, not a mapping\)"):
        read_model_node(tmp_path)


@pytest.mark.parametrize("change", [{"model_type": "vit"}, {"model_type": None}, {"activation_function": "silu"}])
def test_other_models_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    oracle(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(UserError, match=r"init_from reads GPT-2 folders|is not a causal model of transformers"):
        read_model_node(tmp_path)


@pytest.mark.parametrize(
    "change", [{"layer_norm_epsilon": 0.1}, {"scale_attn_weights": False}, {"scale_attn_by_inverse_layer_idx": True}]
)
def test_what_our_gpt_does_not_compute_is_refused_not_ignored(tmp_path: Path, change: dict[str, Any]) -> None:
    theirs = oracle(tmp_path, **change)
    try:
        ours = port(tmp_path)
    except UserError:
        return
    assert largest_difference(theirs, ours) < 1e-5


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    oracle(tmp_path)
    assert is_hf_folder(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"no \.safetensors file"):
        read_state_dict(tmp_path)
    assert not is_hf_folder(tmp_path / "elsewhere")
