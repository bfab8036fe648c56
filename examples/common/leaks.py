"""Three ways in which a forecast sees what it must not: each measured beside the honest way."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.neighbors import KNeighborsRegressor
from torch import Tensor, nn

import fused_rnn
from fused_rnn.forecast import series

from . import forecasting
from .forecasting import Recipe, Task

STRIDE = 2  # steps between training segments of the layer over the whole series


def measure(
    hour: Task,
    day: Task,
    recipe: Recipe,
    honest: series.Values,
    seed: int,
    progress: Callable[[int], Any],
) -> dict[str, Any]:
    """All three; `honest` are the forecasts of the day's test part by `recipe` and `seed`."""
    return {
        "scale": scale(day, recipe, day.rmse(honest, day.test), seed, progress),
        "shuffled_split": shuffled_split(day, recipe, honest, seed, progress),
        "one_direction": whole_series(hour, False, recipe, seed, progress),
        "both_directions": whole_series(hour, True, recipe, seed, progress),
    }


def scale(
    task: Task, recipe: Recipe, honest: float, seed: int, progress: Callable[[int], Any]
) -> dict[str, float]:
    """Normalising by all values, the test part's too; `honest` is the RMSE without."""
    every = series.scale_of(task.values)
    leaky = forecasting.prepare(task.values, task.windows.window, task.windows.horizon, every)
    network = forecasting.Network(leaky, recipe, seed, progress)
    return {
        "mean": task.scale.mean,
        "mean_leaky": every.mean,
        "deviation": task.scale.deviation,
        "deviation_leaky": every.deviation,
        "rmse": honest,
        "rmse_leaky": leaky.rmse(network.forecast(leaky.test), leaky.test),
    }


def shuffled_split(
    task: Task, recipe: Recipe, honest: series.Values, seed: int, progress: Callable[[int], Any]
) -> dict[str, float]:
    """A random 70% of all windows to train, 15% to validate, 15% to test.

    Its test error is what a shuffled split reports. The errors `_same_hours` are of those of its
    test windows that lie in the true test part: `honest` forecasts them from the past alone.
    """
    targets = np.arange(task.train[0], len(task.values))
    order = np.random.default_rng(seed).permutation(targets)
    train, validation, test = np.split(order, [int(0.70 * len(order)), int(0.85 * len(order))])
    leaky = task._replace(train=train, validation=validation, test=test)
    network = forecasting.Network(leaky, recipe, seed, progress)

    mask = np.isin(task.test, test)
    hours = task.test[mask]
    return {
        "windows": float(len(hours)),
        "reported": task.rmse(network.forecast(test), test),
        "reported_naive": task.rmse(forecasting.naive(task, test), test),
        "network_same_hours": task.rmse(honest[mask], hours),
        "network_same_hours_leaky": task.rmse(network.forecast(hours), hours),
        "neighbour_same_hours": task.rmse(_nearest(task, hours), hours),
        "neighbour_same_hours_leaky": task.rmse(_nearest(leaky, hours), hours),
    }


def _nearest(task: Task, targets: series.Steps) -> series.Values:
    """For each window what followed the training window most like it."""
    windows, blocks = task.windows.batch(torch.from_numpy(task.train))
    model = KNeighborsRegressor(1).fit(windows.numpy(), blocks.numpy())
    asked, _ = task.windows.batch(torch.from_numpy(targets))
    return task.scale.restore(model.predict(asked.numpy()))


class EveryStep(nn.Module):
    """A forecast of the next step at every step, from the layer's output there."""

    def __init__(self, bidirectional: bool, hidden: int) -> None:
        super().__init__()
        self.recurrent = fused_rnn.GRU(1, hidden, bidirectional=bidirectional)
        self.head = nn.Linear((2 if bidirectional else 1) * hidden, 1)

    def forward(self, values: Tensor) -> Tensor:
        """Forecasts [steps, batch], of the step after each, from values [steps, batch]."""
        output, _ = self.recurrent(values.unsqueeze(-1))
        change: Tensor = self.head(output).squeeze(-1)
        return values + change


def whole_series(
    task: Task, bidirectional: bool, recipe: Recipe, seed: int, progress: Callable[[int], Any]
) -> dict[str, float]:
    """A GRU over the whole series, and the same network where the series ends at the present.

    `task` is of one step ahead. In `whole` the layer reads the test part to its end before it
    forecasts; in `cut` it reads the steps up to the one before the target.
    """
    torch.manual_seed(seed)
    model = EveryStep(bidirectional, recipe.hidden)
    values, window = task.windows.values[:, -1], task.windows.window
    segments = values[: task.validation[0]].unfold(0, window, STRIDE)
    _train_every_step(model, segments, recipe.epochs, progress)

    known = values[task.test[0] - window :]  # the test part after the window of its first target
    with torch.no_grad():
        whole = model(known[:, None])[window - 1 : -1]
        cut = model(known[:-1].unfold(0, window, 1).t())[-1, :, None]
    errors = {"whole": whole, "cut": cut}
    return {
        name: task.rmse(task.scale.restore(forecast.numpy()), task.test)
        for name, forecast in errors.items()
    }


def _train_every_step(
    model: EveryStep, segments: Tensor, epochs: int, progress: Callable[[int], Any]
) -> None:
    """Trains on segments [count, steps] of the training part."""
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for _ in range(epochs):
        for index in torch.randperm(len(segments)).split(32):
            batch = segments[index].t()  # [steps, batch]
            loss = (model(batch)[:-1] - batch[1:]).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
        progress(1)
