"""One experiment: a series made ready, the training on it, and what the test part shows."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

import torch
from torch import nn
from tqdm import tqdm

import fused_rnn

from . import series, training

DATA = Path(__file__).parents[1] / "data" / "jfk_temperature_2013.csv"
COLUMN = "temperature_celsius"


class Experiment(NamedTuple):
    """A series made ready: its parts, its scale and its windows, with the user's options."""

    options: argparse.Namespace
    data: Path
    series: series.Series
    unit: str
    parts: series.Parts
    scale: series.Scale
    windows: training.Windows


class Outcome(NamedTuple):
    """Forecasts [test targets] and their errors, by name; the trainers' names come first."""

    experiment: Experiment
    trainers: list[training.Trainer]
    forecasts: dict[str, series.Values]
    errors: dict[str, series.Errors]


def prepare(options: argparse.Namespace) -> Experiment:
    """Reads, splits and normalises the series; raises `UserError`."""
    data = options.data or DATA
    column = options.column or (None if options.data else COLUMN)
    the_series = series.read_series(data, column)
    values = the_series.values
    parts = series.split(len(values), options.window, options.horizon, options.season)
    scale = series.scale_of(values[: parts.training_steps])
    normalised = torch.from_numpy(scale.normalise(values))
    windows = training.Windows(normalised, options.window, options.horizon)
    unit = f"units of {the_series.name}" if options.data else "°C"
    return Experiment(options, data, the_series, unit, parts, scale, windows)


def train(experiment: Experiment) -> Outcome:
    """Trains our network and, to compare, torch.nn's; forecasts the test part once."""
    options, parts, values = experiment.options, experiment.parts, experiment.series.values
    trainers = _trainers(experiment)
    epochs = options.epochs * len(trainers)
    with _threads(options.threads), tqdm(total=epochs, unit="epoch", disable=None) as bar:
        training.train_in_turns(
            trainers, torch.from_numpy(parts.validation), options.epochs, _progress_on(bar)
        )
    targets = torch.from_numpy(parts.test)
    forecasts = {
        trainer.name: experiment.scale.restore(trainer.forecast(targets).numpy())
        for trainer in trainers
    }
    forecasts["naive"] = series.naive(values, parts.test, options.horizon)
    forecasts["seasonal naive"] = series.seasonal_naive(
        values, parts.test, options.horizon, options.season
    )
    errors = {name: series.errors(f, values[parts.test]) for name, f in forecasts.items()}
    return Outcome(experiment, trainers, forecasts, errors)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Lets torch use that many threads, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _trainers(experiment: Experiment) -> list[training.Trainer]:
    """Our trainer and, to compare, torch.nn's, from the same seed."""
    options, train_targets = experiment.options, torch.from_numpy(experiment.parts.train)
    libraries = {"fused_rnn": fused_rnn, "torch.nn": nn}
    if not options.compare:
        del libraries["torch.nn"]
    trainers = []
    for name, library in libraries.items():
        torch.manual_seed(options.seed)
        model = training.Forecaster(
            library, options.cell, options.hidden, options.layers, options.bidirectional
        )
        trainers.append(
            training.Trainer(
                name, model, experiment.windows, train_targets, options.epochs, options.seed
            )
        )
    return trainers


def _progress_on(bar: "tqdm[NoReturn]") -> Callable[[training.Trainer], None]:
    """What shows an epoch's end on the progress bar."""

    def progress(trainer: training.Trainer) -> None:
        bar.set_description(trainer.name.ljust(9), refresh=False)
        losses = f"train {trainer.losses[-1]:.4f}, validation {trainer.validation_losses[-1]:.4f}"
        bar.set_postfix_str(losses, refresh=False)
        bar.update()

    return progress
