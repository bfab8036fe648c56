"""The picture of forecasts of a day: errors by hour, one day, and what attention looked at."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.days import HORIZON, Days, Errors
from common.picture import COLOURS, INK, OURS, PALE, new_figure, tidy
from fused_rnn.forecast.series import Values

STYLES = {
    "naive": (PALE, ":"),
    "seasonal": (PALE, "--"),
    "ridge": (INK, ":"),
    "teacher": (OURS, "-"),
    "scheduled": (COLOURS[2], "-"),
    "free": (COLOURS[1], "-"),
    "attention": (COLOURS[3], "-"),
    "changes": (COLOURS[4], "-"),
}
SHOWN = ("seasonal", "teacher", "attention")  # in the picture of one day
HOURS = np.arange(1, HORIZON + 1)


def draw(
    days: Days,
    day: int,
    forecasts: Mapping[str, Values],
    errors: Mapping[str, Errors],
    told: Mapping[str, Errors],
    weights: Values,
    titles: Mapping[str, str],
) -> Figure:
    """The whole figure; `day` is the one that is drawn."""
    figure = new_figure(11, 7)
    axes = figure.subplot_mosaic([["errors", "day"], ["errors", "weights"]])
    _draw_errors(axes["errors"], errors, told, titles)
    _draw_day(axes["day"], days, day, forecasts, titles)
    _draw_weights(figure, axes["weights"], weights)
    return figure


def _draw_errors(
    axes: Axes, errors: Mapping[str, Errors], told: Mapping[str, Errors], titles: Mapping[str, str]
) -> None:
    for name, error in errors.items():
        colour, line = STYLES[name]
        axes.plot(HOURS, error["hours"], line, color=colour, label=titles[name])
    label = f"{titles['teacher']}, told the truth"
    axes.plot(HOURS, told["teacher"]["hours"], "-.", color=OURS, lw=1, label=label)
    axes.set_xticks([1, 6, 12, 18, 24])
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
    tidy(axes, "Error on the test part", "hours ahead", "RMSE (°C)")


def _draw_day(
    axes: Axes, days: Days, day: int, forecasts: Mapping[str, Values], titles: Mapping[str, str]
) -> None:
    hours = np.arange(1 - days.window, HORIZON + 1)
    axes.plot(hours, days.values[day - 1 + hours], color=INK, label="observed")
    axes.axvline(0.5, color=PALE, lw=0.8)
    column = int(np.searchsorted(days.test, day))
    for name in SHOWN:
        colour, line = STYLES[name]
        axes.plot(HOURS, forecasts[name][:, column], line, color=colour, label=titles[name])
    axes.legend(frameon=False, fontsize=8)
    axes.set_xlim(hours[0], hours[-1])
    tidy(axes, f"One day, from {days.times[day]:%Y-%m-%d %H:%M} UTC on", "hour", "°C")


def _draw_weights(figure: Figure, axes: Axes, weights: Values) -> None:
    window = weights.shape[-1]
    extent = (0.5 - window, 0.5, HORIZON + 0.5, 0.5)
    image = axes.imshow(weights.mean(1), aspect="auto", cmap="magma", extent=extent)
    figure.colorbar(image, ax=axes, pad=0.01).ax.tick_params(labelsize=8)
    axes.set_yticks([1, 6, 12, 18, 24])
    title = "Attention, mean of the test days from 12:00 UTC on"
    tidy(axes, title, "hour of the past that is looked at", "hour ahead")
