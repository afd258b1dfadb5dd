"""What the words of a sweep come down to."""

import pytest

from hydra_plugins.seqlab_sweeps import (
    block_to_overrides,
    build_range,
    build_search_space,
    expand_grid,
    parse_job_overrides,
)
from seqlab.errors import UserError


def words(block: dict, typed: list[str], seeds: int | None = None) -> list[list[str]]:
    """The jobs of one block."""
    return expand_grid(parse_job_overrides(block_to_overrides(block), None) | parse_job_overrides(typed, None), seeds)


def test_comma_lists_multiply_the_last_one_fastest() -> None:
    assert words({}, ["model=rnn,gru", "seed=1,2"]) == [
        ["model=rnn", "seed=1"],
        ["model=rnn", "seed=2"],
        ["model=gru", "seed=1"],
        ["model=gru", "seed=2"],
    ]


def test_a_block_multiplies_with_what_is_typed_and_the_command_line_wins() -> None:
    block = {"model": "rnn,gru", "optimizer.lr": 0.1, "data.path": None, "callbacks.progress": False}
    assert words(block, ["optimizer.lr=0.5"]) == [
        ["model=rnn", "optimizer.lr=0.5", "data.path=null", "callbacks.progress=False"],
        ["model=gru", "optimizer.lr=0.5", "data.path=null", "callbacks.progress=False"],
    ]


def test_seeds_count_up_from_the_seed() -> None:
    assert words({}, ["model=rnn"], 3) == [["model=rnn", f"seed={n}"] for n in (0, 1, 2)]
    assert words({}, ["seed=7", "model=rnn"], 2) == [["model=rnn", "seed=7"], ["model=rnn", "seed=8"]]


@pytest.mark.parametrize(("typed", "seeds"), [(["seed=1,2"], 2), ([], 0), ([], "two")])
def test_seeds_that_cannot_be(typed: list[str], seeds: int) -> None:
    with pytest.raises(UserError, match="counts up from one seed"):
        words({}, typed, seeds)


def test_how_to_sweep_is_not_for_the_jobs() -> None:
    assert words({}, ["sweep.seeds=3", "sweep=zoo", "model=rnn"]) == [["sweep=zoo", "model=rnn"]]


def test_a_glob_goes_through_the_choices(seqlab) -> None:
    answer = seqlab("train", "-m", "model=glob(*tm)", "seed=1,2", "plan=true", "device=cpu")
    assert answer.status == 0, answer.err
    assert "2 of 2 jobs can run" in answer.out


def test_a_grid_has_no_intervals() -> None:
    with pytest.raises(UserError, match="has no end of values"):
        words({}, ["optimizer.lr=interval(0.1,1)"])


def test_ranges_that_a_sampler_draws_from() -> None:
    typed = parse_job_overrides(
        ["a=tag(log,interval(1e-4,1e-1))", "b=range(8,33,8)", "c=x,y", "d=interval(1,9)", "e=1", "f=choice(2,4)"], None
    )
    assert build_search_space(typed) == {
        "overrides": ["e=1"],
        "ranges": {
            "a": {"low": 1e-4, "high": 1e-1, "log": True},
            "b": {"low": 8, "high": 32, "step": 8},
            "c": {"choices": ["x", "y"]},
            "d": {"low": 1, "high": 9, "log": False},
            "f": {"choices": ["2", "4"]},
        },
    }
    assert build_range(typed["d"])["low"] == 1


def test_a_job_typed_twice_runs_once(seqlab) -> None:
    answer = seqlab("train", "-m", "seed=1,1,2", "plan=true", "device=cpu")
    assert answer.status == 0, answer.err
    assert "1 of 3 jobs were typed twice, and run once." in answer.out
