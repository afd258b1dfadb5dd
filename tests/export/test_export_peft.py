"""Adapters in PEFT's format under transformers' names, both ways: what PEFT opens, and what seqlab opens of PEFT's."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from commands import NOTES, write_tokenizer
from seqlab.serving.engine import load_run
from seqlab.weights.hf_folder import is_hf_folder, read_state_dict

peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

TEXT = [
    "data=text",
    "data.path=notes.txt",
    "data.context_length=16",
    "device=cpu",
    "trainer.max_steps=3",
    "optimizer.lr=0.02",
]
LLAMA = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
BASES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_positions": 32, "n_layer": 2, "n_head": 2, "n_embd": 16, "tie_word_embeddings": False},
    "llama": LLAMA | {"tie_word_embeddings": False},
    "qwen2": LLAMA | {"num_key_value_heads": 1, "tie_word_embeddings": False},
    "gpt_neox": LLAMA,
}
ADAPTERS: dict[str, list[str]] = {
    "lora": [],
    "all-linear, ranks": ["adapter.targets=[all-linear]", "adapter.ranks={value: 2}", "adapter.alphas={value: 3}"],
    "rslora": ["adapter.rslora=true"],
    "dora": ["adapter.dora=true", "adapter.targets=[query,value,down]"],
    "pissa": ["adapter.init=pissa", "adapter.targets=[key,head]"],
    "embedding": ["adapter.targets=[token_embedding,head]"],
}


@pytest.fixture
def bases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Path) -> Callable[[str], Path]:
    """Folders of small models with a tokenizer, and notes.txt beside them."""
    monkeypatch.setenv("SEQLAB_DATA", str(shared))
    (tmp_path / "notes.txt").write_text(NOTES)

    def make(kind: str) -> Path:
        torch.manual_seed(0)
        write_tokenizer(tmp_path / kind)
        vocab_size = len(transformers.AutoTokenizer.from_pretrained(tmp_path / kind))
        config = transformers.AutoConfig.for_model(kind, vocab_size=vocab_size, **BASES[kind])
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / kind)
        return tmp_path / kind

    return make


def logits_of(model: Any) -> torch.Tensor:
    tokens = torch.arange(1, 21).view(2, 10)
    with torch.inference_mode():
        found = model.eval()(tokens)
    return getattr(found, "logits", found)


def logits_of_run(run: str) -> torch.Tensor:
    return logits_of(load_run(run, accelerator="cpu", dtype="float32").model)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen2"])
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_peft_opens_what_was_exported(kind: str, adapter: str, bases: Callable, seqlab: Callable) -> None:
    base = bases(kind)
    answer = seqlab("train", *TEXT, "adapter=lora", f"init_from={kind}", *ADAPTERS[adapter])
    assert answer.status == 0, answer.err
    answer = seqlab("export", "run=last", "format=peft", "out=out")
    assert answer.status == 0, answer.err
    assert str(base) in answer.out
    theirs = transformers.AutoModelForCausalLM.from_pretrained(base)
    before = logits_of(theirs)
    expected = logits_of_run("last")
    assert (expected - before).abs().max() > 1e-3
    adapted = peft.PeftModel.from_pretrained(theirs, "out")
    torch.testing.assert_close(logits_of(adapted), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(logits_of(adapted.merge_and_unload()), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        logits_of(load_run("out", accelerator="cpu", dtype="float32").model), expected, atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize(
    ("kind", "targets"),
    [
        ("gpt2", ["c_attn", "c_proj", "c_fc", "lm_head", "wte"]),
        ("llama", "all-linear"),
        ("qwen2", ["q_proj", "v_proj"]),
    ],
)
@pytest.mark.parametrize(
    "options", [{}, {"use_dora": True}, {"use_rslora": True, "rank_pattern": {"c_proj": 2, "v_proj": 2}}]
)
def test_an_adapter_of_peft_is_opened(
    kind: str, targets: Any, options: dict[str, Any], bases: Callable, seqlab: Callable, tmp_path: Path
) -> None:
    base = bases(kind)
    if options.get("use_dora") and kind == "gpt2":
        targets = targets[:-1]  # of embeddings PEFT has another DoRA
    model = peft.get_peft_model(
        transformers.AutoModelForCausalLM.from_pretrained(base),
        peft.LoraConfig(
            r=4, lora_alpha=6, target_modules=targets, init_lora_weights=False, task_type="CAUSAL_LM", **options
        ),
    )
    model.save_pretrained(tmp_path / "theirs")
    ours = load_run("theirs", accelerator="cpu", dtype="float32")
    torch.testing.assert_close(logits_of(ours.model), logits_of(model), atol=1e-5, rtol=1e-4)
    assert ours.generate("One", max_new_tokens=3)
    answer = seqlab("train", *TEXT, "init_from=theirs", "adapter=lora", "optimizer.lr=0.001")
    assert answer.status == 0, answer.err
    assert seqlab("evaluate", "run=last").status == 0


def test_an_adapter_of_a_base_in_bfloat16_is_not_rounded(bases: Callable, seqlab: Callable) -> None:
    folder = bases("llama")
    transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    assert seqlab("train", *TEXT, "adapter=lora", "init_from=llama").status == 0
    assert seqlab("export", "run=last", "format=peft", "out=out").status == 0
    torch.testing.assert_close(logits_of_run("out"), logits_of_run("last"), atol=1e-6, rtol=1e-5)
    assert load_run("out", accelerator="cpu", packed=True).generate("One", max_new_tokens=3)  # in what is fastest here


def test_an_adapter_of_a_model_that_only_transformers_reads_is_exported(bases: Callable, seqlab: Callable) -> None:
    bases("gpt_neox")
    words = ["adapter=lora", "init_from=gpt_neox", "adapter.targets=[query_key_value]"]
    answer = seqlab("train", *TEXT, *words)
    assert answer.status == 0, answer.err
    assert seqlab("export", "run=last", "format=peft", "out=out").status == 0
    adapted = peft.PeftModel.from_pretrained(transformers.AutoModelForCausalLM.from_pretrained("gpt_neox"), "out")
    expected = logits_of_run("last")
    torch.testing.assert_close(logits_of(adapted), expected, atol=1e-5, rtol=1e-4)
    answer = seqlab("generate", "run=out", "prompt=One")
    assert answer.status == 1
    assert "merge it with PEFT" in answer.err


def test_a_base_that_is_a_run_is_exported_by_itself(bases: Callable, seqlab: Callable, tmp_path: Path) -> None:
    del bases
    write_tokenizer(tmp_path / "mine")
    small = ["model=llama", "model.n_layer=1", "model.n_head=2", "model.n_embd=16"]
    assert seqlab("train", *TEXT, *small, "tokenizer=hf", "tokenizer.path=mine", "name=base").status == 0
    assert seqlab("train", *TEXT, "adapter=lora", "init_from=base").status == 0
    answer = seqlab("export", "run=last", "format=peft", "out=out")
    assert "export it too, with format=hf" in " ".join(answer.out.split())
    answer = seqlab("generate", "run=out", "prompt=One")
    assert "does not say what the adapter is of" in answer.err
    assert seqlab("export", "run=base", "format=hf", "out=out/base").status == 0
    config = json.loads(Path("out/adapter_config.json").read_text())
    Path("out/adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "base"}))
    expected = logits_of_run("last")
    torch.testing.assert_close(
        logits_of(load_run("out", accelerator="cpu", dtype="float32").model), expected, atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_dora": True}, "is damaged, or of another base"),
        ({"use_rslora": "abc"}, "use_rslora=abc"),
        ({"peft_type": None}, "peft_type=None"),
        ({"peft_type": "IA3"}, "peft_type=IA3, which seqlab does not read"),
        ({"bias": "all"}, "bias=all"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights=pissa"),
        ({"base_model_name_or_path": "nowhere at all"}, "is not a folder in Hugging Face format"),
        ({"base_model_name_or_path": None}, "does not say what the adapter is of"),
        ({"base_model_name_or_path": "llama"}, "of another base"),
        ({"alpha_pattern": {"([a-z]+)+!": 1}}, "an alpha_pattern that is not a layer's name"),
        ({"alpha_pattern": ["c_attn"]}, "an alpha_pattern that is not"),
        ({"lora_alpha": "16"}, "an alpha that is not a number"),
        ({"alora_invocation_tokens": [1, 2]}, "alora_invocation_tokens"),
    ],
)
def test_an_adapter_that_would_be_read_wrongly_is_refused(
    change: dict[str, Any], message: str, bases: Callable, seqlab: Callable
) -> None:
    base = bases("gpt2")
    bases("llama")
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=["c_attn"])).save_pretrained("theirs")
    file = Path("theirs/adapter_config.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    assert is_hf_folder(Path("theirs"))
    answer = seqlab("generate", "run=theirs", "prompt=One")
    assert (answer.status, "Traceback" in answer.err) == (1, False)
    assert message in " ".join(answer.err.split())


@pytest.mark.parametrize("damage", ["missing", "empty", "int8", "magnitude", "rank 0", "cut"])
def test_damaged_matrices_are_refused(damage: str, bases: Callable, seqlab: Callable) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(bases("gpt2"))
    config = peft.LoraConfig(r=4, target_modules=["c_attn"], use_dora=True, fan_in_fan_out=True)
    peft.get_peft_model(model, config).save_pretrained("theirs")
    file = Path("theirs/adapter_model.safetensors")
    tensors = load_file(file)
    changes: dict[str, Callable[[str, torch.Tensor], torch.Tensor]] = {
        "int8": lambda name, tensor: tensor.to(torch.int8),
        "magnitude": lambda name, tensor: tensor[1:].clone() if "magnitude" in name else tensor,
        "rank 0": lambda name, tensor: (
            tensor[:0] if "lora_A" in name else tensor[:, :0] if "lora_B" in name else tensor
        ),
    }
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-20])
    else:
        change = changes.get(damage)
        save_file({name: change(name, tensor) for name, tensor in tensors.items()} if change else {}, file)
    answer = seqlab("generate", "run=theirs", "prompt=One")
    assert (answer.status, "Traceback" in answer.err) == (1, False), answer.err
    assert "theirs" in answer.err


def test_an_adapted_embedding_of_a_tied_head_is_refused(
    bases: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BASES["gpt2"], "tie_word_embeddings", True)
    model = transformers.AutoModelForCausalLM.from_pretrained(bases("gpt2"))
    config = peft.LoraConfig(r=4, target_modules=["wte"], init_lora_weights=False)
    peft.get_peft_model(model, config).save_pretrained(tmp_path / "theirs")
    with pytest.raises(ValueError, match="ties to its head"):
        read_state_dict(tmp_path / "theirs")


def test_a_run_without_an_adapter_has_nothing_for_peft(bases: Callable, seqlab: Callable) -> None:
    bases("gpt2")
    assert seqlab("train", *TEXT, "init_from=gpt2").status == 0
    answer = seqlab("export", "run=last", "format=peft", "out=out")
    assert answer.status == 1
    assert "has no LoRA" in answer.err
    assert not Path("out").exists()


def test_an_adapter_brings_the_style_of_its_prompts(bases: Callable, seqlab: Callable, tmp_path: Path) -> None:
    bases("llama")
    records = [{"instruction": f"Say {number}.", "output": f"{number}"} for number in range(8)]
    (tmp_path / "records.json").write_text(json.dumps(records))
    words = [
        "data=instruction",
        "data.path=records.json",
        "data.context_length=256",
        "trainer.max_steps=2",
        "device=cpu",
    ]
    answer = seqlab("train", *words, "init_from=llama", "adapter=lora", "data.prompt_style=chatml")
    assert answer.status == 0, answer.err
    assert seqlab("export", "run=last", "format=peft", "out=out").status == 0
    ours, theirs = load_run("last", accelerator="cpu"), load_run("out", accelerator="cpu")
    assert theirs.generate("Say 1.", max_new_tokens=5) == ours.generate("Say 1.", max_new_tokens=5)
    message = [{"role": "user", "content": "Say 1."}]
    rendered = transformers.AutoTokenizer.from_pretrained("out").apply_chat_template(message, tokenize=False)
    assert "<|im_start|>user" in rendered


def test_an_adapter_of_an_adapter_is_exported_merged(bases: Callable, seqlab: Callable) -> None:
    bases("gpt2")
    assert seqlab("train", *TEXT, "adapter=lora", "init_from=gpt2").status == 0
    assert seqlab("export", "run=last", "format=peft", "out=first").status == 0
    assert seqlab("train", *TEXT, "adapter=lora", "init_from=first").status == 0
    answer = seqlab("export", "run=last", "format=peft", "out=second")
    assert answer.status == 1
    assert "use format=hf, which merges both" in answer.err
    assert seqlab("export", "run=last", "format=hf", "out=second").status == 0
