"""The picture of the chapter `forecast`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fused_rnn.forecast.series import Series, Values

from .forecasting import SEASON, Task
from .picture import COLOURS, INK, OURS, PALE, new_figure, tidy

SHOWN_DAYS = 8


def draw(
    the_series: Series, day: Task, forecasts: Mapping[str, Values], numbers: Mapping[str, Any]
) -> Figure:
    """The series and its autocorrelation above, then the forecasts, then errors and leaks."""
    figure = new_figure(9.6, 8.0)
    axes = figure.subplot_mosaic(
        [["series", "correlation"], ["forecast", "forecast"], ["lead", "leaks"]],
        height_ratios=(1, 1, 1.15),
    )
    _draw_series(axes["series"], the_series, day)
    _draw_correlation(axes["correlation"], numbers["autocorrelation"])
    _draw_forecast(axes["forecast"], day, forecasts)
    _draw_lead(axes["lead"], day, forecasts)
    _draw_leaks(axes["leaks"], numbers)
    return figure


def _draw_series(axes: Axes, the_series: Series, day: Task) -> None:
    """All values, their mean over a month, and where the parts begin."""
    values, month = day.values, 30 * SEASON
    axes.plot(values, color=PALE, lw=0.4)
    mean = np.convolve(values, np.full(month, 1 / month), mode="valid")
    axes.plot(np.arange(len(mean)) + month // 2, mean, color=OURS, label="mean over 30 days")
    ahead = day.windows.horizon
    begins = {"train": 0, "valid.": day.validation[0] - ahead + 1}
    begins["test"] = day.test[0] - ahead + 1
    for name, begin in begins.items():
        axes.axvline(float(begin), color=INK, lw=0.6)
        axes.text(float(begin) + 60, values.max() + 2, name, fontsize=8, color=INK)
    axes.set_ylim(top=values.max() + 6)
    axes.legend(fontsize=8, frameon=False, loc="lower center")
    year = f"{the_series.times[0]:%Y}" if the_series.times else ""
    tidy(axes, f"Hourly temperature, New York (JFK), {year}", "hour", "°C")


def _draw_correlation(axes: Axes, autocorrelation: Mapping[str, list[float]]) -> None:
    """How alike the series is to itself some hours before."""
    for name, colour in (("values", INK), ("changes", OURS)):
        axes.plot(autocorrelation[name], color=colour, label=f"hourly {name}")
    axes.axhline(0, color=PALE, lw=0.6)
    axes.set_xticks(range(0, len(autocorrelation["values"]), SEASON))
    axes.grid(axis="x", color="#e4e7eb")
    axes.legend(fontsize=8, frameon=False, loc=(0.55, 0.55))
    tidy(axes, "Autocorrelation: a slow swing and a day", "lag, hours", "correlation")


def _draw_forecast(axes: Axes, day: Task, forecasts: Mapping[str, Values]) -> None:
    """A block a day, forecast from where it begins."""
    ahead = day.windows.horizon
    ends = np.arange(len(day.test) - 1 - (SHOWN_DAYS - 1) * ahead, len(day.test), ahead)
    hours = np.arange(len(ends) * ahead)
    axes.plot(hours, day.blocks(day.test[ends]).ravel(), color=INK, lw=1.6, label="observed")
    styles = {"seasonal_naive": (PALE, "--", "seasonal naive"), "gru": (OURS, "-", "GRU")}
    for name, (colour, line, label) in styles.items():
        for block, forecast in enumerate(forecasts[name][ends]):
            steps = np.arange(block * ahead, (block + 1) * ahead)
            axes.plot(steps, forecast, line, color=colour, label=label if block == 0 else None)
    for begin in hours[::ahead]:
        axes.axvline(begin, color=PALE, lw=0.4)
    axes.set_xticks(hours[::ahead])
    axes.legend(fontsize=8, frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    tidy(axes, f"The end of the test part, {ahead} hours at once", "hour", "°C")


def _draw_lead(axes: Axes, day: Task, forecasts: Mapping[str, Values]) -> None:
    """The error of each hour of the block."""
    observed = day.blocks(day.test)
    leads = np.arange(1, day.windows.horizon + 1)
    names = ["naive", "seasonal_naive", "linear", "gru_iterated", "gru"]
    for name, colour in zip(names, (PALE, *COLOURS[1:4], OURS), strict=True):
        rmse = np.sqrt(np.mean((forecasts[name] - observed) ** 2, axis=0))
        label = name.replace("_", " ").replace("gru", "GRU")
        axes.plot(leads, rmse, color=colour, label=label, lw=1.4)
    axes.set_xticks([1, *range(6, len(leads) + 1, 6)])
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8, frameon=False)
    tidy(axes, "Error of each hour of the block", "hours ahead", "RMSE, °C")


def _draw_leaks(axes: Axes, numbers: Mapping[str, Any]) -> None:
    """Pairs of bars: what a leak shows, and the error without it."""
    shuffled, both = numbers["shuffled_split"], numbers["both_directions"]
    pairs = {
        "scale of all values,\nGRU": (numbers["scale"]["rmse_leaky"], numbers["scale"]["rmse"]),
        "shuffled split,\nGRU": (
            shuffled["network_same_hours_leaky"],
            shuffled["network_same_hours"],
        ),
        "shuffled split,\nnearest neighbour": (
            shuffled["neighbour_same_hours_leaky"],
            shuffled["neighbour_same_hours"],
        ),
        "both directions over\nthe whole series": (both["whole"], both["cut"]),
    }
    rows = np.arange(len(pairs))
    for side, (label, colour) in enumerate((("with the leak", OURS), ("without", INK))):
        errors = [pair[side] for pair in pairs.values()]
        bars = axes.barh(rows + 0.36 * side, errors, height=0.34, color=colour, label=label)
        axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8, color=INK)
    axes.set_yticks(rows + 0.18, list(pairs))
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.legend(fontsize=8, frameon=False, loc="upper right")
    tidy(axes, "What a leak hides", "RMSE on the same hours, °C", "")
