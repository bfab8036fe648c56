"""Truncated back-propagation through time: a long series learnt in chunks.

The series is cut into equal strips that are trained side by side. A chunk of every strip is one
update; the next chunk starts from the state that the last one ended in, `detach`ed, so that numbers
flow on and gradients do not. Values are normalised; a forecast at step t is for step t + horizon.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

import fused_rnn

STRIPS = 16
LEARNING_RATE = 3e-3
GRADIENT_NORM = 1.0
CHECKS = 12  # of the error on the validation part, during a training

State = Tensor | tuple[Tensor, Tensor]


class Forecaster(nn.Module):
    """A recurrent layer, `cell` "GRU" or "LSTM"; a linear head adds a change to the last value."""

    def __init__(self, cell: str, hidden: int) -> None:
        super().__init__()
        self.recurrent = getattr(fused_rnn, cell)(1, hidden)
        self.head = nn.Linear(hidden, 1)

    def forward(self, values: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Forecasts at every step, [steps, batch] as `values`, and the state after the last."""
        output, state = self.recurrent(values.unsqueeze(-1), state)
        return values + self.head(output).squeeze(-1), cast(State, state)


class Task(NamedTuple):
    """The training part [steps], how far ahead to forecast, and the network."""

    values: Tensor
    horizon: int
    cell: str
    hidden: int
    updates: int

    def strips(self) -> tuple[Tensor, Tensor]:
        """Values and what is to be forecast from them, [steps of a strip, STRIPS] each."""
        steps = (len(self.values) - self.horizon) // STRIPS
        whole = steps * STRIPS
        targets = self.values[self.horizon :]
        return self.values[:whole].view(STRIPS, -1).t(), targets[:whole].view(STRIPS, -1).t()


def train(
    task: Task, chunk: int, carry: bool, seed: int, error: Callable[[Forecaster], float]
) -> Forecaster:
    """The forecaster with the least `error`, looked at `CHECKS` times on the way.

    An update is one chunk of every strip; without `carry` it starts from zeros.
    """
    torch.manual_seed(seed)
    model = Forecaster(task.cell, task.hidden)
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    inputs, targets = task.strips()
    best, least = model, float("inf")
    state, begin = None, 0
    for update in range(1, task.updates + 1):
        if begin + chunk > len(inputs):
            state, begin = None, 0
        forecasts, state = model(inputs[begin : begin + chunk], state if carry else None)
        state = detach(state)
        loss = (forecasts - targets[begin : begin + chunk]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
        optimiser.step()
        begin += chunk
        if update % max(1, task.updates // CHECKS) == 0 and (found := error(model)) < least:
            best, least = deepcopy(model), found
    return best


def detach(state: State) -> State:
    """The same numbers, cut off from the past that made them."""
    return state.detach() if isinstance(state, Tensor) else (state[0].detach(), state[1].detach())


def forecast_carried(model: Forecaster, values: Tensor, steps: Tensor) -> Tensor:
    """Forecasts at `steps`, the state carried from the series' first value on."""
    with torch.inference_mode():
        return cast(Tensor, model(values.unsqueeze(1))[0].squeeze(1)[steps])


def forecast_reset(model: Forecaster, chunk: int, values: Tensor, steps: Tensor) -> Tensor:
    """Forecasts at `steps`, the state set to zero every `chunk` steps."""
    padded = nn.functional.pad(values, (0, -len(values) % chunk))
    with torch.inference_mode():
        forecasts, _ = model(padded.view(-1, chunk).t())
    return cast(Tensor, forecasts.t().flatten()[steps])


def forecast_windows(model: Forecaster, chunk: int, values: Tensor, steps: Tensor) -> Tensor:
    """Forecasts at `steps`, each from zeros over the last `chunk` values."""
    windows = values.unfold(0, chunk, 1)[steps - (chunk - 1)]  # [steps, chunk]
    with torch.inference_mode():
        return cast(Tensor, model(windows.t())[0][-1])
