"""Prompt styles: their text, token by token the same in training and generation, and their file."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands import write_tokenizer
from seqlab.prompts.styles import ALPACA, ALPACA_WITH_INPUT, STYLES, Message
from seqlab.tokenizers.byte import ByteTokenizer
from seqlab.tokenizers.hf import HFTokenizer

USER, ANSWER = Message("user", "Spell it.", "dog"), Message("assistant", "d-o-g")
BYTES = ByteTokenizer()


@pytest.mark.parametrize(
    ("style", "text"),
    [
        ("alpaca", f"{ALPACA}\n\n### Instruction:\nSpell it.\n\n### Input:\ndog\n\n### Response:\n"),
        (
            "stanford_alpaca",
            f"{ALPACA_WITH_INPUT}\n\n### Instruction:\nSpell it.\n\n### Input:\ndog\n\n### Response:\n",
        ),
        ("phi", "<|user|>\nSpell it.\ndog\n<|assistant|>:\n"),
        ("chatml", "<|im_start|>user\nSpell it.\n\ndog<|im_end|>\n<|im_start|>assistant\n"),
        (
            "llama3",
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nSpell it.\n\ndog<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        ("plain", "Spell it.\n\ndog"),
    ],
)
def test_the_text_of_a_prompt(style: str, text: str) -> None:
    assert STYLES[style].format_prompt([USER]) == text


@pytest.mark.parametrize("style", ["alpaca", "stanford_alpaca"])
def test_without_an_input_there_is_no_section_for_it(style: str) -> None:
    expected = f"{ALPACA}\n\n### Instruction:\nGreet.\n\n### Response:\n"
    assert STYLES[style].format_prompt([Message("user", "Greet.")]) == expected


@given(st.sampled_from(sorted(STYLES)), st.text(min_size=1), st.text(), st.text())
def test_the_prompt_is_the_prefix_of_what_was_trained_on(style: str, content: str, extra: str, answer: str) -> None:
    user = Message("user", content, extra)
    prompt, none = STYLES[style].render([user], BYTES)
    ids, mask = STYLES[style].render([user, Message("assistant", answer)], BYTES)
    assert ids[: len(prompt)] == prompt
    assert not any(none)
    assert ids[len(prompt) :] == [*answer.encode(), BYTES.eos_id]
    assert mask == [False] * len(prompt) + [True] * (len(answer.encode()) + 1)


@pytest.mark.parametrize("style", STYLES)
def test_later_turns_have_no_opening_and_every_answer_ends(style: str) -> None:
    conversation = [
        Message("user", "One."),
        Message("assistant", "1"),
        Message("user", "Two."),
        Message("assistant", "2"),
    ]
    ids, mask = STYLES[style].render(conversation, BYTES)
    assert BYTES.decode(ids).count(ALPACA) == (style in ("alpaca", "stanford_alpaca"))
    assert BYTES.decode(ids).count("<|begin_of_text|>") == (style == "llama3")
    assert [i for i, scored in zip(ids, mask, strict=True) if scored] == [*b"1", BYTES.eos_id, *b"2", BYTES.eos_id]
    last_prompt, _ = STYLES[style].render(conversation[:3], BYTES)
    assert ids[: len(last_prompt)] == last_prompt


def test_a_system_message_takes_the_place_of_the_opening() -> None:
    messages = [Message("system", "Be brief."), Message("user", "Greet.")]
    assert STYLES["phi"].format_prompt(messages) == "<|system|>\nBe brief.\n<|user|>\nGreet.\n<|assistant|>:\n"
    assert STYLES["alpaca"].format_prompt(messages).startswith("Be brief.\n\n### Instruction:")


@pytest.mark.parametrize("text", ["$input costs $5", "${content}", "$$", "%s {0} {content.__class__}"])
def test_what_a_user_writes_is_no_template(text: str) -> None:
    assert f"\n{text}\n" in STYLES["phi"].format_prompt([Message("user", text)])


TALK = [
    Message("system", "Be brief."),
    Message("user", "One."),
    Message("assistant", "1"),
    Message("user", "Two."),
    Message("assistant", "2"),
]
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]


@pytest.fixture
def special(tmp_path: Path) -> HFTokenizer:
    """A tokenizer that knows the special tokens of all styles."""
    from tokenizers import Tokenizer

    write_tokenizer(tmp_path / "hf")
    library = Tokenizer.from_file(str(tmp_path / "hf" / "tokenizer.json"))
    library.add_special_tokens(SPECIAL)
    library.save(str(tmp_path / "hf" / "tokenizer.json"))
    return HFTokenizer(str(tmp_path / "hf"))


@pytest.mark.parametrize(
    ("style", "parts"),
    [  # texts, special tokens, and in brackets what is scored
        (
            "chatml",
            "<|im_start|>|system\nBe brief.|<|im_end|>|\n|<|im_start|>|user\nOne.|<|im_end|>|\n|"
            "<|im_start|>|assistant\n|[1]|[<|im_end|>]|"
            "\n|<|im_start|>|user\nTwo.|<|im_end|>|\n|<|im_start|>|assistant\n|[2]|[<|im_end|>]",
        ),
        (
            "llama3",
            "<|begin_of_text|>|<|start_header_id|>|system|<|end_header_id|>|\n\nBe brief.|<|eot_id|>|<|start_header_id|>|user|"
            "<|end_header_id|>|\n\nOne.|<|eot_id|>|<|start_header_id|>|assistant|<|end_header_id|>|\n\n|[1]|[<|eot_id|>]|"
            "<|start_header_id|>|user|<|end_header_id|>|\n\nTwo.|<|eot_id|>|<|start_header_id|>|assistant|<|end_header_id|>|\n\n|[2]|[<|eot_id|>]",
        ),
        ("plain", "Be brief.One.|[1]|[<|endoftext|>]|Two.|[2]|[<|endoftext|>]"),
    ],
)
def test_ids_and_masks_of_styles_with_special_tokens(style: str, parts: str, special: HFTokenizer) -> None:
    expected: list[tuple[int, bool]] = []
    for part in re.split(r"\|(?!>)(?<!<\|)", parts):
        text = part.removeprefix("[").removesuffix("]")
        found = special.tokenizer.token_to_id(text)
        ids = special.encode(text) if found is None else [found]
        expected += [(i, part != text) for i in ids]
    ids, mask = STYLES[style].render(TALK, special)
    assert list(zip(ids, mask, strict=True)) == expected
    prompt, unscored = STYLES[style].render(TALK[:-1], special)
    assert (prompt, unscored) == (ids[: len(prompt)], mask[: len(prompt)])


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("system_prompt", ["", 'Say "so", {{ 1 }}.'])
@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_transformers_renders_an_exported_style_alike(
    style: str, system_prompt: str, length: int, special: HFTokenizer
) -> None:
    transformers = pytest.importorskip("transformers")
    chosen = replace(STYLES[style], system_prompt=system_prompt)
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(special.folder)
    for messages in (TALK[: length + 1], TALK[1 : length + 1]):
        said = [{"role": message.role, "content": message.content} for message in messages]
        ids = theirs.apply_chat_template(said, chat_template=chosen.to_chat_template(special))["input_ids"]
        assert ids == chosen.render(messages, special)[0]


def test_without_its_special_tokens_a_style_ends_an_answer_as_a_text_ends() -> None:
    ids, mask = STYLES["chatml"].render(TALK, BYTES)
    assert [i for i, scored in zip(ids, mask, strict=True) if scored] == [*b"1", BYTES.eos_id, *b"2", BYTES.eos_id]
    assert b"<|im_end|>" in bytes(i for i in ids if i < 256)


def test_a_system_prompt_stands_before_conversations_without_one() -> None:
    style = replace(STYLES["phi"], system_prompt="Be kind.")
    assert style.format_text([USER]).startswith("<|system|>\nBe kind.\n<|user|>")
    assert "kind" not in style.format_text(TALK)
