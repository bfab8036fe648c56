"""What every capability is tried on, and what its numbers are compared with.

A layer is a function of its point: the input, then all weights. `Layer` computes it by the library
that is tried, `Plain` by fused_rnn/reference.py, a loop of ATen's ops, and its derivatives by
reverse mode alone, again and again for higher orders.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.nn.utils.rnn import PackedSequence

from fused_rnn import reference

CELLS = {"RNN": "rnn_tanh", "LSTM": "lstm", "GRU": "gru"}
FEATURES, HIDDEN, LAYERS, DIRECTIONS = 2, 3, 2, 2
BATCH_SIZES = torch.tensor([2, 2, 1])  # of packed input: sequences of 3 and 2 steps

Point = tuple[Tensor, ...]  # input, weights in torch.nn's order


def random(*shape: int) -> Tensor:
    """The same values for every dtype: those that float32 has."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def flat(results: Any) -> Point:
    """What a layer returns, as `(output, h_n[, c_n])`; packed output as its rows."""
    output, state = results
    rows = output.data if isinstance(output, PackedSequence) else output
    return (rows, state) if isinstance(state, Tensor) else (rows, *state)


def scalar(outputs: Point) -> Tensor:
    """Of every output, with derivatives of every order."""
    return torch.stack([output.sin().sum() for output in outputs]).sum()


def leaves(point: Point) -> Point:
    return tuple(tensor.detach().requires_grad_() for tensor in point)


def gradient(function: Callable[..., Tensor], point: Point) -> Point:
    """The gradient of a number, itself differentiable."""
    return torch.autograd.grad(
        function(*point), point, create_graph=True, allow_unused=True, materialize_grads=True
    )


class Model:
    """What is common to both: the point, and a number made of the outputs."""

    def __init__(self, cell: str, dtype: torch.dtype, packed: bool) -> None:
        torch.manual_seed(1)
        self.cell, self.dtype, self.packed = cell, dtype, packed
        self.template: torch.nn.RNNBase = getattr(torch.nn, cell)(
            FEATURES, HIDDEN, LAYERS, bidirectional=DIRECTIONS == 2
        )
        self.weights: Point = tuple(p.detach().to(dtype) for p in self.template.parameters())

    def outputs(self, x: Tensor, *weights: Tensor) -> Point:
        raise NotImplementedError

    def loss(self, x: Tensor, *weights: Tensor) -> Tensor:
        return scalar(self.outputs(x, *weights))

    def input(self, steps: int = 3, batch: int = 2) -> Tensor:
        sizes = (int(BATCH_SIZES.sum()),) if self.packed else (steps, batch)
        return random(*sizes, FEATURES).to(self.dtype)

    @property
    def point(self) -> Point:
        return self.input(), *self.weights

    @property
    def direction(self) -> Point:
        """Where directional derivatives point."""
        return tuple((tensor + 1).cos() for tensor in self.point)


class Plain(Model):
    """The same numbers by other code, in float64."""

    def outputs(self, x: Tensor, *weights: Tensor) -> Point:
        batch_sizes = BATCH_SIZES if self.packed else None
        batch = int(BATCH_SIZES[0]) if self.packed else x.shape[1]
        zeros = x.new_zeros(batch, HIDDEN)
        h_n, c_n = [], []
        for layer in range(LAYERS):
            outputs = []
            for direction in range(DIRECTIONS):
                first = 4 * (DIRECTIONS * layer + direction)
                weight_ih, weight_hh, bias_ih, bias_hh = weights[first : first + 4]
                output, h, c = reference.recurrence(
                    CELLS[self.cell],
                    linear(x, weight_ih, bias_ih),
                    zeros,
                    zeros if self.cell == "LSTM" else None,
                    weight_hh=weight_hh,
                    bias_hh=bias_hh,
                    batch_sizes=batch_sizes,
                    reverse=direction == 1,
                )
                outputs.append(output)
                h_n.append(h)
                c_n += [] if c is None else [c]
            x = torch.cat(outputs, -1)
        states = (h_n, c_n) if c_n else (h_n,)
        return x, *(torch.stack(state) for state in states)

    def trained(self, x: Tensor) -> tuple[Point, Point]:
        """The outputs, and the gradients of `scalar` of them."""
        point = leaves((x.double(), *self.weights))
        return self.outputs(*point), gradient(self.loss, point)


class Layer(Model):
    """Two layers in both directions, of the library that is tried."""

    def __init__(self, library: Any, cell: str, dtype: torch.dtype, packed: bool) -> None:
        super().__init__(cell, dtype, packed)
        self.plain = Plain(cell, torch.float64, packed)
        self.module: torch.nn.Module = getattr(library, cell)(
            FEATURES, HIDDEN, LAYERS, bidirectional=DIRECTIONS == 2, dtype=dtype
        )
        self.module.load_state_dict(self.template.state_dict())

    def given(self, x: Tensor) -> Any:
        return PackedSequence(x, BATCH_SIZES) if self.packed else x

    def outputs(self, x: Tensor, *weights: Tensor) -> Point:
        named = dict(zip(dict(self.module.named_parameters()), weights, strict=True))
        return flat(torch.func.functional_call(self.module, named, (self.given(x),)))

    def trained(self, x: Tensor, call: Callable[..., Any] | None = None) -> tuple[Point, Point]:
        """As Plain's, of the module or of a callable that was made of it."""
        (x,) = leaves((x,))
        outputs = flat((self.module if call is None else call)(self.given(x)))
        return outputs, torch.autograd.grad(scalar(outputs), (x, *self.module.parameters()))

    def scaled(self, *factors: float) -> list[torch.nn.Module]:
        """Copies of the module with other weights."""
        copies = [deepcopy(self.module) for _ in factors]
        with torch.no_grad():
            for copy, factor in zip(copies, factors, strict=True):
                for parameter in copy.parameters():
                    parameter.mul_(factor)
        return copies
