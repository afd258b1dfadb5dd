"""A language model continues a prompt: a plain function on a model and token ids."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from seqlab.generation.batch import GenerationBatch, TokenSequence
from seqlab.generation.next_token import SamplingOptions


def generate_tokens(
    model: Any,
    prompt: list[int],
    options: SamplingOptions = SamplingOptions(),  # noqa: B008 - it cannot be changed
    end_ids: Collection[int] = (),
    vocab_size: int | None = None,
) -> Iterator[int]:
    """Yield new tokens one by one, without the end token; the model is in eval mode meanwhile.

    `vocab_size` is that of the tokenizer, if the model's is padded. Raises ValueError for a prompt longer than the context.
    """
    batch = GenerationBatch(model, vocab_size)
    batch.add(TokenSequence(prompt, options, end_ids))
    with eval_mode(model):
        while batch.sequences:
            for _, token in batch.step():
                if token is not None:
                    yield token


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put a model in eval mode, and back as it was."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
