"""Prompt styles: their text, token by token the same in training and generation, and their file."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.errors import UserError
from seqlab.prompts.styles import ALPACA, ALPACA_WITH_INPUT, STYLES, Message, PromptStyle, load_prompt_style
from seqlab.tokenizers.byte import ByteTokenizer

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
    assert BYTES.decode(ids).count(ALPACA) == (style != "phi")
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


def test_a_style_comes_back_from_its_file(tmp_path: Path) -> None:
    style = PromptStyle("mine", user="Q: $content\n", response="A: ", input="($input)\n", system="$content\n")
    style.save(tmp_path)
    assert load_prompt_style(tmp_path) == style
    assert load_prompt_style(tmp_path / "elsewhere") is None


@pytest.mark.parametrize("content", [{"name": "x"}, {"name": "x", "user": "", "response": "", "code": "1"}])
def test_a_wrong_file_is_refused(content: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "prompt_style.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="is not a prompt style"):
        load_prompt_style(tmp_path)
