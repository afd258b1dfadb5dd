"""What a loaded language model writes: prompts as token ids, and the completions of one or many of them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

from seqlab.config.signatures import check_arguments, check_value
from seqlab.errors import UserError
from seqlab.generation.generate import eval_mode
from seqlab.generation.next_token import SamplingOptions
from seqlab.prompts.styles import Message
from seqlab.serving.completions import Completion, CompletionBatch, Piece
from seqlab.types import PositiveInt
from seqlab.weights.hf_folder import is_hf_folder

if TYPE_CHECKING:
    from seqlab.serving.engine import LoadedRun

Stop = str | Sequence[str]
DRAWING = ("top_k", "top_p", "min_p", "seed")  # options of drawing


def encode_prompt(run: LoadedRun, prompt: str, input: str = "") -> list[int]:
    """The ids of a prompt as it is, or as an instruction in the run's prompt style. Raises UserError."""
    check_tokenizer(run)
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
    try:
        return run.tokenizer.encode(text)
    except ValueError as error:
        raise UserError(str(error)) from error


def encode_messages(run: LoadedRun, messages: list[Message]) -> list[int]:
    """The ids of a conversation up to where the next answer begins, in the run's prompt style. Raises UserError."""
    check_tokenizer(run)
    assert run.prompt_style is not None, "a run without a style has plain prompts"
    try:
        ids = run.prompt_style.render(messages, run.tokenizer)[0]
    except ValueError as error:
        raise UserError(str(error)) from error
    return check_ids(run, ids, messages[-1].content)


def check_ids(run: LoadedRun, ids: list[int], prompt: str) -> list[int]:
    """The ids of a prompt that the model can read at once. Raises UserError."""
    if not ids:
        raise UserError(f"prompt={prompt!r} has no token in this tokenizer: write more.")
    check_vocabulary(run, ids)
    context = getattr(run.model, "context_length", None)
    if context and len(ids) > context:
        raise UserError(f"The prompt has {len(ids)} tokens, and this model reads at most {context}: shorten it.")
    return ids


def check_vocabulary(run: LoadedRun, ids: list[int]) -> None:
    """Refuse ids that the model does not know. Raises UserError."""
    if min(ids) < 0:
        raise UserError(f"There is no token {min(ids)}: ids begin with 0.")
    size = run.data_properties.get("vocab_size") or run.config["model"].get("vocab_size")
    if size and max(ids) >= size:
        raise UserError(
            f"{run.folder} has a tokenizer of {run.tokenizer.vocab_size} tokens, and its model knows {size}: put the "
            "tokenizer's files that belong to the weights there."
        )


def check_tokenizer(run: LoadedRun) -> None:
    """Raises UserError if there is none, and so no text."""
    if run.tokenizer is None and is_hf_folder(run.folder):
        raise UserError(f"{run.folder} has no tokenizer.json: put the tokenizer's files there.")
    if run.tokenizer is None:
        raise UserError(f"{run.folder} is not a language model: use a run that was trained on text or instructions.")


def start_completion(
    run: LoadedRun, ids: list[int], stop: Stop = (), is_answer: bool = False, **options: Any
) -> Completion:
    """A completion of a prompt that has not begun. Raises UserError for an option that is unknown or does not fit."""
    check_arguments(options, SamplingOptions, "")
    for name in DRAWING:
        if options.get(name) and not options.get("temperature"):
            raise UserError(
                f"{name}={options[name]} has no effect at temperature=0: set a temperature above 0 as well."
            )
    known = run.tokenizer.vocab_size
    if unknown := [token for token in options.get("logit_bias") or {} if not 0 <= token < known]:
        raise UserError(f"logit_bias names token {unknown[0]}, and the tokenizer has {known}: give ids below that.")
    return Completion(ids, SamplingOptions(**options), end_ids(run), run.tokenizer.decode, read_stops(stop), is_answer)


def read_stops(stop: Any) -> list[str]:
    """Stop strings, given as one or several. Raises UserError for what is none."""
    stops = list(stop) if isinstance(stop, list | tuple) else [stop]
    if not all(isinstance(one, str) for one in stops):
        raise UserError(f"stop={stop!r} does not fit: it must be a text, or a list of texts.")
    if "" in stops:
        raise UserError('stop="" would end every text before it begins: leave it out.')
    return stops


def start_completions(
    run: LoadedRun, prompts: Sequence[list[int]], n: PositiveInt = 1, stop: Stop = (), **options: Any
) -> list[Completion]:
    """Each prompt `n` times, with the seeds seed, seed + 1 …: any of them can be had alone by its own. Raises UserError."""
    check_value("n", n, PositiveInt)
    if n > 1 and not options.get("temperature"):
        raise UserError(f"n={n} texts are all the same at temperature=0: set a temperature above 0 as well.")
    seeds = [{"seed": options.get("seed", 0) + number} for number in range(n)] if n > 1 else [{}]
    return [start_completion(run, ids, stop, **options | seed) for ids in prompts for seed in seeds]


def continue_completions(run: LoadedRun, completions: Sequence[Completion]) -> Generator[Piece]:
    """Continue completions together until all have ended; yields the pieces of each as they come."""
    batch = CompletionBatch(run.model, run.tokenizer.vocab_size)
    for completion in completions:
        batch.add(completion)
    with eval_mode(run.model):
        yield from batch.run()


def end_ids(run: LoadedRun) -> frozenset[int]:
    """The tokens that end a text: chat models have several."""
    return frozenset(getattr(run.tokenizer, "end_ids", None) or [run.tokenizer.eos_id])
