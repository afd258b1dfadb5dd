"""Records of instructions and conversations in the formats that people have them in, as lists of messages.

A record's keys tell its format: `messages` (OpenAI's chat), `conversations` (ShareGPT), `prompt` and `completion` (texts, or
messages), else `instruction`, `input` and `output` (Alpaca; Taori et al., 2023), which `data.keys` may name otherwise.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from seqlab.data.readers import TextReader, check_characters, read_parquet_records, text_suffix
from seqlab.errors import UserError
from seqlab.prompts.styles import Message, Role

INSTRUCTION_KEYS = ("instruction", "input", "output")
ROLES: dict[str, Role] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "model", "bot"), "assistant"),
}
EXAMPLE = '[{"instruction": …, "input": …, "output": …}, …]'


class Conversation(NamedTuple):
    """Messages of a user and answers in turn, the last of which is an answer; perhaps after one of the system."""

    messages: list[Message]
    has_more_outputs: bool = False  # than the one that is taken, the first

    @property
    def prompt(self) -> tuple[Message, ...]:
        """What the last answer replies to."""
        return tuple(self.messages[:-1])


def read_conversations(files: Iterable[Path], keys: dict[str, str] | None = None) -> list[Conversation]:
    """The records of files. Raises UserError naming file, record (from 1), key and reason."""
    names = dict(zip(INSTRUCTION_KEYS, INSTRUCTION_KEYS, strict=True)) | (keys or {})
    unseen = {key for key, name in names.items() if name != key}
    found = []
    for path in files:
        for number, value in enumerate(read_values(path), 1):
            found.append(parse_record(value, f"Record {number} of {path}", names))
            unseen = {key for key in unseen if names[key] not in value}
    for key in sorted(unseen):
        raise UserError(
            f"No record has the key {names[key]}, which data.keys.{key} names: correct it, or leave it out."
        )
    return found


def read_values(path: Path) -> Iterator[Any]:
    """The records of a JSON list, of JSON Lines or of Parquet. Raises UserError if there are none."""
    values = read_parquet_records(path) if text_suffix(path) == ".parquet" else TextReader().read_values(path)
    number = 0
    for number, value in enumerate(values, 1):  # noqa: B007 - whether there was any
        yield value
    if not number:
        raise UserError(f"{path} has no records; write {EXAMPLE}.")


def parse_record(value: Any, place: str, keys: dict[str, str]) -> Conversation:
    """A record as a conversation; `place` names it. Raises UserError."""
    if not isinstance(value, dict):
        raise UserError(f"{place} is not an object but {cut_json(value)}; write instruction, input and output.")
    if value.get("messages") is not None:
        messages = parse_messages(value["messages"], place, "messages", "role", "content")
    elif value.get("conversations") is not None:
        messages = parse_messages(value["conversations"], place, "conversations", "from", "value")
    elif "completion" in value and keys["instruction"] not in value:
        messages = parse_completion(value, place)
    else:
        return parse_instruction(value, place, keys)
    return Conversation(check_turns(add_system(messages, value, place), place))


def parse_instruction(value: dict[str, Any], place: str, keys: dict[str, str]) -> Conversation:
    """A record of instruction, input and output; of several outputs the first is taken."""
    instruction = take_content(value, keys["instruction"], place)
    refers_to = value.get(keys["input"])
    text = "" if refers_to is None else take_content(value, keys["input"], place, may_be_blank=True)
    outputs = value.get(keys["output"])
    if isinstance(outputs, list) and outputs:
        texts = [take_content({keys["output"]: output}, keys["output"], place) for output in outputs]
    else:
        texts = [take_content(value, keys["output"], place)]
    messages = [Message("user", instruction, text), Message("assistant", texts[0])]
    return Conversation(add_system(messages, value, place), len(texts) > 1)


def parse_completion(value: dict[str, Any], place: str) -> list[Message]:
    """A prompt and its completion: texts, or messages, of which only the completion's are scored."""
    if not isinstance(value.get("prompt"), list):
        return [
            Message("user", take_content(value, "prompt", place)),
            Message("assistant", take_content(value, "completion", place)),
        ]
    prompt, completion = (parse_messages(value[key], place, key, "role", "content") for key in ("prompt", "completion"))
    return [*(message._replace(is_scored=False) for message in prompt), *completion]


def parse_messages(values: Any, place: str, key: str, role_key: str, content_key: str) -> list[Message]:
    """The messages under a key. Raises UserError."""
    if not isinstance(values, list) or not values:
        raise UserError(f"{place} has {cut_json(values)} under {key}, not a list of messages: fix it.")
    messages = []
    for number, value in enumerate(values, 1):
        where = f"{place}, message {number} of {key},"
        if not isinstance(value, dict):
            raise UserError(f"{where} is not an object but {cut_json(value)}: write {role_key} and {content_key}.")
        said = value.get(role_key)
        if not isinstance(said, str) or said.lower() not in ROLES:
            raise UserError(f"{where} has {cut_json(said)} under {role_key}: use system, user or assistant.")
        role = ROLES[said.lower()]
        content = take_content(value, content_key, where, may_be_blank=role == "system")
        messages.append(Message(role, content, is_scored=read_weight(value, where)))
    return messages


def read_weight(value: dict[str, Any], where: str) -> bool:
    """Whether a message is scored: its `weight`, 0 or 1. Raises UserError."""
    weight = value.get("weight")
    if weight is None:
        return True
    if isinstance(weight, bool) or weight not in (0, 1):
        raise UserError(f"{where} has {cut_json(weight)} under weight: write 0 or 1, or leave it out.")
    return weight == 1


def add_system(messages: list[Message], value: dict[str, Any], place: str) -> list[Message]:
    """The messages after what stands under `system`; a blank system message is left out."""
    if isinstance(value.get("system"), str) and messages[0].role != "system":
        messages = [Message("system", take_content(value, "system", place, may_be_blank=True)), *messages]
    return messages if messages[0].role != "system" or messages[0].content.strip() else messages[1:]


def check_turns(messages: list[Message], place: str) -> list[Message]:
    """The messages, if user and assistant alternate and the assistant is the last. Raises UserError."""
    first = int(bool(messages) and messages[0].role == "system")
    for number, message in enumerate(messages[first:]):
        expected = ("user", "assistant")[number % 2]
        if message.role != expected:
            raise UserError(
                f"{place} has a message of the {message.role} where one of the {expected} is due (message "
                f"{first + number + 1}): user and assistant must alternate, after at most one of the system."
            )
    if len(messages) == first or messages[-1].role != "assistant":
        raise UserError(f"{place} does not end with a message of the assistant: add one, or remove the last.")
    return messages


def take_content(value: dict[str, Any], key: str, place: str, may_be_blank: bool = False) -> str:
    """The text under a key; the texts of OpenAI's parts are joined. Raises UserError."""
    text = value.get(key)
    if isinstance(text, list) and text and all(isinstance(part, dict) and part.get("type") == "text" for part in text):
        text = "".join(str(part.get("text", "")) for part in text)
    if key not in value:
        there = f"; it has {', '.join(map(str, value))}" if value else ""
        named = f", or name its key with data.keys.{key}=…" if key in INSTRUCTION_KEYS else ""
        raise UserError(f"{place} has no text under {key}: add it{named}{there}.")
    if not isinstance(text, str):
        remedy = "write it in quotes" if isinstance(text, int | float) else "write a text, or remove the record"
        raise UserError(f"{place} has {cut_json(text)} under {key}, which is not text: {remedy}.")
    if not (may_be_blank or text.strip()):
        raise UserError(f"{place} has no text under {key} but {cut_json(text)}: write one, or remove the record.")
    check_characters(text, f"{place}, under {key},")
    return text


def cut_json(value: Any) -> str:
    """A value as JSON writes it, cut to what a sentence can hold."""
    return json.dumps(value, default=str, ensure_ascii=False)[:40]
