"""The hourly temperatures of fused_rnn/data, normalised and split in time order."""

from typing import NamedTuple

import torch
from torch import Tensor

from fused_rnn.forecast import experiment, series


class Temperature(NamedTuple):
    """`values` [steps] are normalised; the parts hold the steps to forecast, [count] each."""

    values: Tensor
    scale: series.Scale
    train: Tensor
    validation: Tensor
    test: Tensor


def load(window: int, horizon: int) -> Temperature:
    """A year at JFK airport, whose steps are forecast `horizon` hours ahead from a window."""
    celsius = series.read_series(experiment.DATA, experiment.COLUMN).values
    parts = series.split(len(celsius), window, horizon, season=24)
    scale = series.scale_of(celsius[: parts.training_steps])
    return Temperature(
        torch.from_numpy(scale.normalise(celsius)),
        scale,
        torch.from_numpy(parts.train),
        torch.from_numpy(parts.validation),
        torch.from_numpy(parts.test),
    )
