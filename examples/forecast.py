"""Forecasting a series: an hour and a day ahead, honest baselines, and three leaks by number.

RNN, LSTM and GRU (one direction and both) forecast the hourly temperature of New York: the next
hour, and the next 24 hours at once. Beside them stand the naive, the seasonal-naive and a linear
autoregressive forecast. Then the three usual leaks are let in on purpose: a scale that knows the
test part, a shuffled split, and a bidirectional layer over the whole series.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import numpy as np
import torch
import typer
from statsmodels.tsa.stattools import acf
from tqdm import tqdm

import fused_rnn
from common import forecast_picture, forecasting, leaks, report
from common.forecasting import Errors, Forecaster, Recipe, Task
from common.report import HERE, Out, Quick, Seed
from common.seeds import seed_everything
from fused_rnn.forecast import UserError, series
from fused_rnn.forecast.experiment import COLUMN, DATA
from fused_rnn.forecast.series import Values

NETWORKS = {"rnn": ("rnn", False), "lstm": ("lstm", False), "gru": ("gru", False)}
NETWORKS["gru_both"] = ("gru", True)  # over the window, which is all past: no leak
NAMES = {"naive": "naive", "seasonal_naive": "seasonal naive", "linear": "linear (Ridge)"}
NAMES |= {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU", "gru_both": "GRU, both directions"}
NAMES |= {"linear_iterated": "linear, 1 h iterated", "gru_iterated": "GRU, 1 h iterated"}


def main(
    window: Annotated[int, typer.Option(min=2, help="Past hours that a forecast sees.")] = 48,
    ahead: Annotated[int, typer.Option(min=2, help="Hours of a block.")] = 24,
    hidden: Annotated[int, typer.Option(min=1, help="Hidden units.")] = 32,
    epochs: Annotated[int, typer.Option(min=1, help="At most.")] = 10,
    patience: Annotated[int, typer.Option(min=1, help="Epochs without a better one.")] = 3,
    runs: Annotated[int, typer.Option(min=1, help="Trainings a network, from seed on.")] = 3,
    seed: Seed = 0,
    quick: Quick = False,
    out: Out = HERE,
) -> None:
    """Forecasts hourly temperatures beside three baselines; shows what three leaks hide."""
    if quick:
        epochs, runs = min(epochs, 4), 1
    settings = {name: value for name, value in locals().items() if name != "out"}
    seed_everything(seed)
    torch.set_num_threads(1)  # the networks are small
    the_series = series.read_series(DATA, COLUMN)
    try:
        hour = forecasting.prepare(the_series.values, window, 1)
        day = forecasting.prepare(the_series.values, window, ahead)
    except UserError as error:
        raise typer.BadParameter(str(error)) from error

    recipes = {name: Recipe(*kind, hidden, epochs, patience) for name, kind in NETWORKS.items()}
    seeds = range(seed, seed + runs)
    with tqdm(total=epochs * (2 * len(recipes) * runs + 4), unit="epoch", disable=None) as bar:
        of_hour = trained(hour, recipes, seeds, bar.update)
        of_day = trained(day, recipes, seeds, bar.update)
        for name in ("linear", "gru"):
            of_day[f"{name}_iterated"] = [forecasting.Iterated(day, one) for one in of_hour[name]]
        errors_of_hour, _ = forecasting.compare(hour, of_hour)
        errors_of_day, forecasts = forecasting.compare(day, of_day)
        numbers = {
            "hour": errors_of_hour,
            "day": errors_of_day,
            "parts": {part: len(getattr(day, part)) for part in ("train", "validation", "test")},
            "autocorrelation": autocorrelation(the_series.values[: hour.validation[0]]),
            "shapes": shapes(),
            **leaks.measure(hour, day, recipes["gru"], forecasts["gru"], seed, bar.update),
        }
    figure = forecast_picture.draw(the_series, day, forecasts, numbers)
    report.save("forecast", out, figure, rows(errors_of_hour, errors_of_day), numbers, settings)


def trained(
    task: Task, recipes: Mapping[str, Recipe], seeds: range, progress: Callable[[int], Any]
) -> dict[str, list[Forecaster]]:
    """The linear model, and each network once a seed."""
    forecasters: dict[str, list[Forecaster]] = {"linear": [forecasting.Linear(task)]}
    for name, recipe in recipes.items():
        forecasters[name] = [forecasting.Network(task, recipe, seed, progress) for seed in seeds]
    return forecasters


def autocorrelation(values: Values) -> dict[str, list[float]]:
    """Of the values and of their hourly changes, for lags up to three days."""
    lags = 3 * forecasting.SEASON
    return {
        "values": acf(values, nlags=lags).tolist(),
        "changes": acf(np.diff(values), nlags=lags).tolist(),
    }


def shapes() -> dict[str, Any]:
    """What a bidirectional layer returns, and which halves of it are the same numbers."""
    steps, batch, hidden = 48, 8, 32
    layer = fused_rnn.GRU(1, hidden, num_layers=2, bidirectional=True)
    output, h_n = layer(torch.randn(steps, batch, 1))
    forward, backward = output[..., :hidden], output[..., hidden:]
    return {
        "output": list(output.shape),
        "h_n": list(h_n.shape),
        "forward_ends_last": torch.equal(h_n[-2], forward[-1]),
        "backward_ends_first": torch.equal(h_n[-1], backward[0]),
    }


def rows(of_hour: Errors, of_day: Errors) -> list[dict[str, str | float]]:
    """A line a forecast."""
    return [
        {
            "forecast": NAMES[name],
            "1 h RMSE, °C": of_hour[name]["rmse"] if name in of_hour else "-",
            "block RMSE, °C": day["rmse"],
            "least": day["least"],
            "most": day["most"],
            "block, validation": day["validation"],
        }
        for name, day in of_day.items()
    ]


if __name__ == "__main__":
    typer.run(main)
