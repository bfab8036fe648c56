"""Forecasts that are normal distributions, by an LSTM, and ensembles of them."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

LIKELY = 1.6449  # deviations from the mean that 90% of a normal distribution lie within


class Gaussian(NamedTuple):
    """Mean and variance of each value to forecast."""

    mean: Tensor
    variance: Tensor

    def negative_log_likelihood(self, values: Tensor) -> Tensor:
        """Of each value."""
        error = (values - self.mean).square() / self.variance
        return (error + self.variance.log() + math.log(2 * math.pi)) / 2

    def coverage(self, values: Tensor) -> float:
        """The share of the values that lie in the 90% interval."""
        inside = (values - self.mean).abs() <= LIKELY * self.variance.sqrt()
        return inside.double().mean().item()


class GaussianForecaster(nn.Module):
    """An LSTM over the window; a linear head gives the changes from its last value."""

    def __init__(self, lstm: type[nn.Module], hidden: int, horizon: int) -> None:
        super().__init__()
        self.recurrent = lstm(1, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 2 * horizon)

    def forward(self, windows: Tensor) -> Gaussian:
        """The next steps, [batch, horizon], after windows [batch, window]."""
        _, (h_n, _) = self.recurrent(windows.unsqueeze(-1))
        change, spread = self.head(h_n[-1]).chunk(2, -1)
        variance = nn.functional.softplus(spread) + 1e-3
        return Gaussian(windows[:, -1:] + change, variance)


def mixture(members: Gaussian) -> Gaussian:
    """Mean and variance of an equal mixture of members, [members, ...]: Lakshminarayanan et al.,
    2017, section 2.4."""
    mean = members.mean.mean(0)
    return Gaussian(mean, members.variance.mean(0) + (members.mean - mean).square().mean(0))


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's, of values without ties."""
    ranks = torch.stack([values.flatten().argsort().argsort().double() for values in (a, b)])
    return torch.corrcoef(ranks)[0, 1].item()
