"""Chat templates: transformers' ids, answers scored with their end, and nothing of the machine within reach of a template."""

import json
from pathlib import Path

import pytest

from commands import write_tokenizer
from seqlab.errors import UserError
from seqlab.prompts import chat_template
from seqlab.prompts.chat_template import ChatTemplate, load_chat_template
from seqlab.prompts.styles import Message
from seqlab.tokenizers.byte import ByteTokenizer
from seqlab.tokenizers.hf import HFTokenizer

transformers = pytest.importorskip("transformers")
END = "<|endoftext|>"
CHATML = (
    "{% for message in messages %}{{ '<' + message['role'] + '>\n' + message['content'] + '"
    + END
    + "\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<assistant>\n' }}{% endif %}"
)
TALK = [
    Message("system", "Be brief."),
    Message("user", "Two notes?"),
    Message("assistant", "A habit."),
    Message("user", "One note", "a day"),
    Message("assistant", "keeps the deadline away"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tokenizer with a chat template."""
    write_tokenizer(tmp_path / "hf")
    (tmp_path / "hf" / "chat_template.jinja").write_text(CHATML)
    return tmp_path / "hf"


def as_dicts(messages: list[Message]) -> list[dict[str, str]]:
    contents = ["\n\n".join(filter(None, (message.content, message.input))) for message in messages]
    return [{"role": message.role, "content": text} for message, text in zip(messages, contents, strict=True)]


@pytest.mark.parametrize("length", [2, 4])
def test_prompts_have_the_ids_of_transformers(length: int, folder: Path) -> None:
    template, tokenizer = load_chat_template(folder), HFTokenizer(str(folder))
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    ids, mask = template.render(TALK[:length], tokenizer)
    assert ids == theirs.apply_chat_template(as_dicts(TALK[:length]), add_generation_prompt=True)["input_ids"]
    answers = [i for i, scored in zip(ids, mask, strict=True) if scored]
    assert answers == ([] if length == 2 else [*tokenizer.encode("A habit."), tokenizer.eos_id])


def test_the_prompt_is_the_prefix_of_what_is_trained_on_and_each_answer_ends_once(folder: Path) -> None:
    template, tokenizer = load_chat_template(folder), HFTokenizer(str(folder))
    ids, mask = template.render(TALK, tokenizer)
    prompt, unscored = template.render(TALK[:4], tokenizer)
    assert ids[: len(prompt)] == prompt
    assert mask[: len(prompt)] == unscored
    assert ids[len(prompt) :] == [*tokenizer.encode(TALK[4].content), tokenizer.eos_id]
    assert all(mask[len(prompt) :])


def test_a_template_may_stand_in_the_settings(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    assert load_chat_template(folder) is None
    settings = {"eos_token": {"content": END}, "chat_template": CHATML}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert load_chat_template(folder) == ChatTemplate(CHATML, {"eos_token": END})
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": CHATML}))
    with pytest.raises(UserError, match="names no eos_token"):
        load_chat_template(folder)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ messages.__class__.__mro__ }}", "is unsafe"),
        ("{{ ''.__class__.__base__.__subclasses__() }}", "is unsafe"),
        ("{{ messages.append(1) }}", "is unsafe"),
        ("{% include '/etc/passwd' %}", "no loader"),
        ("{{ raise_exception('no system message') }}", "refuses these messages: no system message"),
        ("{{ messages[", "cannot render"),
    ],
)
def test_a_template_reaches_nothing_and_its_faults_are_sentences(template: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ChatTemplate(template, {"eos_token": END}).format_prompt(TALK)


def test_a_template_that_rewrites_what_was_said_before_is_refused() -> None:
    template = "{{ messages | length }}{% for message in messages %}{{ message['content'] }}{% endfor %}"
    with pytest.raises(UserError, match="does not append an answer"):
        ChatTemplate(template, {"eos_token": END}).render(TALK, ByteTokenizer())


def test_an_answer_may_name_the_end_token(folder: Path) -> None:
    template, tokenizer = load_chat_template(folder), HFTokenizer(str(folder))
    ids, mask = template.render([TALK[1], Message("assistant", f"It is {END}, so")], tokenizer)
    answer = [i for i, scored in zip(ids, mask, strict=True) if scored]
    assert tokenizer.decode(answer[:-1]) == f"It is {END}, so"
    assert answer[-1] == tokenizer.eos_id


def test_what_templates_of_transformers_may_use(folder: Path) -> None:
    template = (
        "{% for message in messages %}{{ message['content'] }}{% break %}{% endfor %}{{ strftime_now('%Y') | length }}"
    )
    assert ChatTemplate(template, {}).format_prompt(TALK) == "Be brief.4"
    (folder / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(UserError, match="is not UTF-8 text"):
        load_chat_template(folder)
    (folder / "chat_template.jinja").write_text(CHATML)
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": {"x": 1}}))
    (folder / "special_tokens_map.json").write_text(json.dumps({"eos_token": END}))
    assert load_chat_template(folder) == ChatTemplate(CHATML, {"eos_token": END})


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "longer than"),
        ("{{ 'a' * 3000000000 }}", r"\* of values that large"),
        ("{{ 9 ** 99999999 }}", r"\*\* of values that large"),
        ("{% include '/etc/passwd' %}", "cannot render"),
        ("{{ messages.__class__.__mro__ }}", "unsafe"),
    ],
)
def test_a_template_that_never_ends_or_reads_files_is_refused(template: str, message: str, monkeypatch) -> None:
    monkeypatch.setattr(chat_template, "MAX_SECONDS", 0.3)
    with pytest.raises(UserError, match=message):
        ChatTemplate(template, {"eos_token": "</s>"}).format_prompt([Message("user", "Hi")])
