"""Values against signatures: ranges stand beside their keyword, and what lies outside is refused with key, value and range."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pytest
import torch
from annotated_types import Le

from seqlab.config.signatures import check_arguments, check_value, format_type, matches_type
from seqlab.errors import UserError
from seqlab.types import Fraction, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Probability

CASES: list[tuple[Any, list[Any], list[Any]]] = [  # type, values that fit, values that do not
    (PositiveInt, [1, 10**9], [0, -3, 1.0, 3.5, "8", True, None, [8]]),
    (NonNegativeInt, [0, 2**40], [-1, 0.0, "0"]),
    (PositiveFloat, [0.5, 16], [0, -1, math.nan, "many"]),
    (NonNegativeFloat, [0, 0.0, 1e-3], [-1e-3, math.nan, "fast", True]),
    (Fraction, [0, 0.0, 0.999], [1, 1.0, 1.5, -0.1]),
    (Probability, [1, 1e-9], [0, 1.1]),
    (PositiveInt | None, [None, 1], [0, "null"]),
    (Literal["pre", "post"], ["pre"], ["sideways", None]),
    (Sequence[str], [["query", "value"]], ["query", [1]]),
    (tuple[Fraction, Fraction], [[0.9, 0.999]], [[0.9], [0.9, 2], 0.9]),
    (float | torch.Tensor, [0.1, 1], ["fast"]),
    (torch.nn.Module, [], ["text", 3]),
    (bool, [True], [1, "yes"]),
    (Any, ["anything", None], []),
]


@pytest.mark.parametrize(("hint", "good", "bad"), CASES, ids=lambda value: str(value)[:40])
def test_values_fit_their_types_and_ranges(hint: Any, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if not matches_type(value, hint)] == []
    assert [value for value in bad if matches_type(value, hint)] == []


def test_what_is_built_from_a_target_is_not_judged() -> None:
    assert matches_type({"_target_": "torch.nn.ReLU"}, int)


@pytest.mark.parametrize(
    ("value", "hint", "sentence"),
    [
        (0, PositiveInt, "x=0 does not fit: it must be a whole number of at least 1."),
        (1e3, Literal[-1] | PositiveInt, "x=1000.0 must be a whole number: write 1000."),
        (1e3, Annotated[int, Le(9)], "x=1000.0 does not fit: it must be a whole number at most 9."),
        (1, Fraction, "x=1 does not fit: it must be a number of at least 0 and below 1."),
        (0, Probability, "x=0 does not fit: it must be a number above 0 and at most 1."),
        (None, NonNegativeInt, "x=null does not fit: it must be a whole number of at least 0."),
        ("many", PositiveInt | None, "x=many does not fit: it must be a whole number of at least 1 or null."),
        ("fast", float | torch.Tensor, "x=fast does not fit: it must be a number."),
        ("up", Literal["min", "max"], "x=up does not fit: it must be min or max."),
        ("query", Sequence[str], "x=query does not fit: it must be a list: write x=[query]."),
    ],
)
def test_a_refusal_names_value_and_range(value: Any, hint: Any, sentence: str) -> None:
    with pytest.raises(UserError) as error:
        check_value("x", value, hint)
    assert str(error.value) == sentence


class Mine:
    """A user's own model, whose keywords mean other things than seqlab's of the same name."""

    def __init__(self, vocab_size: int, seed: int | None = None, top_k: int = 5, horizon: str = "7,14") -> None:
        """Nothing."""


def test_a_keyword_has_the_range_of_its_own_signature() -> None:
    check_arguments({"seed": None, "top_k": 0, "horizon": "7,14"}, Mine, "model", injected=("vocab_size",))


def test_unknown_and_missing_keywords_are_refused() -> None:
    with pytest.raises(UserError, match=r"model.top_kk is not a keyword of Mine. Did you mean top_k"):
        check_arguments({"top_kk": 1}, Mine, "model", injected=("vocab_size",))
    with pytest.raises(UserError, match=r"model needs vocab_size: set model.vocab_size=…"):
        check_arguments({}, Mine, "model")
    check_arguments({"vocab_size": None}, Mine, "model", injected=("vocab_size",))  # follows what seqlab gives
    with pytest.raises(UserError, match="vocab_size=null does not fit"):
        check_arguments({"vocab_size": None}, Mine, "model")


def test_types_as_a_user_reads_them() -> None:
    assert format_type(PositiveInt | None) == "a whole number of at least 1 or null"
    assert format_type(bool) == "true or false"
