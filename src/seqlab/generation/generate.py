"""Sampling from a language model: plain functions on a model and token ids."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from seqlab.models.language import offers_cache


def sample_token(
    logits: Tensor,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> int:
    """logits (V,) -> the next token

    Temperature 0 takes the most likely token. `top_k` keeps the k most likely tokens, `top_p` the fewest whose
    probabilities add up to p, at least one (Holtzman et al., arXiv 1904.09751).
    """
    if temperature == 0:
        return int(logits.argmax())
    temperature = max(temperature, torch.finfo(torch.float32).tiny)  # which a smaller one becomes 0 in
    logits = (logits.float() - logits.max()) / temperature  # at most 0, so that a tiny temperature cannot overflow
    if top_k is not None:
        logits = logits.masked_fill(logits < logits.topk(min(top_k, len(logits))).values[-1], -torch.inf)
    probabilities = logits.softmax(-1)
    if top_p is not None:
        ordered, order = probabilities.sort(descending=True)
        surplus = ordered.cumsum(-1) - ordered >= top_p  # the tokens before it are already enough
        surplus[0] = False
        probabilities[order[surplus]] = 0.0
    return int(torch.multinomial(probabilities, 1, generator=generator))


@torch.inference_mode()
def generate_tokens(
    model: Any,
    prompt: list[int],
    max_new_tokens: int,
    eos_id: int | None = None,
    next_token: Callable[[Tensor], int] = sample_token,
    vocab_size: int | None = None,
) -> Iterator[int]:
    """Yield new tokens one by one, without the end token; the model is in eval mode meanwhile.

    `vocab_size` is that of the tokenizer, if the model's is padded.

    A model that offers a cache is given only what it has not read. Where prompt and new tokens exceed
    `model.context_length` the oldest are dropped; learned positions shift then, so that the cache starts anew.
    """
    device = next(model.parameters()).device
    context: int | None = getattr(model, "context_length", None)
    tokens, unread = list(prompt), list(prompt)
    cache = None
    was_training = model.training
    model.eval()
    try:
        for _ in range(max_new_tokens):
            if cache is None or (context and len(tokens) > context):
                unread = tokens[-(context or 0) :]
                length = min(context or len(prompt) + max_new_tokens, len(prompt) + max_new_tokens)
                cache = model.init_cache(1, max(length, len(unread))) if offers_cache(model) else None
            inputs = torch.tensor([unread], device=device)  # (1, T)
            if offers_cache(model):
                logits = model.head(model.hidden(inputs, cache=cache)[:, -1])  # (1, V)
            else:
                logits = model(inputs)[:, -1]  # (1, V)
            token = next_token(logits[0, :vocab_size])
            if token == eos_id:
                return
            tokens.append(token)
            unread = [token]
            yield token
    finally:
        model.train(was_training)


def decode_stream(tokens: Iterable[int], decode: Callable[[list[int]], str]) -> Iterator[str]:
    """Pieces of text that add up to the decoded whole; a character split among tokens is held back until it is whole."""
    ids: list[int] = []
    shown = ""
    for token in tokens:
        ids.append(token)
        text = decode(ids)
        if not text.endswith("\N{REPLACEMENT CHARACTER}"):
            yield text[len(shown) :]
            shown = text
    yield decode(ids)[len(shown) :]
