"""Prompts from a file, and records of it as examples before the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from seqlab.data.readers import TextReader
from seqlab.data.records import INSTRUCTION_KEYS
from seqlab.errors import UserError
from seqlab.files import expand_path
from seqlab.prompts.styles import Message
from seqlab.serving.language import check_ids, check_tokenizer, encode_messages, encode_prompt, encode_text

if TYPE_CHECKING:
    from seqlab.serving.engine import LoadedRun

BLANK_LINE = "\n\n"  # ends an answer in a plain text with examples


class PromptRecord(NamedTuple):
    """A prompt, what it refers to, and its answer if the file has one."""

    prompt: str
    input: str = ""
    output: str = ""


def read_prompts(path: str, keys: dict[str, str] | None = None) -> list[PromptRecord]:
    """The prompts of a file: a line each, or of .json and .jsonl an object each, with `prompt` or `instruction`.

    `keys` are the names of `instruction`, `input` and `output` in it, as in `data.keys`. Raises UserError naming file, record
    and reason.
    """
    file = expand_path(path)
    if not file.exists() or file.is_dir():
        kind = "is a folder" if file.is_dir() else "does not exist"
        raise UserError(f"prompts={path} {kind}: name a .txt file with one prompt a line, .json or .jsonl.")
    if file.suffix in (".json", ".jsonl"):
        records = [
            read_record(value, number, file, keys or {})
            for number, value in enumerate(TextReader().read_values(file), 1)
        ]
    else:
        lines = "".join(TextReader().read_pieces(file)).split("\n")
        records = [PromptRecord(line) for line in lines if line.strip()]
    if not records:
        raise UserError(f"{file} has no prompts: write one a line.")
    return records


def read_record(value: Any, number: int, file: Path, keys: dict[str, str]) -> PromptRecord:
    """A record of a JSON file; a text is a prompt. Raises UserError."""
    value = {"prompt": value} if isinstance(value, str) else value
    if not isinstance(value, dict):
        raise UserError(f"Record {number} of {file} is {json.dumps(value)[:40]}, which is not an object: write prompt.")
    instruction, *other_keys = [keys.get(key, key) for key in INSTRUCTION_KEYS]
    key = "prompt" if "prompt" in value else instruction
    if not isinstance(value.get(key), str) or not value[key]:
        raise UserError(f"Record {number} of {file} has no text under prompt or {instruction}: add it.")
    others: Any = [value.get(other) or "" for other in other_keys]
    if not all(isinstance(part, str) for part in others):
        raise UserError(f"Record {number} of {file} has an input or output that is not text: put it in quotes.")
    return PromptRecord(value[key], *others)


def take_examples(records: list[PromptRecord], shots: int) -> tuple[list[PromptRecord], list[PromptRecord]]:
    """The first records as examples, and the others. Raises UserError if there are too few, or one has no answer."""
    if shots >= len(records):
        raise UserError(f"shots={shots} leaves none of {len(records)} records to answer: give fewer.")
    if lacking := [number for number, record in enumerate(records[:shots], 1) if not record.output]:
        raise UserError(f"Record {lacking[0]} has no output, which an example needs: add it, or leave shots out.")
    return records[:shots], records[shots:]


def encode_record(run: LoadedRun, record: PromptRecord, examples: list[PromptRecord]) -> list[int]:
    """The ids of a prompt after its examples: turns of the run's prompt style, or paragraphs of a plain text."""
    check_tokenizer(run)
    if not examples:
        return encode_prompt(run, record.prompt, record.input)
    if not run.prompt_style:
        paragraphs = [format_paragraph(example) for example in [*examples, record._replace(output="")]]
        return check_ids(run, encode_text(run, BLANK_LINE.join(paragraphs)), record.prompt)
    messages: list[Message] = []
    for example in examples:
        messages += [Message("user", example.prompt, example.input), Message("assistant", example.output)]
    return encode_messages(run, [*messages, Message("user", record.prompt, record.input)])


def format_paragraph(record: PromptRecord) -> str:
    """A record as a plain text, for a model that was not tuned on instructions to continue."""
    lines = [record.prompt, *([record.input] if record.input else []), f"Answer: {record.output}"]
    return "\n".join(lines).rstrip()
