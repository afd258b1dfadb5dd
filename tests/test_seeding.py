"""Streams of randomness: golden seeds, and none like another."""

from itertools import product

import torch

from seqlab.seeding import derive_seed

NAMES = ("init", "order", "dropout", "sampling")


def test_a_stream_is_the_same_in_every_process_and_version() -> None:
    assert derive_seed(1, "order", 0) == 316895810261109963
    assert derive_seed(1, "dropout", 0, 5) == 7481001350694691717


def test_streams_differ_by_seed_name_and_counts() -> None:
    seeds = [
        derive_seed(seed, name, *counts)
        for seed, name, counts in product(range(20), NAMES, [(), (0,), (1,), (11,), (1, 1)])
    ]
    assert len(set(seeds)) == len(seeds)


def test_seeds_fit_torch_and_use_all_bits() -> None:
    seeds = [derive_seed(seed, "order") for seed in range(200)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62
    torch.Generator().manual_seed(max(seeds))


def test_streams_draw_nothing_from_the_global_generator() -> None:
    state = torch.get_rng_state()
    derive_seed(1, "order", 2)
    assert torch.equal(torch.get_rng_state(), state)
