"""Folders of Llama and Qwen 2 in Hugging Face format, and of GPT-2 written anew: transformers' logits, tensors byte for byte."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from seqlab.build import build_model
from seqlab.errors import UserError
from seqlab.weights import hugging_face
from seqlab.weights.hf_folder import find_family, find_writing_family, read_model_node, read_state_dict
from seqlab.weights.sources import compute_checksum, resolve_init_from

transformers = pytest.importorskip("transformers")

LLAMA3 = {"rope_type": "llama3", "rope_theta": 50000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
SIZE = {"hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4}
FOLDERS: list[tuple[str, dict[str, Any]]] = [
    ("gpt2", {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 64}),
    ("gpt2", {"n_embd": 24, "n_layer": 1, "n_head": 3, "n_positions": 64, "tie_word_embeddings": False}),
    ("llama", SIZE | {"num_key_value_heads": 2, "tie_word_embeddings": True}),
    ("llama", SIZE | {"num_key_value_heads": 1, "tie_word_embeddings": False, "head_dim": 6, "rms_norm_eps": 1e-3}),
    ("llama", SIZE | {"rope_parameters": LLAMA3 | {"original_max_position_embeddings": 16}}),
    ("qwen2", SIZE | {"num_key_value_heads": 2, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}),
    ("qwen2", SIZE | {"num_key_value_heads": 4, "tie_word_embeddings": True}),
]


def oracle(folder: Path, family: str, **size: Any) -> torch.nn.Module:
    """transformers' model with random weights, biases and norms included, saved to the folder."""
    torch.manual_seed(0)
    known = {"vocab_size": 53, "bos_token_id": 0, "eos_token_id": 0} | size
    if family != "gpt2":
        known["max_position_embeddings"] = 64
    config = transformers.AutoConfig.for_model(family, **known)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return model


def port(folder: Path) -> torch.nn.Module:
    model = build_model(read_model_node(folder), {}).eval()
    model.load_state_dict(read_state_dict(folder))
    return model


def logits(model: torch.nn.Module) -> torch.Tensor:
    tokens = torch.randint(53, (3, 60), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        out = model(tokens)
    return getattr(out, "logits", out)


@pytest.mark.parametrize(("family", "size"), FOLDERS)
def test_logits_are_those_of_transformers(family: str, size: dict[str, Any], tmp_path: Path) -> None:
    theirs = oracle(tmp_path, family, **size)
    torch.testing.assert_close(logits(port(tmp_path)), logits(theirs), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("family", "size"), FOLDERS)
def test_a_folder_written_anew_is_the_folder(family: str, size: dict[str, Any], tmp_path: Path) -> None:
    theirs = oracle(tmp_path / "theirs", family, **size)
    model, node, module = (
        port(tmp_path / "theirs"),
        read_model_node(tmp_path / "theirs"),
        find_family(tmp_path / "theirs"),
    )
    (tmp_path / "ours").mkdir()
    written, config = find_writing_family(node, preferred=family)
    assert written is module
    (tmp_path / "ours" / "config.json").write_text(json.dumps(config))
    save_file(module.to_hf(model.state_dict()), tmp_path / "ours" / "model.safetensors", {"format": "pt"})

    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("theirs", "ours"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    opened, found = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(found[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    torch.testing.assert_close(logits(opened.eval()), logits(theirs), rtol=0, atol=1e-5)
    assert read_model_node(tmp_path / "ours") == node


def test_rotary_positions_as_older_folders_say_them(tmp_path: Path) -> None:
    scaling = LLAMA3 | {"original_max_position_embeddings": 16}
    oracle(tmp_path, "llama", **SIZE, rope_parameters=scaling)
    node, file = read_model_node(tmp_path), tmp_path / "config.json"
    config = json.loads(file.read_text())
    del config["rope_parameters"]
    scaling = {key: value for key, value in scaling.items() if key != "rope_theta"}
    file.write_text(json.dumps(config | {"rope_theta": 50000.0, "rope_scaling": scaling}))
    assert read_model_node(tmp_path) == node


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_a_size_that_config_json_leaves_out_is_that_of_transformers(family: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
    theirs, ours = transformers.AutoConfig.from_pretrained(tmp_path), read_model_node(tmp_path)
    for key, (name, _) in find_family(tmp_path).SIZES.items():
        if key != "head_dim":  # which may be left out
            assert ours[name] == getattr(theirs, key), key
    assert ours["n_kv_head"] == theirs.num_key_value_heads
    assert ours["rope_theta"] == theirs.rope_parameters["rope_theta"]


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        ("llama", {"hidden_act": "gelu"}, "has hidden_act=gelu; init_from reads Llama folders with hidden_act=silu"),
        ("llama", {"attention_bias": True}, "has attention_bias=True"),
        ("qwen2", {"use_sliding_window": True}, "has use_sliding_window=True; init_from reads Qwen 2 folders"),
        ("llama", {"rope_scaling": {"type": "yarn", "factor": 2.0}}, "has rotary positions of type yarn"),
        ("llama", {"partial_rotary_factor": 0.5}, "has partial_rotary_factor=0.5"),
        ("qwen2", {"rope_parameters": {"partial_rotary_factor": 0.5}}, "has partial_rotary_factor=0.5"),
        ("llama", {"rope_scaling": {"type": "llama3", "factor": 2.0}}, "is damaged .KeyError"),
        ("llama", {"rope_scaling": "x"}, "is damaged .AttributeError"),
        ("llama", {"hidden_size": "16", "head_dim": 4}, "model.n_embd=16 does not fit: it must be a whole number"),
        ("qwen2", {"quantization_config": {"bits": 4}}, "is of quantised weights"),
        ("llama", {"num_attention_heads": 0}, "is damaged .ZeroDivisionError"),
        ("llama", {"model_type": ["llama"]}, "has model_type=.'llama'., which is not"),
    ],
)
def test_what_would_be_read_wrongly_is_refused(
    family: str, change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family} | change))
    with pytest.raises(UserError, match=message):
        read_model_node(tmp_path)


def test_weights_that_are_not_what_their_config_says_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "tied"
    oracle(folder, "llama", **SIZE, tie_word_embeddings=True)
    file = folder / "model.safetensors"
    whole = load_file(file)
    embedding = whole["model.embed_tokens.weight"]
    for name, tensor, message in (
        (
            "lm_head.weight",
            torch.randn_like(embedding),
            "has an lm_head.weight of its own, and its config.json ties it",
        ),
        ("model.norm.weight", torch.full((32,), torch.nan), "norm.weight of .* has NaN"),
        (
            "model.norm.weight",
            torch.ones(32, dtype=torch.int8),
            "norm.weight of .* is of type int8",
        ),
    ):
        save_file(whole | {name: tensor}, file, {"format": "pt"})
        with pytest.raises(UserError, match=message):
            read_state_dict(folder)
    save_file(whole | {"lm_head.weight": embedding.clone()}, file, {"format": "pt"})
    assert read_state_dict(folder)
    file.unlink()
    for make, message in (
        (file.mkdir, "is a folder"),
        (lambda: file.symlink_to("nowhere"), "is a link to a file that"),
    ):
        make()
        with pytest.raises(UserError, match=f"model.safetensors {message}"):
            resolve_and_read(folder)
        file.rmdir() if file.is_dir() else file.unlink()


def resolve_and_read(folder: Path) -> str:
    return compute_checksum(resolve_init_from(str(folder), folder).weights)


def test_mask_buffers_of_older_folders_are_not_weights(tmp_path: Path) -> None:
    theirs = oracle(tmp_path, "gpt2", n_embd=24, n_layer=1, n_head=3, n_positions=64)
    file = tmp_path / "model.safetensors"
    save_file(load_file(file) | {"h.0.attn.bias": torch.ones(64, 64).tril().bool()}, file, {"format": "pt"})
    torch.testing.assert_close(logits(port(tmp_path)), logits(theirs), rtol=0, atol=1e-5)


def test_one_whole_file_is_read_before_shards_as_transformers_does(tmp_path: Path) -> None:
    oracle(tmp_path, "llama", **SIZE)
    shard = {name: tensor + 1 for name, tensor in load_file(tmp_path / "model.safetensors").items()}
    save_file(shard, tmp_path / "model-00001-of-00001.safetensors", {"format": "pt"})
    index = {"weight_map": dict.fromkeys(shard, "model-00001-of-00001.safetensors")}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(logits(port(tmp_path)), logits(theirs), rtol=0, atol=1e-5)


def test_a_tensor_that_a_family_does_not_have_is_named(tmp_path: Path) -> None:
    oracle(tmp_path, "llama", **SIZE)
    file = tmp_path / "model.safetensors"
    save_file(load_file(file) | {"model.layers.0.self_attn.sinks": torch.zeros(4)}, file, {"format": "pt"})
    with pytest.raises(UserError, match=r"a tensor model\.layers\.0\.self_attn\.sinks, which Llama does not"):
        read_state_dict(tmp_path)
    (tmp_path / "config.json").write_text((tmp_path / "config.json").read_text().replace('"llama"', '"qwen2"'))
    with pytest.raises(UserError, match=r"sinks, which Qwen 2 does not"):
        read_state_dict(tmp_path)


@pytest.mark.parametrize(
    ("family", "keys", "message"),
    [
        ("gpt2", {"norm": "post"}, "norm=post"),
        ("llama", {"qk_norm": True}, "qk_norm"),
        ("qwen2", {"qk_norm": True}, "Qwen"),
    ],
)
def test_a_model_that_a_family_cannot_say_is_refused(family: str, keys: dict, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
    node = read_model_node(tmp_path)
    with pytest.raises(UserError, match=message):
        find_family(tmp_path).node_to_config(node | keys)


def test_a_model_is_written_as_the_family_that_it_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = Path(hugging_face.__path__[0], "llama.py").read_text()
    (tmp_path / "a_twin.py").write_text(
        code.replace('"model_type": "llama"', '"model_type": "a_twin"')
    )  # before it by name
    monkeypatch.setattr(hugging_face, "__path__", [*hugging_face.__path__, str(tmp_path)])
    node = {"_target_": "seqlab.models.llama.Llama", "vocab_size": 9, "context_length": 8}
    assert find_writing_family(node)[1]["model_type"] == "llama"
    assert find_writing_family(node, preferred="a_twin")[1]["model_type"] == "a_twin"
    assert find_writing_family(node | {"qkv_bias": True}, preferred="a_twin")[1]["model_type"] == "qwen2"


def test_a_family_that_lacks_a_part_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = Path(hugging_face.__path__[0], "qwen2.py").read_text().replace("from_hf, to_hf,", "from_hf, _,")
    (tmp_path / "half.py").write_text(code)
    monkeypatch.setattr(hugging_face, "__path__", [*hugging_face.__path__, str(tmp_path)])
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(UserError, match=r"half.py has no to_hf, which a family needs: add it."):
        find_family(tmp_path)


def test_what_a_node_leaves_out_is_written_as_the_model_has_it() -> None:
    family, config = find_writing_family(
        {"_target_": "seqlab.models.llama.Llama", "vocab_size": 9, "context_length": 8}
    )
    model = build_model(family.config_to_node(config, "here"), {})
    ours = build_model({"_target_": "seqlab.models.llama.Llama", "vocab_size": 9, "context_length": 8}, {})
    torch.testing.assert_close(model.state_dict(), ours.state_dict(), rtol=0, atol=0)
    assert (config["rms_norm_eps"], config["tie_word_embeddings"]) == (1e-5, True)


def test_other_files_of_weights_beside_the_models_are_not_read(tmp_path: Path) -> None:
    theirs = oracle(tmp_path, "llama", **SIZE)
    save_file({"layers.0.attention.wq.weight": torch.zeros(2)}, tmp_path / "consolidated.safetensors")
    torch.testing.assert_close(logits(port(tmp_path)), logits(theirs), rtol=0, atol=1e-5)


def test_a_folder_of_the_hubs_cache_is_named_by_its_model(tmp_path: Path) -> None:
    folder = tmp_path / "models--someone--small" / "snapshots" / ("c" * 40)
    oracle(folder, "llama", **SIZE)
    assert resolve_init_from(str(folder), tmp_path).choices == {"model": "small"}


def test_weights_without_the_head_that_config_json_says_is_its_own_are_refused(tmp_path: Path) -> None:
    oracle(tmp_path, "llama", **SIZE, tie_word_embeddings=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    with pytest.raises(UserError, match=r"has no lm_head.weight, and its config.json says that it is not tied"):
        read_state_dict(tmp_path)
