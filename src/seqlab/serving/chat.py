"""Conversations with a loaded run: messages as a prompt that fits into the context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from seqlab.errors import UserError
from seqlab.prompts.styles import Message
from seqlab.prompts.transcript import STOP, Transcript
from seqlab.serving.completions import Completion
from seqlab.serving.language import Stop, check_tokenizer, check_vocabulary, read_stops, start_completion

if TYPE_CHECKING:
    from seqlab.serving.engine import LoadedRun

ROLES = ("system", "user", "assistant")


def read_messages(messages: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Messages as everyone writes them, {"role": …, "content": …}. Raises UserError for others."""
    found = []
    for number, message in enumerate(messages, 1):
        if not isinstance(message, Mapping) or not isinstance(message.get("content"), str):
            raise UserError(f'Message {number} has no text: write {{"role": "user", "content": "…"}}.')
        if message.get("role") not in ROLES:
            raise UserError(f"Message {number} has the role {message.get('role')!r}: use one of {', '.join(ROLES)}.")
        found.append(Message(message["role"], message["content"]))
    if not found or found[-1].role != "user" or not found[-1].content:
        raise UserError("The last message must be a user's, with some text: an answer follows it.")
    return found


def fit_messages(run: LoadedRun, messages: list[Message], room: int) -> tuple[list[int], int]:
    """The ids of a conversation with `room` left in the context for an answer, and how many messages were left out for it.

    The oldest turns are left out first, a system message never. Raises UserError if the last message alone is too long.
    """
    check_tokenizer(run)
    style = run.prompt_style or Transcript()
    context = getattr(run.model, "context_length", None)
    kept = list(messages)
    while True:
        try:
            ids = style.render(kept, run.tokenizer)[0]
        except ValueError as error:
            raise UserError(str(error)) from error
        left_out = len(messages) - len(kept)
        turns = [place for place, message in enumerate(kept) if message.role == "user"]
        if not context or len(ids) + room <= context or (len(turns) == 1 and len(ids) <= context):
            check_vocabulary(run, ids)
            return ids, left_out
        if len(turns) == 1:
            raise UserError(f"The message has {len(ids)} tokens, and this model reads at most {context}: shorten it.")
        kept = [message for message in kept[: turns[0]] if message.role == "system"] + kept[turns[1] :]


def start_answer(run: LoadedRun, messages: list[Message], stop: Stop = (), **options: Any) -> tuple[Completion, int]:
    """An answer that has not begun, and how many messages were left out. Raises UserError."""
    context = getattr(run.model, "context_length", None) or 0
    room = min(options.get("max_new_tokens", 100), context // 2)
    ids, left_out = fit_messages(run, messages, room)
    stops = [*read_stops(stop), *(() if run.prompt_style else STOP)]
    return start_completion(run, ids, stops, is_answer=True, **options), left_out
