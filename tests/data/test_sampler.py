"""The order of samples: a permutation of (seed, epoch), resumable from any number of samples consumed."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.data.sampler import ResumableBatchSampler, epoch_permutation

SIZES = given(st.integers(1, 25), st.integers(1, 30), st.integers(0, 3))


def epochs(order: ResumableBatchSampler, count: int) -> list[list[list[int]]]:
    """The batches of the next epochs, each counted as it is seen."""
    seen = []
    for _ in range(count):
        seen.append([])
        for batch in order:
            order.advance()
            seen[-1].append(batch)
    return seen


def test_permutations_differ_by_seed_and_epoch() -> None:
    orders = [epoch_permutation(50, seed, epoch).tolist() for seed in (1, 2) for epoch in (0, 1, 2)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 6
    assert epoch_permutation(50, 1, 0).tolist() == orders[0]


@SIZES
def test_every_sample_is_seen_once_per_epoch(samples: int, batch_size: int, seed: int) -> None:
    order = ResumableBatchSampler(samples, batch_size, seed)
    for epoch, batches in enumerate(epochs(order, 2)):
        assert [number for batch in batches for number in batch] == epoch_permutation(samples, seed, epoch).tolist()
        assert len(batches) == len(order)
    assert order.consumed_samples == 2 * samples


@SIZES
def test_any_step_can_be_resumed(samples: int, batch_size: int, seed: int) -> None:
    straight = [batch for batches in epochs(ResumableBatchSampler(samples, batch_size, seed), 3) for batch in batches]
    consumed = 0
    for step, batch in enumerate(straight):
        resumed = ResumableBatchSampler(samples, batch_size, seed)
        resumed.consumed_samples = consumed
        rest = [b for batches in epochs(resumed, 3 - consumed // samples) for b in batches]
        assert rest == straight[step:]
        consumed += len(batch)
    assert consumed == 3 * samples


def test_the_last_smaller_batch_is_used() -> None:
    assert [len(batch) for batch in ResumableBatchSampler(10, 4, 0)] == [4, 4, 2]
    assert [len(batch) for batch in ResumableBatchSampler(10, 16, 0)] == [10]


def test_consume_counts_the_smaller_batch_as_it_is() -> None:
    order = ResumableBatchSampler(10, 4, 0)
    counts = [0]
    for _ in range(6):
        order.advance()
        counts.append(order.consumed_samples)
    assert [after - before for before, after in pairwise(counts)] == [4, 4, 2, 4, 4, 2]


@pytest.mark.parametrize("consumed", [0, 8, 10])
def test_looking_ahead_consumes_nothing(consumed: int) -> None:
    order = ResumableBatchSampler(10, 4, 0)
    order.consumed_samples = consumed
    assert list(order) == list(order)
    assert order.consumed_samples == consumed
