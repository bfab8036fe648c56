"""Windows of a series, each with the block of steps that follows; forecasters and baselines.

Built on `fused_rnn.forecast`, which forecasts one step. A target is the last step of its block; a
block belongs to one part only, and the scale comes from the training part alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.linear_model import Ridge
from torch import Tensor, nn

import fused_rnn
from fused_rnn.forecast import UserError, series, training
from fused_rnn.forecast.series import Steps, Values

SEASON = 24
PENALTIES = (0.1, 1.0, 10.0, 100.0)

Errors = dict[str, dict[str, float]]


class Blocks(training.Windows):
    """Windows before blocks; `values` [steps, horizon] holds at each step the block it ends."""

    def batch(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Windows [batch, window] and blocks [batch, horizon] of the targets [batch]."""
        begin = targets - (self.window - 1 + self.horizon)
        return self.values[:, -1].unfold(0, self.window, 1)[begin], self.values[targets]


class Task(NamedTuple):
    """A series ready to be forecast `windows.horizon` steps at once; its targets in time order."""

    values: Values
    scale: series.Scale
    windows: Blocks
    train: Steps
    validation: Steps
    test: Steps

    def blocks(self, targets: Steps) -> Values:
        """What was observed, [targets, horizon]."""
        ahead = self.windows.horizon
        return sliding_window_view(self.values, ahead)[targets - (ahead - 1)]

    def rmse(self, forecast: Values, targets: Steps) -> float:
        """The error over all steps of the blocks."""
        return series.errors(forecast, self.blocks(targets)).rmse


class Recipe(NamedTuple):
    """A network and how it is trained."""

    cell: str
    bidirectional: bool
    hidden: int
    epochs: int
    patience: int


def prepare(values: Values, window: int, ahead: int, scale: series.Scale | None = None) -> Task:
    """Splits in time order, and normalises by the training part unless given another scale."""
    parts = series.split(len(values), window, ahead, SEASON)
    validation, test = parts.validation[ahead - 1 :], parts.test[ahead - 1 :]
    if not len(validation):
        raise UserError(f"{ahead} steps ahead are more than the {len(parts.validation)} of a part")
    scale = scale or series.scale_of(values[: parts.training_steps])
    normalised = torch.from_numpy(scale.normalise(values))
    before = normalised.new_full((ahead - 1,), float("nan"))  # of blocks that no window precedes
    windows = Blocks(torch.cat([before, normalised]).unfold(0, ahead, 1), window, ahead)
    return Task(values, scale, windows, parts.train, validation, test)


class BlockForecaster(training.Forecaster):
    """A recurrent layer over the window; a linear head gives all steps of the block at once."""

    def __init__(self, cell: str, bidirectional: bool, hidden: int, ahead: int) -> None:
        super().__init__(fused_rnn, cell, hidden, 1, bidirectional)
        self.head = nn.Linear(self.directions * hidden, ahead)

    def forward(self, windows: Tensor) -> Tensor:
        """Forecasts [batch, ahead] from windows [batch, window]."""
        _, state = self.recurrent(windows.t().unsqueeze(-1))  # [window, batch, 1]
        h_n = state[0] if isinstance(state, tuple) else state  # [directions, batch, hidden]
        change: Tensor = self.head(h_n.transpose(0, 1).flatten(1))
        return windows[:, -1:] + change


class Forecaster(ABC):
    """What forecasts the blocks of a task from their windows."""

    def __init__(self, task: Task) -> None:
        self.task = task

    @abstractmethod
    def step(self, windows: Tensor) -> Tensor:
        """Normalised forecasts [batch, ahead] from windows [batch, window]."""

    def forecast(self, targets: Steps) -> Values:
        """Forecasts in the units of the series, [targets, ahead]."""
        windows, _ = self.task.windows.batch(torch.from_numpy(targets))
        return self.task.scale.restore(self.step(windows).numpy())


class Network(Forecaster):
    """A recurrent network, trained until the validation error has not fallen for some epochs.

    The weights of the best epoch are kept. `progress` is called with the number of epochs done or,
    at the end, left out.
    """

    def __init__(
        self, task: Task, recipe: Recipe, seed: int, progress: Callable[[int], Any]
    ) -> None:
        super().__init__(task)
        torch.manual_seed(seed)
        self.model = BlockForecaster(
            recipe.cell, recipe.bidirectional, recipe.hidden, task.windows.horizon
        )
        train, validation = torch.from_numpy(task.train), torch.from_numpy(task.validation)
        trainer = training.Trainer(
            recipe.cell, self.model, task.windows, train, recipe.epochs, seed
        )
        for epoch in range(recipe.epochs):
            trainer.train_epoch()
            trainer.validate(validation)
            progress(1)
            if epoch - int(np.argmin(trainer.validation_losses)) >= recipe.patience:
                progress(recipe.epochs - epoch - 1)
                break
        trainer.restore_best()

    def step(self, windows: Tensor) -> Tensor:
        with torch.no_grad():
            forecasts: Tensor = self.model(windows)
        return forecasts


class Linear(Forecaster):
    """A linear autoregression, a weight a past step: scikit-learn's Ridge.

    The validation part chooses the penalty.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        windows, blocks = task.windows.batch(torch.from_numpy(task.train))
        models = [Ridge(penalty).fit(windows.numpy(), blocks.numpy()) for penalty in PENALTIES]
        errors = []
        for self.model in models:
            errors.append(task.rmse(self.forecast(task.validation), task.validation))
        self.model = models[int(np.argmin(errors))]

    def step(self, windows: Tensor) -> Tensor:
        forecasts = self.model.predict(windows.numpy()).reshape(len(windows), -1)
        return torch.from_numpy(forecasts)


class Iterated(Forecaster):
    """A block by a forecaster of one step, which reads its own forecasts as if they were past."""

    def __init__(self, task: Task, one: Forecaster) -> None:
        super().__init__(task)
        self.one = one

    def step(self, windows: Tensor) -> Tensor:
        steps = []
        for _ in range(self.task.windows.horizon):
            steps.append(self.one.step(windows))  # [batch, 1]
            windows = torch.cat([windows[:, 1:], steps[-1]], dim=1)
        return torch.cat(steps, dim=1)


def naive(task: Task, targets: Steps) -> Values:
    """The window's last value for every step of the block."""
    ahead = task.windows.horizon
    steps = [series.naive(task.values, targets - ahead + k, k) for k in range(1, ahead + 1)]
    return np.stack(steps, axis=1)


def seasonal_naive(task: Task, targets: Steps) -> Values:
    """The last known value of the same hour of the day."""
    ahead, values = task.windows.horizon, task.values
    leads = range(1, ahead + 1)
    steps = [series.seasonal_naive(values, targets - ahead + k, k, SEASON) for k in leads]
    return np.stack(steps, axis=1)


def compare(
    task: Task, forecasters: Mapping[str, list[Forecaster]]
) -> tuple[Errors, dict[str, Values]]:
    """Errors by name, the mean over the seeds, and forecasts of the test part by the first seed."""
    runs_of: dict[str, list[Callable[[Steps], Values]]] = {
        "naive": [partial(naive, task)],
        "seasonal_naive": [partial(seasonal_naive, task)],
        **{name: [run.forecast for run in runs] for name, runs in forecasters.items()},
    }
    numbers, forecasts = {}, {}
    for name, runs in runs_of.items():
        of_test = [run(task.test) for run in runs]
        rmse = [task.rmse(forecast, task.test) for forecast in of_test]
        validation = [task.rmse(run(task.validation), task.validation) for run in runs]
        numbers[name] = {
            "rmse": fmean(rmse),
            "least": min(rmse),
            "most": max(rmse),
            "validation": fmean(validation),
        }
        forecasts[name] = of_test[0]
    return numbers, forecasts
