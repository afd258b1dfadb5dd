"""Conversations: the prompt of each style, what is left out where the context is full, and messages of a wrong form."""

from collections.abc import Callable
from typing import Any

import pytest

from seqlab.errors import UserError
from seqlab.prompts.styles import STYLES, Message
from seqlab.serving.chat import fit_messages, read_messages

TALK = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Yes"},
    {"role": "user", "content": "More"},
]


def test_a_run_that_was_trained_on_prompts_answers_in_its_style(make_run: Callable) -> None:
    run = make_run(style="phi", context_length=128)
    messages = [Message("user", "Hi"), Message("assistant", "Yes"), Message("user", "More")]
    ids, left_out = fit_messages(run, messages, 20)
    assert (ids, left_out) == (STYLES["phi"].render(messages, run.tokenizer)[0], 0)
    assert run.chat(TALK[:1], max_new_tokens=20) == run.generate("Hi", max_new_tokens=20).lstrip()


def test_a_base_model_gets_a_transcript(make_run: Callable) -> None:
    run = make_run(context_length=128)
    messages = read_messages([{"role": "system", "content": "Be short."}, *TALK])
    ids, _ = fit_messages(run, messages, 20)
    assert run.tokenizer.decode(ids) == "Be short.\n\nUser: Hi\nAssistant: Yes\nUser: More\nAssistant:"
    transcript = run.generate("User: Hi\nAssistant:", max_new_tokens=40, temperature=1.0, seed=3)
    answer = run.chat(TALK[:1], max_new_tokens=40, temperature=1.0, seed=3)
    assert answer == transcript.split("\nUser:")[0].lstrip()


def test_the_oldest_turns_are_left_out_and_the_system_message_stays(make_run: Callable) -> None:
    run = make_run(context_length=96)
    turns = [Message("user", "Hi"), Message("assistant", "Yes")] * 8
    messages = [Message("system", "Be short."), *turns, Message("user", "More")]
    ids, left_out = fit_messages(run, messages, 16)
    assert left_out % 2 == 0
    assert left_out > 0
    text = run.tokenizer.decode(ids)
    assert len(ids) <= 80
    assert text.startswith("Be short.\n\nUser: Hi\n")
    assert text.endswith("User: More\nAssistant:")


def test_a_message_that_is_too_long_is_refused(make_run: Callable) -> None:
    with pytest.raises(UserError, match="this model reads at most 64: shorten it"):
        make_run().chat([{"role": "user", "content": "a" * 60}])


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "The last message must be a user's"),
        (TALK[:2], "The last message must be a user's"),
        ([{"role": "user", "content": ""}], "The last message must be a user's"),
        ([{"role": "robot", "content": "Hi"}], "Message 1 has the role 'robot'"),
        ([{"role": "user"}], "Message 1 has no text"),
        (["Hi"], "Message 1 has no text"),
    ],
)
def test_messages_of_another_form_are_refused(messages: list[Any], message: str, make_run: Callable) -> None:
    with pytest.raises(UserError, match=message):
        make_run().chat(messages)
