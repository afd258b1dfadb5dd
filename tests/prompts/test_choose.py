"""The style that is asked for, and the one that a run was trained on."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from commands import write_tokenizer
from seqlab.errors import UserError
from seqlab.prompts.chat_template import ChatTemplate
from seqlab.prompts.choose import choose_prompt_style, load_prompt_style
from seqlab.prompts.styles import STYLES, Message, PromptStyle
from seqlab.tokenizers.byte import ByteTokenizer
from seqlab.tokenizers.hf import HFTokenizer

TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token if m.role == 'assistant' else '\n' }}{% endfor %}"
)
TEMPLATE += "{% if add_generation_prompt %}assistant: {% endif %}"


@pytest.fixture
def tokenizer(tmp_path: Path) -> HFTokenizer:
    write_tokenizer(tmp_path / "hf")
    (tmp_path / "hf" / "chat_template.jinja").write_text(TEMPLATE)
    return HFTokenizer(str(tmp_path / "hf"))


@pytest.mark.parametrize("name", STYLES)
def test_a_style_by_its_name(name: str) -> None:
    assert choose_prompt_style(name, ByteTokenizer()) == STYLES[name]
    assert choose_prompt_style(name, None, "Be brief.") == replace(STYLES[name], system_prompt="Be brief.")


def test_the_tokenizers_own_template(tokenizer: HFTokenizer) -> None:
    style = choose_prompt_style("chat_template", tokenizer, "Be brief.")
    assert isinstance(style, ChatTemplate)
    ids, mask = style.render([Message("user", "Hi"), Message("assistant", "Ho")], tokenizer)
    assert tokenizer.decode(ids) == "system: Be brief.\nuser: Hi\nassistant: Ho"
    assert [i for i, scored in zip(ids, mask, strict=True) if scored] == [*tokenizer.encode("Ho"), tokenizer.eos_id]
    exported = ChatTemplate(style.to_chat_template(tokenizer), style.special_tokens)
    assert exported.render([Message("user", "Hi")], tokenizer) == style.render([Message("user", "Hi")], tokenizer)
    for other in (ByteTokenizer(), None):
        with pytest.raises(UserError, match="is that of a tokenizer's own folder"):
            choose_prompt_style("chat_template", other)


def test_a_style_comes_back_from_its_file(tokenizer: HFTokenizer, tmp_path: Path) -> None:
    mine = PromptStyle("mine", user="Q: $content\n", response="A: ", input="($input)\n", system="$content\n")
    for style in (mine, *STYLES.values(), choose_prompt_style("chat_template", tokenizer, "Be brief.")):
        style.save(tmp_path)
        assert load_prompt_style(tmp_path) == style
    assert load_prompt_style(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    "content",
    [{"name": "x"}, {"name": "x", "user": "", "response": "", "code": "1"}, {"template": "x", "code": "1"}],
)
def test_a_wrong_file_is_refused(content: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "prompt_style.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="is not a prompt style"):
        load_prompt_style(tmp_path)
