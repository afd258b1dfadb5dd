"""What a loaded language model writes: prompts as token ids, and the completions of one or many of them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from seqlab.config.signatures import check_arguments, check_value
from seqlab.errors import UserError, did_you_mean
from seqlab.generation.generate import eval_mode
from seqlab.generation.next_token import SamplingOptions
from seqlab.prompts.styles import Message
from seqlab.serving.completions import Completion, CompletionBatch, Piece
from seqlab.types import PositiveInt
from seqlab.weights.hf_folder import is_hf_folder

if TYPE_CHECKING:
    from seqlab.serving.engine import LoadedRun

Stop = str | Sequence[str]
MAX_BIAS = 1_000_000  # added to a logit it decides, and stays a number in fp32
DRAWING_OPTIONS = ("top_k", "top_p", "min_p", "seed")  # without effect at temperature 0


def encode_prompt(run: LoadedRun, prompt: str, input: str = "") -> list[int]:
    """The ids of a prompt as it is, or as an instruction in the run's prompt style. Raises UserError."""
    check_tokenizer(run)
    if not isinstance(prompt, str):
        raise UserError(f"{str(prompt)[:80]} is not a prompt: give one text; complete takes several.")
    if input and not run.prompt_style:
        raise UserError(
            f"input={input} belongs to an instruction, and this run was not trained on instructions: leave it out."
        )
    if not prompt:
        raise UserError('The prompt is empty: give one with prompt="…".')
    if run.prompt_style:
        return encode_messages(run, [Message("user", prompt, input)])
    return check_ids(run, encode_text(run, prompt), prompt)


def encode_text(run: LoadedRun, text: str) -> list[int]:
    """The ids of a text as it is. Raises UserError."""
    with explain_characters():
        return run.tokenizer.encode(text)


@contextmanager
def explain_characters() -> Iterator[None]:
    """Raises UserError for what the tokenizer cannot encode."""
    try:
        yield
    except UnicodeError as error:
        raise UserError(
            "The text has a part of a character, which is not text (a lone surrogate): remove it."
        ) from error
    except ValueError as error:
        raise UserError(str(error)) from error


def encode_messages(run: LoadedRun, messages: list[Message]) -> list[int]:
    """The ids of a conversation up to where the next answer begins, in the run's prompt style. Raises UserError."""
    check_tokenizer(run)
    assert run.prompt_style is not None, "a run without a style has plain prompts"
    return check_ids(run, render_messages(run, run.prompt_style, messages), messages[-1].content)


def render_messages(run: LoadedRun, style: Any, messages: list[Message]) -> list[int]:
    """The ids of a conversation in a style, however many. Raises UserError."""
    with explain_characters():
        return style.render(messages, run.tokenizer)[0]


def check_ids(run: LoadedRun, ids: list[int], prompt: str) -> list[int]:
    """The ids of a prompt that the model can read at once. Raises UserError."""
    if not ids:
        raise UserError(f"prompt={prompt!r} has no token in this tokenizer: write more.")
    check_vocabulary(run, ids)
    if run.context_length and len(ids) > run.context_length:
        raise UserError(
            f"The prompt has {len(ids)} tokens, and this model reads at most {run.context_length}: shorten it."
        )
    return ids


def check_vocabulary(run: LoadedRun, ids: list[int]) -> None:
    """Refuse ids that the model does not know. Raises UserError."""
    known = run.tokenizer.vocab_size
    if outside := [token for token in ids if not 0 <= token < known]:
        raise UserError(f"There is no token {outside[0]}: the ids of this tokenizer go from 0 to {known - 1}.")
    size = run.data_properties.get("vocab_size") or run.config["model"].get("vocab_size")
    if size and max(ids) >= size:
        raise UserError(
            f"{run.folder} has a tokenizer of {known} tokens, and its model knows {size}: put the tokenizer's files that "
            "belong to the weights there."
        )


def check_tokenizer(run: LoadedRun) -> None:
    """Raises UserError if there is none, and so no text."""
    if run.tokenizer is None and is_hf_folder(run.folder):
        raise UserError(f"{run.folder} has no tokenizer.json: put the tokenizer's files there.")
    if run.tokenizer is None:
        raise UserError(f"{run.folder} is not a language model: use a run that was trained on text or instructions.")


def read_options(run: LoadedRun, options: dict[str, Any]) -> SamplingOptions:
    """The options of a text. Raises UserError for one that is unknown, does not fit, or has no effect."""
    known = [field.name for field in fields(SamplingOptions)]
    if unknown := [name for name in options if name not in known]:
        raise UserError(f"{unknown[0]} is not an option of a text.{did_you_mean(unknown[0], [*known, 'stop'])}")
    check_arguments(options, SamplingOptions, "")
    for name in DRAWING_OPTIONS:
        if options.get(name) and not options.get("temperature"):
            raise UserError(
                f"{name}={options[name]} has no effect at temperature=0: set a temperature above 0 as well."
            )
    found = SamplingOptions(**options)
    if found.min_new_tokens > found.max_new_tokens:
        raise UserError(f"min_new_tokens={found.min_new_tokens} is more than max_new_tokens={found.max_new_tokens}.")
    size = min(run.tokenizer.vocab_size, run.config["model"].get("vocab_size") or run.tokenizer.vocab_size)
    bias = {int(token): value for token, value in (found.logit_bias or {}).items()}
    if large := [value for value in bias.values() if abs(value) > MAX_BIAS]:
        raise UserError(f"logit_bias={large[0]} is too large: give numbers from -{MAX_BIAS:,} to {MAX_BIAS:,}.")
    if outside := [token for token in bias if not 0 <= token < size]:
        raise UserError(f"logit_bias names token {outside[0]}, and the tokenizer has {size}: give ids below that.")
    return replace(found, logit_bias=bias)


def start_completions(
    run: LoadedRun,
    prompts: Sequence[list[int]],
    n: PositiveInt = 1,
    stop: Stop = (),
    is_answer: bool = False,
    **options: Any,
) -> list[Completion]:
    """Each prompt `n` times, with the seeds seed, seed + 1 …: any of them can be had alone by its own. Raises UserError."""
    check_value("n", n, PositiveInt)
    if n > 1 and not options.get("temperature"):
        raise UserError(f"n={n} texts are all the same at temperature=0: set a temperature above 0 as well.")
    first, stops, ends = read_options(run, options), read_stops(stop), list_end_ids(run)
    seeded = [replace(first, seed=first.seed + number) for number in range(n)]
    return [Completion(ids, one, ends, run.tokenizer.decode, stops, is_answer) for ids in prompts for one in seeded]


def read_stops(stop: Any) -> list[str]:
    """Stop strings, given as one or several. Raises UserError for what is none."""
    stops = list(stop) if isinstance(stop, list | tuple) else [stop]
    if not all(isinstance(one, str) for one in stops):
        raise UserError(f"stop={stop!r} does not fit: it must be a text, or a list of texts.")
    if "" in stops:
        raise UserError('stop="" would end every text before it begins: leave it out.')
    return stops


def continue_completions(run: LoadedRun, completions: Sequence[Completion]) -> Generator[Piece]:
    """Continue completions together until all have ended; yields the pieces of each as they come."""
    batch = CompletionBatch(run.model, run.tokenizer.vocab_size)
    for completion in completions:
        batch.add(completion)
    with eval_mode(run.model):
        yield from batch.run()


def list_end_ids(run: LoadedRun) -> frozenset[int]:
    """The tokens that end a text: chat models have several."""
    ends = getattr(run.tokenizer, "end_ids", None) or [run.tokenizer.eos_id]
    return frozenset([*ends, *([run.prompt_style.find_end_id(run.tokenizer)] if run.prompt_style else [])])
