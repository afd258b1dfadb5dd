"""Losses: pure functions of a model and a batch, with a value for each target."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from seqlab.batch import IGNORE_INDEX, Batch
from seqlab.errors import UserError, check_kind
from seqlab.models.language import offers_hidden


def token_nll(
    model: Any, batch: Batch, chunk: int | None = None, vocab_size: int = 1, has_unscored: bool = False
) -> Tensor:
    """The negative log-likelihood of each target in nats, 0 for one that is ignored: inputs (B, T) -> (B, T)

    With `chunk`, logits exist for so many positions of a row at a time, and are computed again for the backward pass; with
    `has_unscored`, for scored targets alone. A model without `hidden` computes all of them at once. Raises UserError for packed
    records and a model that cannot tell them apart, and for one with fewer than `vocab_size` logits.
    """
    if not offers_hidden(model) and batch.document_ids is not None:
        raise UserError(
            f"{type(model).__name__} takes a row for one text (it has no `hidden`), and cannot tell packed records apart: leave "
            "data.packing out."
        )
    if not offers_hidden(model) or (chunk is None and batch.document_ids is None and not has_unscored):
        logits = model(batch.inputs)
        check_kind(logits, Tensor, f"{type(model).__name__}.forward")
        is_transposed = logits.shape[:-1] != batch.targets.shape
        classes = vocab_size if is_transposed else max(logits.shape[-1], vocab_size)  # more, of a padded vocabulary
        check_shape(model, logits, (*batch.targets.shape, classes), "logits (B, T, V)")
        return cross_entropy(logits, batch.targets)
    hidden = model.hidden(batch.inputs, document_ids=batch.document_ids).flatten(0, 1)  # (B T, C)
    targets = batch.targets.flatten()
    places = (
        (targets != IGNORE_INDEX).nonzero().squeeze(1) if has_unscored else None
    )  # (N,); a look waits for the device
    if places is not None:
        hidden, targets = hidden.index_select(0, places.to(hidden.device)), targets[places]  # others need no logits

    def head_nll(hidden: Tensor, targets: Tensor) -> Tensor:
        logits = model.head(hidden)
        check_shape(model, logits, (len(targets), max(logits.shape[-1], vocab_size)), "logits (N, V)")
        return F.cross_entropy(logits, targets.to(logits.device), ignore_index=IGNORE_INDEX, reduction="none")

    if chunk is None:
        nll = head_nll(hidden, targets)
    else:
        rows = chunk * len(batch.targets)
        pieces = zip(hidden.split(rows), targets.split(rows), strict=True)
        nll = torch.cat([checkpoint(head_nll, *piece, use_reentrant=False) for piece in pieces])
    if places is not None:
        nll = nll.new_zeros(batch.targets.numel()).index_copy(0, places.to(nll.device), nll)
    return nll.view_as(batch.targets)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """logits (B, T, V), targets (B, T) -> nats (B, T), 0 where the target is ignored"""
    nll = F.cross_entropy(
        logits.flatten(0, 1), targets.flatten().to(logits.device), ignore_index=IGNORE_INDEX, reduction="none"
    )
    return nll.view_as(targets)


def check_shape(model: Any, output: Tensor, expected: tuple[int, ...], what: str) -> None:
    """Raises UserError for a model whose output has another shape, which might broadcast."""
    check_kind(output, Tensor, f"{type(model).__name__}.forward")
    if output.shape != expected:
        raise UserError(
            f"{type(model).__name__} gives {tuple(output.shape)} instead of {what}, {tuple(expected)}: fix it."
        )


def sum_precisely(values: Tensor) -> Tensor:
    """The sum () of values of any shape, in at least single precision: in bfloat16 it would have three digits."""
    return values.sum(dtype=torch.promote_types(values.dtype, torch.float32))


def forecast_errors(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Prediction minus target, 0 for a target that is NaN, and which targets are not: windows (B, T, C) -> 2 x (B, H, C)"""
    predictions = model(batch.inputs)  # (B, H, C)
    check_shape(model, predictions, batch.targets.shape, "predictions (B, H, C)")
    is_scored = ~batch.targets.isnan()
    return torch.where(is_scored, predictions - batch.targets, 0.0), is_scored
