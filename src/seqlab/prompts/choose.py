"""Which style renders prompts: one by its name, the tokenizer's own chat template, or that of a run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from seqlab.errors import UserError
from seqlab.files import read_json
from seqlab.prompts.chat_template import CHAT_TEMPLATE, ChatTemplate, load_chat_template
from seqlab.prompts.styles import FILE_NAME, STYLES, PromptStyle


def choose_prompt_style(name: str, tokenizer: Any, system_prompt: str | None = None) -> PromptStyle | ChatTemplate:
    """The style of this name, with a system prompt of its own. Raises UserError for a template that is not there."""
    style: Any = STYLES.get(name)
    if name == CHAT_TEMPLATE:
        style = load_chat_template(folder) if (folder := getattr(tokenizer, "folder", None)) else None
        if style is None:
            raise UserError(
                f"data.prompt_style={name} is that of a tokenizer's own folder, and this tokenizer has none: use "
                f"{', '.join(STYLES)}."
            )
    if system_prompt and not isinstance(style, ChatTemplate) and not style.system:
        raise UserError(f"data.prompt_style={name} has no place for data.system_prompt: leave it out.")
    return replace(style, system_prompt=system_prompt or "")


def load_prompt_style(folder: Path) -> PromptStyle | ChatTemplate | None:
    """The style that a run was trained on; None if it was not trained on prompts. Raises UserError for a wrong file."""
    if not (folder / FILE_NAME).is_file():
        return None
    saved = read_json(folder / FILE_NAME)
    try:
        return ChatTemplate(**saved) if "template" in saved else PromptStyle(**saved)
    except TypeError as error:
        raise UserError(f"{folder / FILE_NAME} is not a prompt style ({error}): restore it.") from error
