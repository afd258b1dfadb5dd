"""The choice of the next token, row by row: what a row draws depends on its own seed alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from seqlab.types import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Probability, Seed


@dataclass(frozen=True)
class SamplingOptions:
    """How the next token is chosen, and when a text ends.

    Temperature 0 takes the most likely token. `top_k` keeps the k most likely tokens, `top_p` the fewest whose
    probabilities add up to p (Holtzman et al., arXiv 1904.09751), `min_p` those that have at least p times the probability of
    the most likely one (Nguyen et al., arXiv 2407.01082); each counts on what the ones before it have left, and keeps one.
    `repetition_penalty` makes tokens that stand there already less likely (Keskar et al., arXiv 1909.05858), `logit_bias` adds
    to the logits of tokens. `logprobs` notes how likely each token was, and the so many most likely ones.
    """

    max_new_tokens: PositiveInt = 100
    min_new_tokens: NonNegativeInt = 0
    temperature: NonNegativeFloat = 0.0
    top_k: PositiveInt | None = None
    top_p: Probability | None = None
    min_p: Probability | None = None
    repetition_penalty: PositiveFloat = 1.0
    logit_bias: dict[int, float] | None = None
    seed: Seed = 0
    logprobs: NonNegativeInt | None = None


def adjust_logits(logits: Tensor, tokens: list[int], options: SamplingOptions, forbidden: list[int]) -> None:
    """Penalise the tokens of a text, add the bias, and rule out what is forbidden: logits (V,), in place"""
    if options.repetition_penalty != 1.0:
        seen = torch.tensor(sorted(set(tokens)), device=logits.device)
        found, penalty = logits[seen], options.repetition_penalty
        logits[seen] = torch.where(found < 0, found * penalty, found / penalty)
    for token, bias in (options.logit_bias or {}).items():
        logits[token] += bias
    if forbidden:
        logits[forbidden] = -torch.inf


def choose_tokens(logits: Tensor, options: list[SamplingOptions], generators: list[torch.Generator]) -> Tensor:
    """logits (B, V) -> the next token of each row (B,)"""
    if not any(row.temperature for row in options):
        return logits.argmax(-1)
    size = logits.size(-1)

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, device=logits.device).unsqueeze(1)  # (B, 1)

    top_k = column([min(row.top_k or size, size) if row.temperature else 1 for row in options])
    smallest = torch.finfo(torch.float32).tiny  # a smaller temperature becomes 0
    temperature = column([max(row.temperature, smallest) if row.temperature else 1.0 for row in options])
    likeliest, order = logits.float().topk(int(top_k.max()))  # (B, K)
    scaled = (likeliest - likeliest[:, :1]) / temperature  # at most 0, so that a tiny temperature cannot overflow
    ranks = torch.arange(scaled.size(1), device=logits.device)
    probabilities = scaled.masked_fill(ranks >= top_k, -torch.inf).softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    enough = before >= column([row.top_p or 1.0 for row in options])
    unlikely = probabilities < probabilities[:, :1] * column([row.min_p or 0.0 for row in options])
    kept = probabilities.masked_fill((enough | unlikely) & (ranks > 0), 0.0)
    drawn = [float(torch.rand((), generator=generator)) for generator in generators]
    reached = kept.cumsum(-1)
    chosen = (reached <= column(drawn) * reached[:, -1:]).sum(-1, keepdim=True)  # the first that reaches beyond it
    last = (kept > 0).sum(-1, keepdim=True) - 1
    return order.gather(1, chosen.minimum(last)).squeeze(1)
