"""Recurrent forecasters: the last state of a window into a linear layer."""

from collections.abc import Callable

from torch import Tensor, nn

from seqlab.types import Fraction, PositiveInt


class RecurrentForecaster(nn.Module):
    """Predicts `horizon` steps of `channels` values from the last hidden state of a window."""

    rnn_class: Callable[..., nn.Module]

    def __init__(
        self,
        channels: PositiveInt,
        horizon: PositiveInt,
        hidden_size: PositiveInt = 32,
        num_layers: PositiveInt = 1,
        dropout: Fraction = 0.0,
    ) -> None:
        super().__init__()
        self.horizon = horizon
        self.rnn = self.rnn_class(channels, hidden_size, num_layers, batch_first=True, dropout=dropout)
        self.head = nn.Linear(hidden_size, horizon * channels)

    def forward(self, windows: Tensor) -> Tensor:
        """windows (B, T, C) -> predictions (B, H, C)"""
        states, _ = self.rnn(windows)  # (B, T, hidden)
        return self.head(states[:, -1]).unflatten(-1, (self.horizon, -1))  # (B, H, C)


class RNNForecaster(RecurrentForecaster):
    """The plain recurrent network with tanh (Elman, 1990)."""

    rnn_class = nn.RNN


class LSTMForecaster(RecurrentForecaster):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997)."""

    rnn_class = nn.LSTM


class GRUForecaster(RecurrentForecaster):
    """Gated recurrent units (Cho et al., arXiv 1406.1078)."""

    rnn_class = nn.GRU
