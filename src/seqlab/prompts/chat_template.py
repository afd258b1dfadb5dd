"""Chat templates as Hugging Face folders come with them: Jinja, in a sandbox that reaches nothing but the messages."""

import datetime
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from seqlab.errors import UserError
from seqlab.files import read_json, write_json
from seqlab.prompts.styles import FILE_NAME, Message, add_system_prompt, join_content
from seqlab.tokenizers.hf import SETTINGS, TEMPLATE, TOKEN_NAMES, read_token

MAX_SECONDS = 5.0
MAX_CHARACTERS = 10_000_000
EXTENSIONS = ("jinja2.ext.loopcontrols",)  # as in transformers
CHAT_TEMPLATE = "chat_template"  # the name of this style
SPECIAL_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")


@dataclass(frozen=True)
class ChatTemplate:
    """A template that turns messages into text, in which special tokens are written out."""

    template: str
    special_tokens: dict[str, str]
    system_prompt: str = ""  # of conversations without a system message of their own
    name: str = CHAT_TEMPLATE

    def format_prompt(self, messages: list[Message], opens_answer: bool = True) -> str:
        """The text of messages, up to where the next answer begins if it `opens_answer`. Raises UserError."""
        environment = build_environment()
        messages = add_system_prompt(messages, self.system_prompt)
        said = [{"role": message.role, "content": join_content(message)} for message in messages]
        try:
            template = environment.from_string(self.template)
            others = {"tools": None, "documents": None} | self.special_tokens  # what transformers gives besides
            with limit_time(MAX_SECONDS):
                return template.render(messages=said, add_generation_prompt=opens_answer, **others)
        except UserError:
            raise
        except Exception as error:  # a template may raise anything
            reason = str(error).rstrip(".")
            raise UserError(
                f"This model's chat template cannot render these messages ({reason}): fix the template."
            ) from error

    def format_text(self, messages: list[Message]) -> str:
        """Prompts and answers as one text."""
        return self.format_prompt(messages, messages[-1].role != "assistant")

    def find_end_id(self, tokenizer: Any) -> int:
        """The token that ends an answer."""
        return tokenizer.eos_id

    def to_chat_template(self, tokenizer: Any) -> str:
        """The template itself; a system prompt of its own is part of it."""
        if not self.system_prompt:
            return self.template
        own = json.dumps(self.system_prompt)
        return (
            "{%- if messages[0].role != 'system' %}"
            f"{{%- set messages = [{{'role': 'system', 'content': {own}}}] + messages %}}"
            "{%- endif %}"
        ) + self.template

    def save(self, folder: Path) -> None:
        """Write `prompt_style.json`."""
        write_json(folder / FILE_NAME, asdict(self))

    def render(self, messages: list[Message], tokenizer: Any) -> tuple[list[int], list[bool]]:
        """messages -> ids (T,), loss mask (T,): true for the tokens of scored answers and the end token after each.

        Each answer is encoded by itself, so that the prompt before it has the same ids in training and in generation.
        """
        ids: list[int] = []
        mask: list[bool] = []
        done = ""  # the text that is encoded
        for number, message in enumerate(messages):
            if message.role != "assistant":
                continue
            before, after = self.format_prompt(messages[:number]), self.format_prompt(messages[: number + 1], False)
            if not (before.startswith(done) and after.startswith(before)):
                raise UserError(
                    "The chat template of this model does not append an answer to its prompt: use another one."
                )
            prompt = tokenizer.encode(before[len(done) :], special=True)
            text, end, _ = after[len(before) :].rpartition(self.special_tokens["eos_token"])
            if not end:
                raise UserError(
                    "The chat template of this model does not end an answer with its end token: use another one."
                )
            answer = [*tokenizer.encode(text), tokenizer.eos_id]
            ids += prompt + answer
            mask += [False] * len(prompt) + [message.is_scored] * len(answer)
            done = before + text + end
        if messages[-1].role != "assistant":
            prompt = tokenizer.encode(self.format_prompt(messages)[len(done) :], special=True)
            ids, mask = ids + prompt, mask + [False] * len(prompt)
        return ids, mask


@cache
def build_environment() -> Any:
    """Jinja's sandbox, in which a product makes no text that fills the memory."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(["*", "**"])

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            sizes = [len(one) if hasattr(one, "__len__") else abs(one) for one in (left, right)]
            if operator == "**" or sizes[0] * sizes[1] > MAX_CHARACTERS:
                raise ValueError(f"{operator} of values that large")
            return super().call_binop(context, operator, left, right)

    environment = Environment(trim_blocks=True, lstrip_blocks=True, extensions=EXTENSIONS)
    environment.globals |= {"raise_exception": refuse_messages, "strftime_now": format_now}
    return environment


@contextmanager
def limit_time(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in what runs in this thread for longer, as a loop without an end does."""
    before, end = sys.gettrace(), time.monotonic() + seconds

    def check_time(frame: Any, event: str, argument: Any) -> Any:
        if time.monotonic() > end:
            raise TimeoutError(f"it takes longer than {seconds:g} s")
        return check_time

    sys.settrace(check_time)
    try:
        yield
    finally:
        sys.settrace(before)


def refuse_messages(reason: str) -> None:
    """What a template calls for messages that it cannot render."""
    raise UserError(f"The chat template of this model refuses these messages: {reason}")


def format_now(pattern: str) -> str:
    """The time, as a template asks for it."""
    return datetime.datetime.now().strftime(pattern)


def load_chat_template(folder: Path) -> ChatTemplate | None:
    """The chat template of a folder in Hugging Face format; None if it has none. Raises UserError."""
    files = [folder / name for name in (TOKEN_NAMES, SETTINGS)]
    settings = {key: value for file in files if file.is_file() for key, value in read_json(file).items()}
    try:
        own = (folder / TEMPLATE).read_text(encoding="utf-8") if (folder / TEMPLATE).is_file() else None
    except UnicodeDecodeError as error:
        raise UserError(f"{folder / TEMPLATE} is not UTF-8 text: restore it.") from error
    template = own or settings.get("chat_template")
    if isinstance(template, list):  # several, by their names
        template = next((one.get("template") for one in template if one.get("name") == "default"), None)
    if not isinstance(template, str):
        return None
    texts = {name: text for name in SPECIAL_TOKENS if (text := read_token(settings, name)) is not None}
    if "eos_token" not in texts:
        raise UserError(
            f"{folder} has a chat template, and {SETTINGS} names no eos_token, which ends an answer: add it."
        )
    return ChatTemplate(template, texts)
