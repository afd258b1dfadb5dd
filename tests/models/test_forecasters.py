"""Forecasters besides the recurrent ones: shapes, how the line begins, and that each window is forecast by itself."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from seqlab.models.gpt_forecaster import GPTForecaster
from seqlab.models.linear import LinearForecaster


def build(model: Any, channels: int, horizon: int) -> Any:
    torch.manual_seed(0)
    sizes = {"n_layer": 1, "n_head": 2, "n_embd": 8} if model is GPTForecaster else {}
    return model(channels=channels, window=7, horizon=horizon, **sizes)


@pytest.mark.parametrize("model", [LinearForecaster, GPTForecaster])
@pytest.mark.parametrize(("channels", "horizon"), [(1, 1), (2, 3), (1, 3), (2, 1)])
def test_shapes_and_each_window_by_itself(model: Any, channels: int, horizon: int) -> None:
    forecaster, windows = build(model, channels, horizon), torch.randn(5, 7, channels)
    assert forecaster(windows).shape == (5, horizon, channels)
    alone = torch.cat([forecaster(window) for window in windows.split(1)])
    torch.testing.assert_close(forecaster(windows), alone)


def test_the_line_begins_as_the_mean_of_each_channel() -> None:
    windows = torch.randn(5, 7, 2)
    torch.testing.assert_close(build(LinearForecaster, 2, 3)(windows), windows.mean(1, keepdim=True).expand(-1, 3, -1))


def test_the_place_of_a_value_matters_to_the_transformer() -> None:
    forecaster, windows = build(GPTForecaster, 1, 1), torch.randn(5, 7, 1)
    swapped = windows[:, [1, 0, *range(2, 7)]]
    assert (forecaster(windows) - forecaster(swapped)).abs().min() > 1e-6


def test_a_width_that_heads_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match="n_embd=8 cannot be divided among n_head=3"):
        GPTForecaster(channels=1, window=7, horizon=1, n_head=3, n_embd=8)


def test_a_trained_line_is_the_line_of_least_squares(seqlab, tmp_path: Path) -> None:
    assert seqlab("train", "experiment=sine", "model=linear").status == 0
    (file,) = tmp_path.glob("runs/*/*/run.json")
    metrics = json.loads(file.read_text())["metrics"]["last"]
    assert metrics["test/mse"] < 1.05 * metrics["test/mse_least_squares"] < metrics["test/mse_persistence"]
