"""The noisy sine: shapes, split in time order, and the baselines of REFERENCE."""

import pickle
import threading
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from seqlab.data.sine import SineDataModule
from seqlab.errors import UserError


def sine(**changes: Any) -> SineDataModule:
    data = SineDataModule(**changes)
    data.setup()
    return data


def test_shapes_and_split_as_published() -> None:
    data = sine()
    assert {split: len(pairs) for split, pairs in data.splits.items()} == {"train": 800, "test": 200}
    [(windows, values, _)] = data.train_dataloader()
    assert (windows.shape, values.shape) == ((800, 20, 1), (800, 1, 1))
    assert windows.dtype == values.dtype == torch.float32
    [(windows, values, _)] = data.test_dataloader()
    assert (windows.shape, values.shape) == ((200, 20, 1), (200, 1, 1))
    assert data.val_dataloader() == []
    assert (data.channels, data.window, data.horizon) == (1, 20, 1)


@pytest.mark.parametrize("seed", [0, 7])
def test_the_noise_is_that_of_numpys_global_seed(seed: int) -> None:
    np.random.seed(seed)
    series = np.sin(0.1 * np.linspace(0, 100, 1020)) + np.random.normal(0, 0.1, 1020)
    state = np.random.get_state()[1].copy()
    data = sine(seed=seed)
    assert (np.random.get_state()[1] == state).all()  # the global generator was not touched
    windows, values = data.splits["train"].read_all()
    for number in (0, 1, 799):
        assert windows[number, :, 0].numpy() == pytest.approx(series[number : number + 20], abs=1e-6)
        assert values[number, 0, 0].item() == pytest.approx(series[number + 20], abs=1e-6)
    last = data.splits["test"].read_all()[1][-1, 0, 0].item()
    assert last == pytest.approx(series[1019], abs=1e-6)


def test_validation_is_cut_from_the_end_of_the_800() -> None:
    whole, cut = sine().splits, sine(val_fraction=0.1).splits
    assert {split: len(pairs) for split, pairs in cut.items()} == {"train": 720, "val": 80, "test": 200}
    whole, cut = ({split: samples.read_all() for split, samples in of.items()} for of in (whole, cut))
    for part in (0, 1):
        assert torch.equal(cut["train"][part], whole["train"][part][:720])
        assert torch.equal(cut["val"][part], whole["train"][part][720:])
        assert torch.equal(cut["test"][part], whole["test"][part])


def test_targets_are_the_values_after_the_window() -> None:
    data = sine(window=5, horizon=3, length=60, test_fraction=0.0)
    windows, values = data.splits["train"].read_all()
    assert (windows.shape, values.shape) == ((53, 5, 1), (53, 3, 1))
    assert torch.equal(values[:-5, :1], windows[5:, :1])
    assert torch.equal(values[:-1, 1:], values[1:, :-1])


def test_baselines_of_seed_0_and_medians_of_ten_seeds() -> None:
    runs = [sine(seed=seed).baselines("test") for seed in range(10)]
    published = {  # median of ten seeds, seed 0
        "mse_oracle": (0.00918, 0.00885),
        "mse_persistence": (0.01820, 0.01846),
        "mse_window_mean": (0.01659, 0.01589),
        "mse_least_squares": (0.01136, 0.01110),
    }
    assert set(runs[0]) == set(published)
    for name, (middle, first) in published.items():
        assert median(run[name] for run in runs) == pytest.approx(middle, abs=5.1e-6), name
        assert runs[0][name] == pytest.approx(first, abs=5.1e-6), name


def test_baselines_of_a_longer_horizon_and_of_no_noise() -> None:
    errors = sine(horizon=3).baselines("test")
    assert errors["mse_oracle"] == pytest.approx(0.01, abs=0.003)
    assert errors["mse_oracle"] < errors["mse_least_squares"] < errors["mse_persistence"]
    clean = sine(noise=0.0).baselines("test")
    assert clean["mse_oracle"] == pytest.approx(0, abs=1e-12)
    assert clean["mse_least_squares"] < 1e-6 < clean["mse_persistence"]


def test_a_sine_too_short_for_a_window_is_refused() -> None:
    with pytest.raises(UserError, match=r"data.length=20 is too short for a training window of 20 values and 1"):
        sine(length=20)


def test_what_a_worker_gets_can_be_pickled_beside_a_trainer() -> None:
    data = SineDataModule(batch_size=4, length=60)
    data.setup()
    data.trainer = SimpleNamespace(global_rank=0, world_size=1, lock=threading.RLock())  # as in a run
    dataset = pickle.loads(pickle.dumps(data.train_dataloader().dataset))
    indices = next(iter(data.train_dataloader().batch_sampler))
    torch.testing.assert_close(dataset.__getitems__(indices), data.train_dataloader().dataset.__getitems__(indices))
