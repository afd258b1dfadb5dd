"""Ranges of numbers: edges are taken, what lies beyond is refused with key, value and bound."""

import math
from typing import Any

import pytest

from seqlab.config.limits import check_ranges
from seqlab.errors import UserError


@pytest.mark.parametrize(
    "node",
    [
        {"batch_size": 1, "lr": 0, "dropout": 0.0, "top_p": 1, "temperature": 0},
        {"dropout": 0.999, "val_fraction": 0, "top_p": 1e-9, "max_steps": -1, "alpha": 0.5},
        {"top_k": None, "stride": None, "max_epochs": 10**9, "seed": 2**40},
        {"optimizer": {"lr": 1e-3, "betas": [0.9, 2]}, "prompt": "batch_size=0", "unknown": -5},
    ],
)
def test_numbers_in_range_nulls_and_other_keys_are_taken(node: dict[str, Any]) -> None:
    check_ranges(node)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"batch_size": 0}, r"batch_size=0 is out of range: it must be at least 1"),
        ({"data": {"context_length": -3}}, r"data\.context_length=-3 is out of range: it must be at least 1"),
        ({"optimizer": {"lr": -1e-3}}, r"optimizer\.lr=-0\.001 is out of range: it must be at least 0"),
        ({"optimizer": {"lr": math.nan}}, r"optimizer\.lr=nan is out of range"),
        ({"model": {"dropout": 1}}, r"model\.dropout=1 is out of range: it must be from 0 to below 1"),
        ({"data": {"val_fraction": 1.0}}, r"val_fraction=1\.0 is out of range"),
        ({"top_p": 0}, r"top_p=0 is out of range: it must be above 0 and at most 1"),
        ({"top_p": 1.1}, r"top_p=1\.1 is out of range"),
        ({"adapter": {"alpha": 0}}, r"adapter\.alpha=0 is out of range"),
        ({"adapter": {"rank": 0}}, r"adapter\.rank=0 is out of range"),
        ({"trainer": {"max_steps": -2}}, r"trainer\.max_steps=-2 is out of range"),
    ],
)
def test_numbers_out_of_range_are_refused(node: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_ranges(node)


@pytest.mark.parametrize("value", ["many", "8", True, [8]])
def test_what_is_no_number_is_refused_with_an_example(value: Any) -> None:
    with pytest.raises(
        UserError, match=r"data\.batch_size=.* is no number: type one, for instance data\.batch_size=10"
    ):
        check_ranges({"data": {"batch_size": value}})
