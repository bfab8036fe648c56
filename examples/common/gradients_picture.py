"""The picture of gradients.py: norms through time, and gates under the series that they see."""

import math
from datetime import datetime

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from fused_rnn.forecast.series import Values

from .gate_swings import swings
from .picture import COLOURS, INK, new_figure, tidy
from .through_time import Decay

SUNRISE, SUNSET = 7, 17  # of New York in November, to the hour


def picture(
    found: dict[str, Decay], times: list[datetime], values: Values, gates: dict[str, Tensor]
) -> Figure:
    """Norms against steps back on top; below, values at hourly times, and gates [steps, hidden]."""
    figure = new_figure(10, 9)
    names = ["series", *gates]
    layout = [["rnn", "gated"], *([name, name] for name in names)]
    axes: dict[str, Axes] = figure.subplot_mosaic(layout, height_ratios=(3, 1.2, 1, 1, 1))  # type: ignore[arg-type]
    _draw_decays(axes["rnn"], [decay for decay in found.values() if decay.gate is None])
    _draw_decays(axes["gated"], [decay for decay in found.values() if decay.gate is not None])
    tidy(axes["rnn"], "RNN, d loss / d h; dotted: bound", "steps back", "share of the last norm")
    tidy(axes["gated"], "LSTM, d loss / d c, and GRU, d loss / d h; dotted: gate", "steps back", "")
    axes["rnn"].legend(fontsize=7, frameon=False, loc="lower right")
    axes["gated"].legend(fontsize=7, frameon=False, loc="upper right")

    _draw_series(axes["series"], times, values)
    tidy(axes["series"], "Temperature in New York, nights shaded", "", "°C")
    everything = torch.stack([*gates.values()])
    limits = everything.min().item(), everything.max().item()
    for name, gate in gates.items():
        image = _draw_gate(axes[name], gate, limits)
        tidy(axes[name], f"{name.capitalize()} gate", "", "unit")
    for name in names:
        _mark_days(axes[name], times, labels=name == names[-1])
    bar = figure.colorbar(image, ax=[axes[name] for name in names], pad=0.01, aspect=40)
    bar.ax.tick_params(labelsize=8)
    bar.set_label("0: shut, 1: open", fontsize=9)
    return figure


def _draw_decays(axes: Axes, some: list[Decay]) -> None:
    """Norms on a log scale, each with the line of its bound or its gate."""
    for decay, colour in zip(some, COLOURS, strict=False):
        back = torch.arange(len(decay.norms))
        axes.semilogy(back, decay.norms.flip(0), color=colour, label=decay.name)
        line = decay.bound or decay.gate or math.nan
        axes.semilogy(back, line**back, color=colour, linestyle=":", linewidth=1)
    axes.set_ylim(1e-15, 1e11)


def _draw_series(axes: Axes, times: list[datetime], values: Values) -> None:
    """The series, its nights shaded."""
    hours = np.arange(len(times))
    night = [not SUNRISE <= time.hour < SUNSET for time in times]
    whole_height = axes.get_xaxis_transform()
    axes.fill_between(
        hours, 0, 1, where=night, transform=whole_height, color="#dfe4ea", linewidth=0
    )
    axes.plot(hours, values, color=INK, linewidth=1)


def _draw_gate(axes: Axes, gate: Tensor, limits: tuple[float, float]) -> AxesImage:
    """A gate [steps, hidden] as a heat map, a row a unit, dark where it is shut; the units that
    move most within a day lie on top."""
    rows = gate.T[swings(gate).argsort(descending=True)]
    low, high = limits
    return axes.imshow(rows, aspect="auto", vmin=low, vmax=high, interpolation="nearest")


def _mark_days(axes: Axes, times: list[datetime], labels: bool) -> None:
    """Ticks at midnight, with the day where labels are wanted."""
    midnights = [hour for hour, time in enumerate(times) if time.hour == 0]
    names = [f"{times[hour]:%a %d %b}" for hour in midnights]
    axes.set_xlim(-0.5, len(times) - 0.5)
    axes.set_xticks(midnights, names if labels else [], fontsize=8)
