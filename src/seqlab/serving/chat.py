"""Conversations with a loaded run: messages as a prompt that fits into the context."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from seqlab.errors import UserError
from seqlab.prompts.styles import Message
from seqlab.prompts.transcript import STOP, Transcript
from seqlab.serving.completions import Completion
from seqlab.serving.language import (
    Stop,
    check_tokenizer,
    check_vocabulary,
    read_options,
    read_stops,
    render_messages,
    start_completions,
)
from seqlab.types import PositiveInt

if TYPE_CHECKING:
    from seqlab.serving.engine import LoadedRun

ROLES = ("system", "user", "assistant")


def read_messages(messages: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Messages as everyone writes them, {"role": …, "content": …}. Raises UserError for others."""
    if isinstance(messages, str) or not isinstance(messages, Sequence):
        raise UserError('A conversation is a list of messages: write [{"role": "user", "content": "…"}].')
    found = []
    for number, message in enumerate(messages, 1):
        if not isinstance(message, Mapping) or not isinstance(message.get("content"), str):
            raise UserError(f'Message {number} has no text: write {{"role": "user", "content": "…"}}.')
        if message.get("role") not in ROLES:
            raise UserError(f"Message {number} has the role {message.get('role')!r}: use one of {', '.join(ROLES)}.")
        found.append(Message(message["role"], message["content"]))
    if not found or found[-1].role != "user" or not found[-1].content:
        raise UserError("The last message must be a user's, with some text: an answer follows it.")
    asked = False
    for number, one in enumerate(found, 1):
        if one.role == "assistant" and not asked:
            raise UserError(f"Message {number} answers nothing: a user's message must come before an assistant's.")
        asked = one.role == "user" or (asked and one.role == "system")
    return found


def fit_messages(run: LoadedRun, messages: list[Message], room: int = 0) -> tuple[list[int], int]:
    """The ids of a conversation with `room` left in the context for an answer, and how many messages were left out for it.

    The oldest turns are left out first, a system message never. Raises UserError if the last message alone is too long.
    """
    check_tokenizer(run)
    style, limit = run.prompt_style or Transcript(), run.context_length or 0
    turns = [place for place, message in enumerate(messages) if message.role == "user"]

    def keep_turns(first: int) -> list[Message]:
        """The messages from a turn on, after all system messages before it."""
        start = turns[first] if first else 0
        return [message for message in messages[:start] if message.role == "system"] + messages[start:]

    def has_room(first: int) -> bool:
        return not limit or len(render_messages(run, style, keep_turns(first))) + room <= limit

    first = bisect_left(range(len(turns) - 1), True, key=has_room)  # the more turns are left out, the shorter it is
    ids = render_messages(run, style, keep_turns(first))
    if limit and len(ids) > limit:
        raise UserError(f"The message has {len(ids)} tokens, and this model reads at most {limit}: shorten it.")
    check_vocabulary(run, ids)
    return ids, len(messages) - len(keep_turns(first))


def check_conversation(run: LoadedRun) -> None:
    """Refuse a run whose tokenizer cannot write what stands around messages. Raises UserError."""
    try:
        fit_messages(run, [Message("user", "")])
    except UserError as error:
        reason = str(error).partition(":")[0]
        raise UserError(
            f"{run.folder} cannot take part in a conversation. {reason}: use a run with tokenizer=byte."
        ) from error


def start_answers(
    run: LoadedRun, messages: list[Message], n: PositiveInt = 1, stop: Stop = (), **options: Any
) -> tuple[list[Completion], int]:
    """Answers that have not begun, and how many messages were left out. Raises UserError."""
    read_options(run, options)
    room = min(options.get("max_new_tokens", 100), (run.context_length or 0) // 2)
    ids, left_out = fit_messages(run, messages, room)
    stops = [*read_stops(stop), *(() if run.prompt_style else STOP)]
    return start_completions(run, [ids], n, stops, is_answer=True, **options), left_out
