"""How likely a text is to a language model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from seqlab.batch import Batch
from seqlab.config.signatures import check_value
from seqlab.errors import UserError
from seqlab.generation.generate import eval_mode
from seqlab.serving.language import check_tokenizer, check_vocabulary, encode_text
from seqlab.tasks.losses import token_nll
from seqlab.types import PositiveInt

if TYPE_CHECKING:
    from seqlab.serving.engine import LoadedRun

CHUNK = 256  # positions whose logits exist at a time


@dataclass(frozen=True)
class Score:
    """The tokens of a text, and the log-probability of each in nats. The first has none, since nothing stands before it."""

    tokens: list[int]
    logprobs: list[float]  # one fewer
    num_bytes: int | None  # of the tokens that have one; None if the tokenizer does not know

    @property
    def logprob(self) -> float:
        """The log-probability of the text in nats."""
        return math.fsum(self.logprobs)

    @property
    def perplexity(self) -> float:
        """e to the mean negative log-probability of a token."""
        mean = -self.logprob / len(self.logprobs)
        return math.exp(mean) if mean < math.log(1e300) else math.inf

    @property
    def bits_per_byte(self) -> float | None:
        """The bits that a byte of the text takes; None if the tokenizer does not know bytes."""
        return -self.logprob / math.log(2) / self.num_bytes if self.num_bytes else None


def score_text(run: LoadedRun, text: str, stride: int | None = None) -> Score:
    """Score a text. Of one longer than the context, each window scores its last `stride` tokens (null: half a context).

    Raises UserError for a run that is not a language model, and a text of fewer than two tokens.
    """
    check_tokenizer(run)
    context = run.context_length
    check_value("stride", stride, PositiveInt | None)
    if stride and context and stride > context:
        raise UserError(f"stride={stride} would leave tokens out: this model reads {context} at once; give fewer.")
    if not isinstance(text, str):
        raise UserError(f"{str(text)[:80]} is not a text: score takes one at a time.")
    ids = encode_text(run, text)
    if len(ids) < 2:
        raise UserError(f"{text!r} has {len(ids)} token(s), and the first of a text is not scored: give a longer one.")
    check_vocabulary(run, ids)
    lengths = run.tokenizer.byte_lengths() if hasattr(run.tokenizer, "byte_lengths") else None
    num_bytes = sum(lengths[i] for i in ids[1:]) if lengths else None
    return Score(ids, score_ids(run, ids, context or len(ids), stride or max(1, (context or len(ids)) // 2)), num_bytes)


@torch.inference_mode()
def score_ids(run: LoadedRun, ids: list[int], context: int, stride: int) -> list[float]:
    """The log-probabilities of all tokens but the first."""
    found: list[float] = []
    with eval_mode(run.model):
        while len(found) < len(ids) - 1:
            end = min(len(ids) - 1, context if not found else len(found) + stride)
            start = max(0, end - context)
            window = torch.tensor([ids[start : end + 1]], device=run.device)  # (1, T + 1)
            nll = token_nll(run.model, Batch(window[:, :-1], window[:, 1:]), CHUNK)[0].float()
            found += (-nll[len(found) - start :]).tolist()
    return found
