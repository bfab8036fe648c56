"""A forecaster that serves a live stream: a value in, a forecast out, the state kept between."""

import time
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from common.truncated import Forecaster

Microseconds = NDArray[np.float64]
WARM_UP = 200


class Stream:
    """A trained forecaster's weights in a cell of `library`, `fused_rnn` or `torch.nn`."""

    def __init__(self, library: ModuleType, trained: Forecaster) -> None:
        layer = trained.recurrent
        kind = type(layer).__name__ + "Cell"
        self.cell: nn.Module = getattr(library, kind)(layer.input_size, layer.hidden_size)
        weights = layer.state_dict().items()
        self.cell.load_state_dict({name.removesuffix("_l0"): value for name, value in weights})
        self.head = trained.head
        self.state: Any = None

    def step(self, value: float) -> float:
        """The forecast after one more value."""
        x = torch.tensor([[value]])
        self.state = self.cell(x, self.state)
        h = self.state[0] if isinstance(self.state, tuple) else self.state
        change: float = self.head(h).item()
        return value + change


@torch.inference_mode()
def replay(
    streams: Sequence[Stream], values: Sequence[float]
) -> tuple[NDArray[np.float64], Microseconds]:
    """Every stream over all values: forecasts and the time of each step, [streams, steps].

    The streams take turns at every value, and at who is first, so that a disturbance hits all.
    """
    forecasts = np.empty((len(streams), len(values)))
    times = np.empty_like(forecasts)
    for step, value in enumerate(values):
        for turn in range(len(streams)):
            index = (step + turn) % len(streams)
            begin = time.perf_counter_ns()
            forecasts[index, step] = streams[index].step(value)
            times[index, step] = (time.perf_counter_ns() - begin) / 1e3
    return forecasts, times[:, WARM_UP:]


@torch.inference_mode()
def cell_times(streams: Sequence[Stream], steps: int) -> Microseconds:
    """The time of the cells alone from the states they are in, in turns, [streams, steps]."""
    x: Tensor = torch.zeros(1, 1)
    times = np.empty((len(streams), steps))
    for step in range(steps):
        for turn in range(len(streams)):
            index = (step + turn) % len(streams)
            cell, state = streams[index].cell, streams[index].state
            begin = time.perf_counter_ns()
            cell(x, state)
            times[index, step] = (time.perf_counter_ns() - begin) / 1e3
    return times[:, WARM_UP:]


def percentiles(times: Microseconds) -> dict[str, float]:
    """p50, p95 and p99 of the times of one stream's steps."""
    return {f"p{p}": float(np.percentile(times, p)) for p in (50, 95, 99)}
