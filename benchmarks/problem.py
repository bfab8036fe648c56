"""The tensors of a point, shared by all contestants, and the comparison of their results."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from .grid import Point

# Of the largest value of a result, by dtype. Rounding stays below 1e-5 over the grid in float32
# (most in the gradients of weights, sums over all rows), below 0.03 in bfloat16, mostly torch.nn's;
# a wrong gate or a wrong step lies far above.
TOLERANCES = {"float32": 5e-5, "bfloat16": 0.1}

CLASSES = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}


@dataclass(frozen=True)
class Problem:
    """What every contestant is given.

    Attributes:
        point: the line of the table.
        module: the torch.nn module that holds the weights; contestants share its parameters.
        input: [steps, batch, hidden]; packed: the same as a PackedSequence; cell: [batch, hidden].
        state: h_0, or (h_0, c_0): [1, batch, hidden]; cell: [batch, hidden].
        gradient: of the output, in training; shaped like it.
    """

    point: Point
    module: nn.Module
    input: Tensor | PackedSequence
    state: Tensor | tuple[Tensor, Tensor]
    gradient: Tensor

    @property
    def leaves(self) -> list[Tensor]:
        """All that receives a gradient in training: parameters, input, initial state."""
        return [*self.module.parameters(), *flatten(self.input), *flatten(self.state)]


def class_name(point: Point) -> str:
    return CLASSES[point.cell] + ("Cell" if point.family == "cell" else "")


def make_problem(
    point: Point, device: str = "cpu", seed: int = 0, dtype: torch.dtype = torch.float32
) -> Problem:
    """The same numbers on every device."""
    batch, steps, hidden = point.shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = getattr(nn, class_name(point))(hidden, hidden).to(device, dtype)
        lead: tuple[int, ...] = () if point.family == "cell" else (1,)
        h_0 = torch.randn(*lead, batch, hidden).to(device, dtype).requires_grad_(point.training)
        c_0 = torch.randn(*lead, batch, hidden).to(device, dtype).requires_grad_(point.training)
        rows = torch.randn(*((batch,) if point.family == "cell" else (steps, batch)), hidden)
        rows = rows.to(device, dtype)
        input: Tensor | PackedSequence = rows.requires_grad_(point.training)
        if point.family == "packed":
            packed = pack_padded_sequence(rows, torch.tensor(point.lengths))
            data = packed.data.detach().requires_grad_(point.training)
            input = PackedSequence(data, packed.batch_sizes)
        gradient = torch.randn_like(flatten(input)[0])
    state = (h_0, c_0) if point.cell == "lstm" else h_0
    return Problem(point, module, input, state, gradient)


def flatten(result: Any) -> list[Tensor]:
    """The tensors of a module's nested result, in order; of a PackedSequence its data."""
    if isinstance(result, PackedSequence):
        return [result.data]
    if isinstance(result, (tuple, list)):
        return [tensor for item in result for tensor in flatten(item)]
    return [torch.as_tensor(result)]


def difference(results: list[Tensor], expected: list[Tensor]) -> float:
    """The largest deviation, each tensor's relative to the largest value expected in it.

    Infinite where a shape differs or a value is not finite.
    """
    if [r.shape for r in results] != [e.shape for e in expected]:
        return math.inf
    worst = 0.0
    for result, reference in zip(results, expected, strict=True):
        deviation = ((result - reference).abs().max() / reference.abs().max()).item()
        worst = max(worst, math.inf if math.isnan(deviation) else deviation)
    return worst
