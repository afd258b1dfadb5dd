"""Recurrent forecasters: parameter counts and shapes."""

import pytest
import torch

from seqlab.config.groups import read_option
from seqlab.models.rnn import GRUForecaster, LSTMForecaster, RecurrentForecaster, RNNForecaster


@pytest.mark.parametrize(
    ("choice", "model", "count"),
    [("rnn", RNNForecaster, 1153), ("lstm", LSTMForecaster, 4513), ("gru", GRUForecaster, 3393)],
)
def test_parameter_counts(choice: str, model: type[RecurrentForecaster], count: int) -> None:
    size = {name: value for name, value in read_option("model", choice).items() if name != "_target_"}
    assert sum(p.numel() for p in model(channels=1, horizon=1, **size).parameters()) == count


@pytest.mark.parametrize("model", [RNNForecaster, LSTMForecaster, GRUForecaster])
@pytest.mark.parametrize(("channels", "horizon", "layers"), [(1, 1, 1), (2, 3, 1), (1, 3, 2), (2, 1, 2)])
def test_shapes(model: type[RecurrentForecaster], channels: int, horizon: int, layers: int) -> None:
    forecaster = model(channels, horizon, hidden_size=4, num_layers=layers)
    assert forecaster(torch.randn(5, 7, channels)).shape == (5, horizon, channels)


@pytest.mark.parametrize("model", [RNNForecaster, LSTMForecaster, GRUForecaster])
def test_the_last_state_of_the_library_layer_goes_into_the_head(model: type[RecurrentForecaster]) -> None:
    torch.manual_seed(0)
    forecaster, windows = model(channels=2, horizon=3, hidden_size=4), torch.randn(5, 7, 2)
    final = forecaster.rnn(windows)[1]
    hidden = (final[0] if isinstance(final, tuple) else final)[-1]  # (B, hidden)
    torch.testing.assert_close(forecaster(windows), forecaster.head(hidden).view(5, 3, 2))


@pytest.mark.parametrize("model", [RNNForecaster, LSTMForecaster, GRUForecaster])
def test_each_window_is_forecast_by_itself(model: type[RecurrentForecaster]) -> None:
    torch.manual_seed(0)
    forecaster, windows = model(channels=1, horizon=2, hidden_size=4), torch.randn(6, 7, 1)
    alone = torch.cat([forecaster(window) for window in windows.split(1)])
    torch.testing.assert_close(forecaster(windows), alone)
