"""The hourly temperatures of fused_rnn/data, normalised and split in time order."""

from datetime import datetime

import torch
from torch import Tensor

from fused_rnn.forecast import experiment, series

SEASON = 24


class Temperature:
    """A year at JFK airport, whose hours are forecast `horizon` hours ahead from a window.

    `celsius` and `values`, which are normalised, have one value an hour, [steps]; `train`,
    `validation` and `test` are the hours to forecast, [count] each.
    """

    def __init__(self, window: int, horizon: int) -> None:
        read = series.read_series(experiment.DATA, experiment.COLUMN)
        assert read.times is not None
        self.times: list[datetime] = list(read.times)
        self.celsius = read.values
        self.parts = series.split(len(self.celsius), window, horizon, SEASON)
        self.scale = series.scale_of(self.celsius[: self.parts.training_steps])
        self.values = torch.from_numpy(self.scale.normalise(self.celsius))
        self.train, self.validation, self.test = map(torch.from_numpy, self.parts[:3])

    def training(self) -> Tensor:
        """The normalised values to learn from."""
        return self.values[: self.parts.training_steps]
