"""The choice of the next token, row by row: what a row draws depends on its own seed alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seqlab.errors import UserError
from seqlab.types import NonNegativeFloat, NonNegativeInt, Penalty, PositiveInt, Probability, Seed

FIRST_SORTED = 1024  # tokens among which `top_p` is sought, before all are sorted


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
    repetition_penalty: Penalty = 1.0
    logit_bias: dict[int, float] | None = None
    seed: Seed = 0
    logprobs: NonNegativeInt | None = None


def adjust_logits(logits: Tensor, tokens: list[int], options: SamplingOptions, forbidden: list[int]) -> None:
    """Penalise the tokens of a text, add the bias, and rule out what is forbidden: logits (V,), in place"""
    if options.repetition_penalty != 1.0:
        seen = torch.tensor([token for token in sorted(set(tokens)) if token < len(logits)], device=logits.device)
        found, penalty = logits[seen], options.repetition_penalty
        logits[seen] = torch.where(found < 0, found * penalty, found / penalty)
    for token, bias in (options.logit_bias or {}).items():
        logits[token] += bias
    if forbidden:
        logits[forbidden] = -torch.inf


def choose_tokens(logits: Tensor, options: list[SamplingOptions], generators: list[np.random.Generator]) -> Tensor:
    """logits (B, V) -> the next token of each row (B,)

    How a row draws depends on its own options, so that it draws the same beside others. Raises UserError for logits that are
    not numbers.
    """
    tokens = logits.argmax(-1)
    filtered = [row for row, one in enumerate(options) if one.temperature and (one.top_k or one.top_p)]
    free = [row for row, one in enumerate(options) if one.temperature and not (one.top_k or one.top_p)]
    for rows, find in ((filtered, find_filtered), (free, find_all)):
        if rows:
            chosen = [options[row] for row in rows]
            scaled = scale_logits(logits[rows], chosen)
            exponentials = np.empty((len(rows), logits.size(1)))  # (R, V), in fp64: in fp32 some would be 0
            for numbers, row in zip(exponentials, rows, strict=True):
                generators[row].standard_exponential(out=numbers)
            tokens[rows] = draw_tokens(*find(scaled, chosen), torch.from_numpy(exponentials).to(scaled))
    return tokens


def scale_logits(logits: Tensor, options: list[SamplingOptions]) -> Tensor:
    """Logits (B, V) at the temperature of each row; at most 0, so that a tiny temperature cannot overflow"""
    smallest = torch.finfo(torch.float32).tiny  # a smaller temperature becomes 0
    temperature = to_column([max(row.temperature, smallest) for row in options], logits)
    return (logits.float() - logits.amax(-1, keepdim=True)) / temperature


def find_all(scaled: Tensor, options: list[SamplingOptions]) -> tuple[Tensor, Tensor | None]:
    """The probabilities (B, V) of all tokens, or of those that `min_p` leaves, in the order of their ids"""
    probabilities = scaled.softmax(-1)
    fewest = probabilities.amax(-1, keepdim=True) * to_column([row.min_p or 0.0 for row in options], scaled)
    return probabilities.masked_fill(probabilities < fewest, 0.0), None


def find_filtered(scaled: Tensor, options: list[SamplingOptions]) -> tuple[Tensor, Tensor]:
    """The probabilities (B, K) of the tokens that `top_k`, `top_p` and `min_p` leave, the likeliest first, and their ids"""
    size = scaled.size(1)
    top_k = to_column([min(row.top_k or size, size) for row in options], scaled)
    top_p = to_column([row.top_p or 1.0 for row in options], scaled)
    count = min(size, max(row.top_k or FIRST_SORTED for row in options))
    while True:
        likeliest, order = scaled.topk(count)  # (B, K)
        ranks = torch.arange(count, device=scaled.device)
        likeliest = likeliest.masked_fill(ranks >= top_k, -torch.inf)
        total = torch.where(top_k < size, likeliest.logsumexp(-1, keepdim=True), scaled.logsumexp(-1, keepdim=True))
        probabilities = (likeliest - total).exp()
        reached = probabilities.cumsum(-1)
        if count == size or bool(((top_k < size) | (reached[:, -1:] >= top_p)).all()):
            break
        count = size  # a flat distribution: sort all of it
    enough = reached - probabilities >= top_p
    unlikely = probabilities < probabilities[:, :1] * to_column([row.min_p or 0.0 for row in options], scaled)
    return probabilities.masked_fill((enough | unlikely) & (ranks > 0), 0.0), order


def draw_tokens(probabilities: Tensor, order: Tensor | None, exponentials: Tensor) -> Tensor:
    """probabilities (B, K), ids (B, K) or None for those of the places, exponential numbers (B, V) -> tokens (B,)

    Each token arrives after its number divided by its probability, and the first is drawn (the Gumbel-max trick; Maddison et al.,
    arXiv 1411.0030). A last digit in which logits differ beside other rows then hardly ever decides, as it would if a number
    were looked up among cumulative probabilities. Raises UserError for probabilities that are not numbers.
    """
    if not bool(probabilities.sum(-1).isfinite().all()):
        raise UserError("This model's logits are not numbers (NaN): train it again with a lower optimizer.lr.")
    own = exponentials if order is None else exponentials.gather(1, order)
    places = (probabilities / own).argmax(-1, keepdim=True)
    return (places if order is None else order.gather(1, places)).squeeze(1)


def to_column(values: Sequence[float], like: Tensor) -> Tensor:
    """Numbers of the rows, as (B, 1)"""
    return torch.tensor(values, device=like.device).unsqueeze(1)
