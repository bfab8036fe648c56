"""An hourly series as windows of the past, each with the day after it, and forecasts of that day.

A day is the 24 hours from any hour on. It belongs to a part where all of its hours do.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from torch import Tensor, nn

from common.decoder import Decoded, Seq2Seq
from common.temperature import Temperature
from fused_rnn.forecast import series

HORIZON = SEASON = 24
LEARNING_RATE = 3e-3
GRADIENT_NORM = 1.0


class Batch(NamedTuple):
    """`past` [window, batch, 3] and `future` [24, batch, 3]: the value, the hour's sine, cosine."""

    past: Tensor
    future: Tensor


class Errors(TypedDict):
    """Root mean squared errors in the units of the series: of all hours, and of each of the 24."""

    rmse: float
    hours: list[float]


class Days:
    """The series; the first hours of the days of each part; the scale of the training part."""

    def __init__(self, window: int) -> None:
        self.window = window
        data = Temperature(window, 1)
        self.values, self.times, self.scale = data.celsius, data.times, data.scale
        self.train, self.validation, self.test = (part[: 1 - HORIZON] for part in data.parts[:3])
        angle = torch.tensor([time.hour * math.tau / 24 for time in self.times])
        features = [data.values, angle.sin(), angle.cos()]
        self._windows = torch.stack(features, 1).unfold(0, window + HORIZON, 1)

    def batch(self, days: series.Steps) -> Batch:
        """The days' windows, normalised."""
        both = self._windows[torch.from_numpy(days) - self.window].permute(2, 0, 1)
        return Batch(both[: self.window], both[self.window :])

    def true(self, days: series.Steps) -> series.Values:
        """What was observed, [24, days]."""
        true: series.Values = self.values[days + np.arange(HORIZON)[:, None]]
        return true

    def naive(self, days: series.Steps) -> series.Values:
        """The last hour's value all day, [24, days]."""
        return np.repeat(self.values[days - 1][None], HORIZON, 0)

    def seasonal(self, days: series.Steps) -> series.Values:
        """The day before, [24, days]."""
        return self.true(days - SEASON)

    def ridge(self, days: series.Steps) -> series.Values:
        """A linear regression for each hour on all that the networks see, [24, days]."""

        def inputs(batch: Batch) -> NDArray[np.float32]:
            hour = batch.future[0, :, 1:].numpy()
            return np.concatenate([batch.past[:, :, 0].numpy().T, hour], 1)

        training = self.batch(self.train)
        model = RidgeCV(np.logspace(-2, 4, 7))
        model.fit(inputs(training), (training.future - training.past[-1])[:, :, 0].numpy().T)
        batch = self.batch(days)
        change = model.predict(inputs(batch)).T.astype(np.float32)
        return self.scale.restore(batch.past[-1, :, 0].numpy() + change)


def train(
    model: Seq2Seq,
    days: Days,
    some: series.Steps,
    epochs: int,
    batch_size: int,
    teacher: Callable[[float], float],
) -> Iterator[float]:
    """Trains on half of the days `some` an epoch, in a random order; yields each epoch's loss.

    `teacher` is the probability of the true value where a share of the training is done.
    """
    optimiser = torch.optim.AdamW(model.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for epoch in range(epochs):
        total = 0.0
        order = torch.randperm(len(some))[: len(some) // 2]
        for index in order.split(batch_size):
            batch = days.batch(some[index.numpy()])
            loss = (
                decode(model, batch, teacher(epoch / epochs)).values - batch.future[:, :, 0]
            ) ** 2
            optimiser.zero_grad()
            loss.mean().backward()
            nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
            optimiser.step()
            total += loss.mean().item() * len(index)
        schedule.step()
        yield total / len(order)


def decode(model: Seq2Seq, batch: Batch, teacher: float) -> Decoded:
    """The model's forecast of a batch."""
    decoded: Decoded = model(batch.past, batch.future[:, :, 1:], batch.future[:, :, 0], teacher)
    return decoded


@torch.no_grad()
def forecast(model: Seq2Seq, days: Days, some: series.Steps, teacher: float = 0.0) -> series.Values:
    """Forecasts of the days `some`, [24, days], in the units of the series."""
    return days.scale.restore(decode(model, days.batch(some), teacher).values.numpy())


def hourly_errors(values: series.Values, days: Days, some: series.Steps) -> Errors:
    """Root mean squared errors of forecasts [24, days] of the days `some`."""
    squares = (values - days.true(some)) ** 2
    hours = [float(error) for error in np.sqrt(squares.mean(1))]
    return {"rmse": float(np.sqrt(squares.mean())), "hours": hours}
