"""Prompt styles: templates that turn messages into text, kept with the run that was trained on them."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template
from typing import Literal, NamedTuple

from seqlab.errors import UserError
from seqlab.files import read_json, write_json
from seqlab.tokenizers.base import Tokenizer

FILE_NAME = "prompt_style.json"  # in the run folder
Role = Literal["system", "user", "assistant"]


class Message(NamedTuple):
    """One message of a conversation; `input` is what an instruction refers to, if anything."""

    role: Role
    content: str
    input: str = ""
    is_scored: bool = True  # if it is an answer


@dataclass(frozen=True)
class PromptStyle:
    """Templates of the parts of a prompt, in which `$content` and `$input` are replaced. They cannot run code."""

    name: str
    user: str
    response: str  # what announces an answer
    input: str = ""  # follows the instruction, if there is an input
    opening: str = ""  # before the first message, unless there is a system message
    opening_with_input: str = ""  # instead of it, if the first message has an input
    system: str = ""

    def format_prompt(self, messages: list[Message], is_first: bool = True) -> str:
        """The text of messages, none of which is an answer, up to where the answer begins; the opening comes first alone."""
        first = messages[0]
        opening = self.opening_with_input if first.input else self.opening
        parts = [opening] if is_first and first.role != "system" else []
        for message in messages:
            template = self.system if message.role == "system" else self.user
            parts.append(Template(template).safe_substitute(content=message.content))
            if message.input:
                parts.append(Template(self.input).safe_substitute(input=message.input))
        return "".join([*parts, self.response])

    def format_turns(self, messages: list[Message]) -> Iterator[tuple[str, Message | None]]:
        """The text of each prompt, and the answer that follows it, if one does."""
        pending: list[Message] = []
        is_first = True
        for message in messages:
            if message.role != "assistant":
                pending.append(message)
                continue
            yield self.format_prompt(pending, is_first), message
            pending, is_first = [], False
        if pending:
            yield self.format_prompt(pending, is_first), None

    def format_text(self, messages: list[Message]) -> str:
        """Prompts and answers as one text, without end tokens."""
        return "".join(prompt + (answer.content if answer else "") for prompt, answer in self.format_turns(messages))

    def render(self, messages: list[Message], tokenizer: Tokenizer) -> tuple[list[int], list[bool]]:
        """messages -> ids (T,), loss mask (T,): true for the tokens of scored answers and the end token after each.

        Messages that end with a user's give the prompt for the next answer, token by token as in training.
        """
        ids: list[int] = []
        mask: list[bool] = []
        for text, answer in self.format_turns(messages):
            prompt = tokenizer.encode(text)
            ids, mask = ids + prompt, mask + [False] * len(prompt)
            if answer:
                said = [*tokenizer.encode(answer.content), tokenizer.eos_id]
                ids, mask = ids + said, mask + [answer.is_scored] * len(said)
        return ids, mask

    def to_chat_template(self) -> str:
        """The style as a chat template of Hugging Face (Jinja), of conversations without an `input`."""

        def quote(template: str) -> str:
            before, _, after = template.partition("$content")
            return f"{json.dumps(before)} + message.content + {json.dumps(after)}"

        return (
            f"{{%- if messages[0].role != 'system' %}}{{{{ {json.dumps(self.opening)} }}}}{{%- endif %}}"
            "{%- for message in messages %}"
            f"{{%- if message.role == 'system' %}}{{{{ {quote(self.system)} }}}}"
            f"{{%- elif message.role == 'user' %}}{{{{ {quote(self.user)} + {json.dumps(self.response)} }}}}"
            "{%- else %}{{ message.content + eos_token }}{%- endif %}"
            "{%- endfor %}"
        )

    def save(self, folder: Path) -> None:
        """Write `prompt_style.json`."""
        write_json(folder / FILE_NAME, asdict(self))


def load_prompt_style(folder: Path) -> PromptStyle | None:
    """The style that a run was trained on; None if it was not trained on prompts. Raises UserError for a wrong file."""
    if not (folder / FILE_NAME).is_file():
        return None
    try:
        return PromptStyle(**read_json(folder / FILE_NAME))
    except TypeError as error:
        raise UserError(f"{folder / FILE_NAME} is not a prompt style ({error}): restore it.") from error


ALPACA = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
ALPACA_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)
SECTIONS = {
    "user": "\n\n### Instruction:\n$content",
    "input": "\n\n### Input:\n$input",
    "response": "\n\n### Response:\n",
    "system": "$content",
}
STYLES = {
    style.name: style
    for style in (
        # One preamble for all records, as in "Building LLMs from the ground up".
        PromptStyle("alpaca", opening=ALPACA, opening_with_input=ALPACA, **SECTIONS),
        # Another preamble for records with input (Stanford Alpaca, Taori et al., 2023).
        PromptStyle("stanford_alpaca", opening=ALPACA, opening_with_input=ALPACA_WITH_INPUT, **SECTIONS),
        # The turns of Phi-3 (Abdin et al., arXiv 2404.14219).
        PromptStyle(
            "phi",
            user="<|user|>\n$content\n",
            input="$input\n",
            response="<|assistant|>:\n",
            system="<|system|>\n$content\n",
        ),
    )
}
