"""Recurrent forecasters: the last state of a window into a linear layer."""

from collections.abc import Callable

from torch import Tensor, nn


class RecurrentForecaster(nn.Module):
    """B windows of T steps with `channels` values each; `horizon` steps are predicted from the last hidden state."""

    layer: Callable[..., nn.Module]

    def __init__(
        self, channels: int, horizon: int, hidden_size: int = 32, num_layers: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.horizon = horizon
        self.recurrence = self.layer(channels, hidden_size, num_layers, batch_first=True, dropout=dropout)
        self.head = nn.Linear(hidden_size, horizon * channels)

    def forward(self, windows: Tensor) -> Tensor:
        """windows (B, T, C) -> predictions (B, H, C)"""
        states, _ = self.recurrence(windows)  # (B, T, hidden)
        return self.head(states[:, -1]).unflatten(-1, (self.horizon, -1))  # (B, H, C)


class RNNForecaster(RecurrentForecaster):
    """The plain recurrent network with tanh (Elman, 1990)."""

    layer = nn.RNN


class LSTMForecaster(RecurrentForecaster):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997)."""

    layer = nn.LSTM


class GRUForecaster(RecurrentForecaster):
    """Gated recurrent units (Cho et al., arXiv 1406.1078)."""

    layer = nn.GRU
