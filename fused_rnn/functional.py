"""Recurrent layers as functions: the recurrence, one layer in one direction, a stack of layers.

A layer is a linear projection of its input for all steps at once, followed by the recurrence over
time. Dense data are [steps, batch, features]; ragged data are the rows of a `PackedSequence`,
[rows, features], with its `batch_sizes`. Gates lie in torch.nn's order.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from . import ops


class Weights(NamedTuple):
    """The weights of one layer in one direction, named as torch.nn names them."""

    weight_ih: Tensor  # [gates * hidden, features]
    weight_hh: Tensor  # [gates * hidden, hidden or proj]
    bias_ih: Tensor | None = None  # [gates * hidden]
    bias_hh: Tensor | None = None  # [gates * hidden]
    weight_hr: Tensor | None = None  # [proj, hidden], LSTM only


def recurrence(
    cell: str,
    xg: Tensor,
    h_0: Tensor,
    c_0: Tensor | None = None,
    *,
    weight_hh: Tensor,
    bias_hh: Tensor | None = None,
    weight_hr: Tensor | None = None,
    batch_sizes: Tensor | None = None,
    reverse: bool = False,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Run a recurrent cell over time, on an input that is already projected to the gates.

    All tensors but `batch_sizes` share one dtype (float64, float32, bfloat16 or float16) and one
    device. No steps and an empty batch are legal: the output is empty and `h_n` is `h_0`.

    Args:
        cell: "rnn_tanh", "rnn_relu", "lstm" or "gru".
        xg: `x @ weight_ih.T + bias_ih`, [steps, batch, gates * hidden], or one step's
            [batch, gates * hidden]; with `batch_sizes` [rows, gates * hidden].
        h_0: Initial state, [batch, hidden]; with `weight_hr` [batch, proj].
        c_0: Initial cell state of an LSTM, [batch, hidden].
        weight_hh: [gates * hidden, hidden]; with `weight_hr` [gates * hidden, proj].
        bias_hh: [gates * hidden].
        weight_hr: Projection of an LSTM's state, [proj, hidden].
        batch_sizes: Number of sequences that have each step, int64 on the CPU, not increasing.
        reverse: Let time run from the last step to the first. `output[t]` is still the state after
            step `t` was seen.

    Returns:
        `(output, h_n, c_n)`: the states at every step, shaped as `xg` with hidden (or proj)
        features; the state after the last step, shaped as `h_0`; an LSTM's cell state, else None.

    Raises:
        TypeError: An argument that must be a tensor is not one.
        ValueError: The cell is unknown.
        RuntimeError: Shapes, dtypes or devices do not fit; the message names the argument.
    """
    _check_tensors(xg=xg, h_0=h_0, weight_hh=weight_hh)
    _check_optional_tensors(c_0=c_0, bias_hh=bias_hh, weight_hr=weight_hr, batch_sizes=batch_sizes)
    return ops.recurrence(xg, h_0, c_0, weight_hh, bias_hh, weight_hr, batch_sizes, cell, reverse)


def layer(
    cell: str,
    input: Tensor,
    h_0: Tensor,
    c_0: Tensor | None = None,
    *,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    weight_hr: Tensor | None = None,
    batch_sizes: Tensor | None = None,
    reverse: bool = False,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Run one recurrent layer in one direction: `recurrence` over the projected input.

    Args:
        cell: "rnn_tanh", "rnn_relu", "lstm" or "gru".
        input: [steps, batch, features], or one step's [batch, features]; with `batch_sizes` [rows,
            features].
        h_0: As in `recurrence`.
        c_0: As in `recurrence`.
        weight_ih: [gates * hidden, features].
        weight_hh: As in `recurrence`.
        bias_ih: [gates * hidden].
        bias_hh: As in `recurrence`.
        weight_hr: As in `recurrence`.
        batch_sizes: As in `recurrence`.
        reverse: As in `recurrence`.

    Returns:
        `(output, h_n, c_n)`, as `recurrence`.

    Raises:
        TypeError, ValueError, RuntimeError: As `recurrence`.
    """
    _check_tensors(input=input, weight_ih=weight_ih, h_0=h_0, weight_hh=weight_hh)
    _check_optional_tensors(
        bias_ih=bias_ih, c_0=c_0, bias_hh=bias_hh, weight_hr=weight_hr, batch_sizes=batch_sizes
    )
    return ops.layer(
        input,
        weight_ih,
        bias_ih,
        h_0,
        c_0,
        weight_hh,
        bias_hh,
        weight_hr,
        batch_sizes,
        cell,
        reverse,
    )


def stack(
    cell: str,
    input: Tensor,
    hx: tuple[Tensor, Tensor | None] | None,
    weights: Sequence[Weights],
    *,
    bidirectional: bool = False,
    dropout: float = 0.0,
    batch_sizes: Tensor | None = None,
    op: ops.Layer = ops.layer,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Run a stack of recurrent layers, each on the output of the one below it.

    Args:
        cell: "rnn_tanh", "rnn_relu", "lstm" or "gru".
        input: [steps, batch, features], or one step's [batch, features]; with `batch_sizes`
            [rows, features].
        hx: Initial states `(h_0, c_0)`, [layers * directions, batch, hidden] each (h_0 of an LSTM
            with projection [..., proj]), c_0 None but for an LSTM; or None for zeros.
        weights: One a layer and direction: layer 0 forward, layer 0 reverse, layer 1 forward, ...
        bidirectional: Give each layer a second direction; outputs are concatenated by features.
        dropout: Probability to zero a feature between two layers. Drawn where torch.nn draws it,
            so that on the CPU the same seed gives the same mask; 0 draws nothing.
        batch_sizes: As in `recurrence`.
        op: What runs one layer in one direction, for those who watch it (`diagnostics`).

    Returns:
        `(output, h_n, c_n)`: the last layer's output, [..., directions * (hidden or proj)], and the
        final states, stacked as the initial ones; c_n is None but for an LSTM.

    Raises:
        ValueError, RuntimeError: As `recurrence`.
    """
    directions = 2 if bidirectional else 1
    count = len(weights)
    h_0, c_0 = _initial_states(cell, input, hx, weights, batch_sizes)
    h_n: list[Tensor] = []
    c_n: list[Tensor] = []
    for first in range(0, count, directions):
        outputs = []
        for index in range(first, first + directions):
            w_ih, w_hh, b_ih, b_hh, w_hr = weights[index]
            h, c, reverse = h_0[index], c_0[index], index > first
            output, h, c = op(input, w_ih, b_ih, h, c, w_hh, b_hh, w_hr, batch_sizes, cell, reverse)
            outputs.append(output)
            h_n.append(h)
            if c is not None:
                c_n.append(c)
        input = outputs[0] if directions == 1 else torch.cat(outputs, -1)
        if dropout > 0 and first + directions < count:
            input = torch.dropout(input, dropout, True)
    return input, _stacked(h_n), _stacked(c_n) if c_n else None


def _initial_states(
    cell: str,
    input: Tensor,
    hx: tuple[Tensor, Tensor | None] | None,
    weights: Sequence[Weights],
    batch_sizes: Tensor | None,
) -> tuple[Sequence[Tensor], Sequence[Tensor | None]]:
    """The states `(h_0, c_0)` of each layer and direction; zeros are one tensor for all."""
    count = len(weights)
    if hx is not None:
        h_0, c_0 = hx
        return _unstacked(h_0, count), (None,) * count if c_0 is None else _unstacked(c_0, count)
    batch = input.size(-2) if batch_sizes is None else _first(batch_sizes, input.size(0))
    features = weights[0].weight_hh.size(1)
    zeros = input.new_zeros(batch, features)
    if not ops.CELLS[cell]["has_c"]:
        return (zeros,) * count, (None,) * count
    weight_hr = weights[0].weight_hr
    c_zeros = zeros if weight_hr is None else input.new_zeros(batch, weight_hr.size(1))
    return (zeros,) * count, (c_zeros,) * count


def _first(batch_sizes: Tensor, rows: int) -> int:
    """The batch of ragged data; checked here, where memory is taken for it."""
    if batch_sizes.numel() == 0:
        raise RuntimeError("batch_sizes: expected at least one step, but got none")
    batch = int(batch_sizes[0])
    if torch.compiler.is_compiling():  # the bounds of a number that tracing does not know
        torch._check(batch >= 0)
        torch._check(batch <= rows)
    elif not 0 <= batch <= rows:
        raise RuntimeError(
            f"batch_sizes: expected batch_sizes[0] from 0 to {rows}, but got {batch}"
        )
    return batch


def _unstacked(states: Tensor, count: int) -> Sequence[Tensor]:
    """Views of the states of each layer and direction."""
    return (states.squeeze(0),) if count == 1 else states.unbind(0)


def _stacked(states: list[Tensor]) -> Tensor:
    """The inverse of `_unstacked`; no copy where there is one state."""
    return states[0].unsqueeze(0) if len(states) == 1 else torch.stack(states)


def _check_tensors(**arguments: object) -> None:
    for name, value in arguments.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{name}: expected a Tensor, but got {type(value).__name__}")


def _check_optional_tensors(**arguments: object) -> None:
    for name, value in arguments.items():
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(f"{name}: expected a Tensor or None, but got {type(value).__name__}")
