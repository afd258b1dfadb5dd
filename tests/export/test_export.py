"""Runs written in Hugging Face format: what transformers opens, and what seqlab reads again."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from commands import NOTES, write_tokenizer
from seqlab.prompts.styles import Message
from seqlab.serving.engine import load_run
from seqlab.weights.hf_folder import read_model_node, read_state_dict

transformers = pytest.importorskip("transformers")

TEXT = ["data=text", "data.path=notes.txt", "data.context_length=16", "device=cpu", "trainer.max_steps=2"]
SMALL = ["model.n_layer=1", "model.n_head=2", "model.n_embd=16", "callbacks.samples=null"]
LLAMA = ["model=llama", "tokenizer=hf", "tokenizer.path=my-tokenizer"]


@pytest.fixture
def train(seqlab: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Path) -> Callable:
    """Train on notes.txt in a folder of the test's own."""
    monkeypatch.setenv("SEQLAB_DATA", str(shared))
    (tmp_path / "notes.txt").write_text(NOTES)
    write_tokenizer(tmp_path / "my-tokenizer")

    def run(*words: str) -> None:
        answer = seqlab("train", *TEXT, *words)
        assert answer.status == 0, answer.err

    return run


@pytest.mark.parametrize(
    ("words", "opened"),
    [
        (["model=gpt_mini", "tokenizer=gpt2"], "GPT2LMHeadModel"),
        (["model=gpt_mini", "model.tie_embeddings=false", "model.qkv_bias=false"], "GPT2LMHeadModel"),
        ([*LLAMA], "LlamaForCausalLM"),
        ([*LLAMA, "model.qkv_bias=true", "model.tie_embeddings=false"], "Qwen2ForCausalLM"),
        ([*LLAMA, "adapter=lora"], "LlamaForCausalLM"),
        (["model=gpt_mini", "tokenizer=bpe", "tokenizer.size=300"], "GPT2LMHeadModel"),
        (["model=gpt_mini", "tokenizer=byte"], "GPT2LMHeadModel"),
        (["model=gpt_mini", "tokenizer=char"], "GPT2LMHeadModel"),
    ],
)
def test_transformers_opens_what_was_exported(words: list[str], opened: str, train: Callable, seqlab: Callable) -> None:
    train(*words, *SMALL)
    answer = seqlab("export", "run=last", "format=hf", "out=out")
    assert answer.status == 0, answer.err
    model, found = transformers.AutoModelForCausalLM.from_pretrained("out", output_loading_info=True)
    assert type(model).__name__ == opened
    assert not any(found[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    run, tokenizer = load_run("last", accelerator="cpu"), transformers.AutoTokenizer.from_pretrained("out")
    text = "One note a day, “kept” — away; ok" if "tokenizer=char" not in words else "One note a\nday"
    ids = run.tokenizer.encode(text)
    assert tokenizer.encode(text, add_special_tokens=False) == ids
    assert tokenizer.eos_token_id == run.tokenizer.eos_id == model.config.eos_token_id
    with torch.inference_mode():
        theirs, ours = model.eval()(torch.tensor([ids[:16]])).logits, run.model(torch.tensor([ids[:16]]))
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-5)
    again = load_run("out", accelerator="cpu")
    weights = again.model.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in run.model.state_dict().items())
    assert set(weights) - set(run.model.state_dict()) <= {
        f"blocks.0.attention.{part}.bias" for part in ("query", "key", "value")
    }
    assert again.tokenizer.encode(text) == ids


def test_an_exported_run_is_a_base(train: Callable, seqlab: Callable, tmp_path: Path) -> None:
    train(*LLAMA, *SMALL)
    assert seqlab("export", "run=last", "out=out").status == 0
    train("init_from=out", "trainer.max_steps=1", "optimizer.lr=0", "callbacks.samples=null")
    run = load_run("last", accelerator="cpu")
    assert read_model_node(tmp_path / "out").items() <= run.config["model"].items()
    assert all(
        torch.equal(run.model.state_dict()[name], tensor) for name, tensor in read_state_dict(tmp_path / "out").items()
    )


def test_what_cannot_be_exported_is_said(train: Callable, seqlab: Callable, tmp_path: Path) -> None:
    train("model=gpt_mini", "tokenizer=word", *SMALL)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for words, message in (
        (["out=full"], "out=full is there already"),
        (["out=out", "format=onnx"], "format=onnx is unknown: use hf"),
        (["out=out", "checkpoint=first"], "checkpoint=first must be best or last"),
        (["out=out", "init_from=nowhere"], "init_from=nowhere has no effect"),
    ):
        answer = seqlab("export", "run=last", *words)
        assert (answer.status, len(answer.err.strip().splitlines())) == (1, 1), answer.err
        assert message in answer.err
        assert not (tmp_path / "out").exists()
    answer = seqlab("export", "run=last", "out=out")
    assert "tokenizer   none, since this one is not written" in answer.out
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "config.json").write_text("{}")
    assert "run=hf is in Hugging Face format already" in seqlab("export", "run=hf", "out=again").err
    (tmp_path / "dangling").symlink_to("nowhere/at/all")
    for out in ("/proc/x", "dangling"):
        answer = seqlab("export", "run=last", f"out={out}")
        assert (answer.status, f"{out} cannot be written" in answer.err) == (1, True), answer.err
    assert seqlab("train", "device=cpu", "trainer.max_epochs=1").status == 0
    answer = seqlab("export", "run=last", "out=sine")
    assert "LSTMForecaster is not written in Hugging Face format: only GPT, Llama and models of" in answer.err


def test_a_chat_template_is_left_out_of_a_run_on_other_prompts(
    train: Callable, seqlab: Callable, tmp_path: Path
) -> None:
    (tmp_path / "my-tokenizer" / "chat_template.jinja").write_text("{{ messages }}")
    train(*LLAMA, *SMALL)
    assert list(tmp_path.glob("runs/*/*/tokenizer/chat_template.jinja"))
    assert seqlab("export", "run=last", "out=out").status == 0
    assert not (tmp_path / "out" / "chat_template.jinja").exists()


def test_a_tokenizer_typed_beside_a_base_must_be_the_bases(train: Callable, seqlab: Callable, tmp_path: Path) -> None:
    train(*LLAMA, *SMALL)
    assert seqlab("export", "run=last", "out=out").status == 0
    words = ["init_from=out", "tokenizer=hf", "callbacks.samples=null"]
    answer = seqlab("train", *TEXT, *words, "tokenizer.path=my-tokenizer")
    assert answer.status == 1
    assert "tokenizer.path=my-tokenizer does not agree with the base" in answer.err


def test_ids_of_a_padded_vocabulary_are_not_drawn(train: Callable, seqlab: Callable) -> None:
    train("model=gpt_mini", "tokenizer=char", *SMALL, "+model.vocab_size=400")
    for words in (["temperature=1", "seed=1"], ["temperature=2", "seed=2"]):
        answer = seqlab("generate", "run=last", "prompt=One note", "max_new_tokens=60", *words)
        assert answer.status == 0, answer.err


def test_a_run_on_the_tokenizers_own_template_speaks_and_exports_it(seqlab: Callable, tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "own")
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    template += "{{ eos_token if m.role == 'assistant' else '\\n' }}{% endfor %}"
    template += "{% if add_generation_prompt %}<assistant>{% endif %}"
    (tmp_path / "own" / "chat_template.jinja").write_text(template)
    talk = [{"role": "user", "content": "Say 3."}, {"role": "assistant", "content": "three"}]
    (tmp_path / "chats.jsonl").write_text("\n".join([json.dumps({"messages": talk})] * 20))
    words = [
        "data=instruction",
        "data.path=chats.jsonl",
        "data.prompt_style=chat_template",
        "data.system_prompt=Be brief.",
    ]
    words += ["tokenizer=hf", "tokenizer.path=own", "data.context_length=200", "model=gpt_mini", *SMALL, "device=cpu"]
    assert seqlab("train", *words, "trainer.max_steps=1").status == 0
    answer = seqlab("export", "run=last", "out=out")
    assert "the style chat_template, as a chat template" in answer.out
    run, again = load_run("last", accelerator="cpu"), load_run("out", accelerator="cpu")
    messages = [Message("user", "Say 3.")]
    ids = run.prompt_style.render(messages, run.tokenizer)[0]
    assert run.tokenizer.decode(ids) == "<system>Be brief.\n<user>Say 3.\n<assistant>"
    theirs = transformers.AutoTokenizer.from_pretrained("out")
    said = [{"role": "user", "content": "Say 3."}]
    assert theirs.apply_chat_template(said, add_generation_prompt=True)["input_ids"] == ids
    assert again.prompt_style.render(messages, again.tokenizer)[0] == ids
    options = {"max_new_tokens": 5, "temperature": 0.0}
    assert again.generate("Say 3.", **options) == run.generate("Say 3.", **options)


@pytest.mark.parametrize(
    "style",
    [
        *(pytest.param(name, marks=pytest.mark.long) for name in ("alpaca", "stanford_alpaca", "llama3")),
        "phi",
        "chatml",
    ],
)
def test_a_prompt_style_becomes_a_chat_template(style: str, train: Callable, seqlab: Callable, tmp_path: Path) -> None:
    records = [{"instruction": f'Say "{n}" in {{% words %}}.', "input": "", "output": "yes"} for n in range(20)]
    (tmp_path / "records.json").write_text(json.dumps(records))
    words = [
        "data=instruction",
        "data.path=records.json",
        f"data.prompt_style={style}",
        "tokenizer=byte",
        "data.context_length=400",
    ]
    done = seqlab("train", *words, "model=gpt_mini", *SMALL, "device=cpu", "trainer.max_steps=1")
    assert done.status == 0, done.err
    answer = seqlab("export", "run=last", "out=out")
    assert f"the style {style}, as a chat template" in answer.out
    run, again = load_run("last", accelerator="cpu"), load_run("out", accelerator="cpu")
    conversation = [("user", 'One "note"?\n'), ("assistant", "Yes."), ("user", "{{ two }}")]
    if style in ("phi", "chatml", "llama3"):
        conversation.insert(0, ("system", "Be brief."))
    messages = [Message(*said) for said in conversation]
    assert again.prompt_style.render(messages, again.tokenizer) == run.prompt_style.render(messages, run.tokenizer)
    theirs = transformers.AutoTokenizer.from_pretrained("out")
    chat = [{"role": role, "content": content} for role, content in conversation]
    ids = theirs.apply_chat_template(chat, add_generation_prompt=True)
    assert ids["input_ids"] == run.prompt_style.render(messages, run.tokenizer)[0]
    options = {"max_new_tokens": 5, "temperature": 0.0}
    assert again.generate("Say 3.", **options) == run.generate("Say 3.", **options)
