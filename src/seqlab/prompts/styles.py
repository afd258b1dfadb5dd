"""Prompt styles: templates that turn messages into text, kept with the run that was trained on them."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template
from typing import Any, Literal, NamedTuple

from seqlab.files import write_json
from seqlab.tokenizers.base import Tokenizer, accepts_special

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
    """Templates of the parts of a prompt, in which `$content` and `$input` are replaced. They cannot run code.

    An answer ends with the token `end`; where a style has none, or a tokenizer does not know it, with the one that ends a text.
    A style that has one writes special tokens out, and they are encoded as such.
    """

    name: str
    user: str
    response: str  # what announces an answer
    input: str = (
        ""  # follows the instruction, if there is an input; without it, the input is a paragraph of the instruction
    )
    begin: str = ""  # before everything else
    opening: str = ""  # before the first message, unless there is a system message
    opening_with_input: str = ""  # instead of it, if the first message has an input
    system: str = ""
    end: str = ""
    after: str = ""  # between the end of an answer and the next message
    system_prompt: str = ""  # of conversations without a system message of their own

    def format_prompt(self, messages: list[Message], is_first: bool = True) -> str:
        """The text of messages, none of which is an answer, up to where the answer begins; it `is_first` or follows an answer."""
        first = messages[0]
        parts = [self.begin if is_first else self.after]
        if is_first and first.role != "system":
            parts.append(self.opening_with_input if first.input else self.opening)
        for message in messages:
            template = self.system if message.role == "system" else self.user
            content = message.content if self.input else join_content(message)
            parts.append(Template(template).safe_substitute(content=content))
            if message.input:
                parts.append(Template(self.input).safe_substitute(input=message.input))
        return "".join([*parts, self.response])

    def format_turns(self, messages: list[Message]) -> Iterator[tuple[str, Message | None]]:
        """The text of each prompt, and the answer that follows it, if one does."""
        pending: list[Message] = []
        is_first = True
        for message in add_system_prompt(messages, self.system_prompt):
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
            prompt = self.encode_prompt(text, tokenizer)
            ids, mask = ids + prompt, mask + [False] * len(prompt)
            if answer:
                said = [*tokenizer.encode(answer.content), self.find_end_id(tokenizer)]
                ids, mask = ids + said, mask + [answer.is_scored] * len(said)
        return ids, mask

    def encode_prompt(self, text: str, tokenizer: Tokenizer) -> list[int]:
        """The ids of a prompt, with its special tokens if the style has any and the tokenizer knows them."""
        encode: Any = tokenizer.encode
        return encode(text, special=True) if self.end and accepts_special(encode) else encode(text)

    def find_end_id(self, tokenizer: Tokenizer) -> int:
        """The token that ends an answer."""
        ids = self.encode_prompt(self.end, tokenizer) if self.end else []
        return ids[0] if len(ids) == 1 else tokenizer.eos_id

    def to_chat_template(self, tokenizer: Tokenizer) -> str:
        """The style as a chat template of Hugging Face (Jinja), of conversations without an `input`."""

        def quote(template: str) -> str:
            before, _, after = template.partition("$content")
            return f"{json.dumps(before)} + message.content + {json.dumps(after)}"

        opening = (
            Template(self.system).safe_substitute(content=self.system_prompt) if self.system_prompt else self.opening
        )
        end = "eos_token" if self.find_end_id(tokenizer) == tokenizer.eos_id else json.dumps(self.end)
        return (
            f"{{{{ {json.dumps(self.begin)} }}}}"
            f"{{%- if messages[0].role != 'system' %}}{{{{ {json.dumps(opening)} }}}}{{%- endif %}}"
            "{%- for message in messages %}"
            f"{{%- if message.role == 'system' %}}{{{{ {quote(self.system)} }}}}"
            f"{{%- elif message.role == 'user' %}}{{{{ {quote(self.user)} + {json.dumps(self.response)} }}}}"
            f"{{%- else %}}{{{{ message.content + {end} }}}}"
            f"{{%- if not loop.last %}}{{{{ {json.dumps(self.after)} }}}}{{%- endif %}}{{%- endif %}}"
            "{%- endfor %}"
        )

    def save(self, folder: Path) -> None:
        """Write `prompt_style.json`."""
        write_json(folder / FILE_NAME, asdict(self))


def add_system_prompt(messages: list[Message], system_prompt: str) -> list[Message]:
    """The messages after a style's own system prompt, if it has one and they have none."""
    is_missing = system_prompt and messages[0].role != "system"
    return [Message("system", system_prompt), *messages] if is_missing else messages


def join_content(message: Message) -> str:
    """What a message says, with what it refers to below it."""
    return f"{message.content}\n\n{message.input}" if message.input else message.content


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
        # ChatML, of Qwen and SmolLM2 (github.com/openai/openai-python, chatml.md).
        PromptStyle(
            "chatml",
            user="<|im_start|>user\n$content<|im_end|>\n",
            response="<|im_start|>assistant\n",
            system="<|im_start|>system\n$content<|im_end|>\n",
            end="<|im_end|>",
            after="\n",
        ),
        # The turns of Llama 3 (Grattafiori et al., arXiv 2407.21783).
        PromptStyle(
            "llama3",
            user="<|start_header_id|>user<|end_header_id|>\n\n$content<|eot_id|>",
            response="<|start_header_id|>assistant<|end_header_id|>\n\n",
            begin="<|begin_of_text|>",
            system="<|start_header_id|>system<|end_header_id|>\n\n$content<|eot_id|>",
            end="<|eot_id|>",
        ),
        # Nothing but what is said: the end token stands between an answer and the next message.
        PromptStyle("plain", user="$content", response="", system="$content"),
    )
}
