"""The temperature series, and its forecast errors over chunk length and what is done to the state.

Every model keeps the weights of the least error on the validation part; the test part chooses
neither weights nor chunk.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from common.temperature import SEASON, Temperature
from common.truncated import (
    Forecaster,
    Task,
    forecast_carried,
    forecast_reset,
    forecast_windows,
    train,
)
from fused_rnn.forecast import series

CURVES = {
    "carried": "state carried",
    "reset": "reset at every chunk",
    "windows": "trained with resets, served by windows",
    "reset_then_carried": "trained with resets, served carried",
}

Errors = dict[str, dict[str, Any]]  # by part of the series, curve and "chunk_N"
Way = Callable[[Tensor, Tensor], Tensor]  # from values and steps to forecasts


class Weather(Temperature):
    """The series, and the errors of forecasts of it."""

    def __init__(self, horizon: int) -> None:
        super().__init__(1, horizon)
        self.horizon = horizon

    def mae(self, forecasts: Any, targets: series.Steps) -> float:
        """Mean absolute error in °C of normalised forecasts [targets]."""
        return series.errors(self.scale.restore(forecasts), self.celsius[targets]).mae

    def error(self, way: Way, part: str) -> float:
        """Mean absolute error in °C on a part, "validation" or "test"."""
        targets: series.Steps = getattr(self.parts, part)
        return self.mae(way(self.values, torch.from_numpy(targets - self.horizon)).numpy(), targets)

    def validation_error(self, model: Forecaster) -> float:
        """The error of a model whose state is carried."""
        return self.error(partial(forecast_carried, model), "validation")

    def baselines(self, part: str) -> dict[str, float]:
        """Mean absolute errors in °C of the forecasts that learn nothing."""
        targets: series.Steps = getattr(self.parts, part)
        forecasts = {
            "naive": series.naive(self.celsius, targets, self.horizon),
            "seasonal_naive": series.seasonal_naive(self.celsius, targets, self.horizon, SEASON),
        }
        return {name: series.errors(f, self.celsius[targets]).mae for name, f in forecasts.items()}


def compare_chunks(
    weather: Weather, task: Task, chunks: Sequence[int], seeds: Sequence[int]
) -> tuple[Errors, int]:
    """Errors, means over the seeds, and the chunk with the least validation error if carried."""
    errors: Errors = {part: defaultdict(dict) for part in ("validation", "test")}
    bar = tqdm(total=len(chunks) * len(seeds), unit="pair of trainings", disable=None)
    for chunk in chunks:
        found = defaultdict(list)
        for seed in seeds:
            for name, way in _ways(weather, task, chunk, seed).items():
                for part in errors:
                    found[part, name].append(weather.error(way, part))
            bar.update()
        for (part, name), its in found.items():
            errors[part][name][f"chunk_{chunk}"] = float(np.mean(its))
    bar.close()
    carried = errors["validation"]["carried"]
    return errors, min(chunks, key=lambda chunk: carried[f"chunk_{chunk}"])


def _ways(weather: Weather, task: Task, chunk: int, seed: int) -> dict[str, Way]:
    """Trains with the state carried and reset; the ways to forecast, by curve."""

    def reset_error(model: Forecaster) -> float:
        return weather.error(partial(forecast_reset, model, chunk), "validation")

    carried = train(task, chunk, True, seed, weather.validation_error)
    reset = train(task, chunk, False, seed, reset_error)
    return {
        "carried": partial(forecast_carried, carried),
        "reset": partial(forecast_reset, reset, chunk),
        "windows": partial(forecast_windows, reset, chunk),
        "reset_then_carried": partial(forecast_carried, reset),
    }
