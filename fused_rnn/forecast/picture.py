"""The picture of a forecast: the last steps of the test part, the learning curves, the errors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from .experiment import Outcome

SHOWN_STEPS = 240
INK, OURS, PALE = "#1f2933", "#d1495b", "#9aa5b1"


def draw(outcome: Outcome) -> Figure:
    """The whole figure."""
    layout = ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.12)
    figure = Figure(figsize=(11, 6.6), dpi=130, layout=layout)
    axes = figure.subplot_mosaic(
        [["forecast", "forecast"], ["losses", "errors"]],
        height_ratios=(1.35, 1),
        width_ratios=(1.25, 1),
    )
    with rc_context({"date.converter": "concise", "lines.linewidth": 1.8}):
        _draw_forecast(axes["forecast"], outcome)
        _draw_losses(axes["losses"], outcome)
        _draw_errors(axes["errors"], outcome)
    return figure


def _draw_forecast(axes: Axes, outcome: Outcome) -> None:
    """Observed values and the forecasts made for them."""
    experiment = outcome.experiment
    options, the_series = experiment.options, experiment.series
    targets = experiment.parts.test[-SHOWN_STEPS:]
    x: Sequence[Any] = [the_series.times[t] for t in targets] if the_series.times else list(targets)
    forecasts = {name: f[-SHOWN_STEPS:] for name, f in outcome.forecasts.items()}
    ours = outcome.trainers[0].name
    axes.plot(x, forecasts["naive"], color=PALE, lw=1.1, ls="--", label="naive")
    axes.plot(x, the_series.values[targets], color=INK, label="observed")
    axes.plot(x, forecasts[ours], color=OURS, label=f"{ours} {options.cell.upper()}")
    horizon = f"{options.horizon} step{'' if options.horizon == 1 else 's'}"
    name = the_series.name if len(the_series.name) <= 40 else the_series.name[:37] + "..."
    _style(axes, f"{name}, forecast {horizon} ahead: the end of the test part")
    axes.set_ylabel(experiment.unit, parse_math=False)
    axes.margins(x=0.01)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False, borderpad=0)
    if not the_series.times:
        axes.set_xlabel("step")


def _draw_losses(axes: Axes, outcome: Outcome) -> None:
    """Training losses of both libraries, one on top of the other, and our validation loss."""
    ours, *others = outcome.trainers
    epochs = np.arange(1, len(ours.losses) + 1)
    marker = "o" if len(epochs) == 1 else None
    axes.plot(epochs, ours.losses, color=OURS, marker=marker, label=f"{ours.name}, training")
    for other in others:
        axes.plot(epochs, other.losses, "--", color=INK, lw=1.2, label=f"{other.name}, training")
    axes.plot(epochs, ours.validation_losses, color=PALE, marker=marker, label="validation")
    best = int(np.argmin(ours.validation_losses))
    kept = (epochs[best], ours.validation_losses[best])
    axes.plot(*kept, "o", color=PALE, ms=9, mec="white", mew=1.5, label="kept epoch")
    _style(axes, "Mean squared error, normalised")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)


def _draw_errors(axes: Axes, outcome: Outcome) -> None:
    """Bars of the test errors."""
    names = list(outcome.errors)
    errors = [outcome.errors[name].rmse for name in names]
    colours = [OURS] + [INK] * (len(outcome.trainers) - 1) + [PALE] * 2
    bars = axes.barh(names, errors, color=colours, height=0.62)
    axes.bar_label(bars, fmt="%.3g", padding=4, color=INK)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    _style(axes, f"Test error (RMSE), {outcome.experiment.unit}")
    axes.grid(False)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="x", length=0, labelbottom=False)


def _style(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, color=INK, pad=10, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e7eb", lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK)
