"""Sampling from a language model: plain functions on a model and token ids."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor


def sample_token(
    logits: Tensor,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> int:
    """logits (V,) -> the next token

    Temperature 0 takes the most likely one. `top_k` keeps the k most likely tokens, `top_p` the fewest whose
    probabilities add up to p, at least one (Holtzman et al., arXiv 1904.09751).
    """
    if temperature == 0:
        return int(logits.argmax())
    logits = (logits.float() - logits.max()) / temperature  # at most 0, so that a tiny temperature cannot overflow
    if top_k is not None:
        logits = logits.masked_fill(logits < logits.topk(min(top_k, len(logits))).values[-1], -torch.inf)
    probabilities = logits.softmax(-1)
    if top_p is not None:
        ordered, order = probabilities.sort(descending=True)
        beyond = ordered.cumsum(-1) - ordered >= top_p  # what comes before it is already enough
        beyond[0] = False
        probabilities[order[beyond]] = 0.0
    return int(torch.multinomial(probabilities, 1, generator=generator))


@torch.inference_mode()
def generate(
    model: Any,
    prompt: list[int],
    max_new_tokens: int,
    eos_id: int | None = None,
    next_token: Callable[[Tensor], int] = sample_token,
) -> Iterator[int]:
    """Yield new tokens one by one, the end token not among them; the model is in eval mode meanwhile.

    A model with `hidden(…, cache=…)` generates with a cache. Where prompt and new tokens exceed `model.context_length`
    the oldest are cropped; learned positions shift then, so that the cache begins anew.
    """
    device = next(model.parameters()).device
    context: int | None = getattr(model, "context_length", None)
    cached = hasattr(model, "hidden")
    tokens, fresh = list(prompt), list(prompt)
    cache: list[tuple[Tensor, Tensor]] = []
    was_training = model.training
    model.eval()
    try:
        for _ in range(max_new_tokens):
            if context and len(tokens) > context:
                cache, fresh = [], tokens[-context:]
            inputs = torch.tensor([fresh if cached else tokens[-(context or 0) :]], device=device)  # (1, T)
            logits = model.head(model.hidden(inputs, cache=cache)[:, -1]) if cached else model(inputs)[:, -1]  # (1, V)
            token = next_token(logits[0])
            if token == eos_id:
                return
            tokens.append(token)
            fresh = [token]
            yield token
    finally:
        model.train(was_training)


def decode_stream(tokens: Iterable[int], decode: Callable[[list[int]], str]) -> Iterator[str]:
    """Pieces of text whose concatenation is the decoded whole; a character split among tokens is held back till whole."""
    ids: list[int] = []
    shown = ""
    for token in tokens:
        ids.append(token)
        text = decode(ids)
        if not text.endswith("\N{REPLACEMENT CHARACTER}"):
            yield text[len(shown) :]
            shown = text
    yield decode(ids)[len(shown) :]
