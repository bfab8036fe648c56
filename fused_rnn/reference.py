"""The recurrence in plain PyTorch: the specification, and what the tests compare the kernels with.

A cell maps one step's projected input `xg` [batch, gates * hidden], the state and the recurrent
weights to the new state. It knows no time: `recurrence` owns the loop, dense or ragged, forward or
reverse. Every operation is ATen's, so any device and any order of derivative work. A cell gives its
gates beside its state, for those who look inside (`diagnostics`).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

State = tuple[Tensor, ...]  # (h,) or (h, c)


class Moment(NamedTuple):
    """What a cell makes of one step."""

    state: State
    gates: tuple[Tensor, ...] = ()  # named by GATES, [batch, hidden] each


Step = Callable[[Tensor, State, Tensor, Tensor | None, Tensor | None], Moment]


def _rnn(activation: Callable[[Tensor], Tensor]) -> Step:
    """The Elman cell with the given activation."""

    def step(
        xg: Tensor,
        state: State,
        weight_hh: Tensor,
        bias_hh: Tensor | None,
        weight_hr: Tensor | None,
    ) -> Moment:
        (h,) = state
        return Moment((activation(xg + linear(h, weight_hh, bias_hh)),))

    return step


def lstm(
    xg: Tensor,
    state: State,
    weight_hh: Tensor,
    bias_hh: Tensor | None,
    weight_hr: Tensor | None,
) -> Moment:
    """Long short-term memory; with `weight_hr` the new `h` is projected to [batch, proj]."""
    h, c = state
    i, f, g, o = (xg + linear(h, weight_hh, bias_hh)).chunk(4, -1)
    i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
    c = f * c + i * g
    h = o * torch.tanh(c)
    return Moment((h if weight_hr is None else linear(h, weight_hr), c), (i, f, g, o))


def gru(
    xg: Tensor,
    state: State,
    weight_hh: Tensor,
    bias_hh: Tensor | None,
    weight_hr: Tensor | None,
) -> Moment:
    """Gated recurrent unit, the reset gate applied after the recurrent product (as torch.nn's)."""
    (h,) = state
    x_r, x_z, x_n = xg.chunk(3, -1)
    h_r, h_z, h_n = linear(h, weight_hh, bias_hh).chunk(3, -1)
    r = torch.sigmoid(x_r + h_r)
    z = torch.sigmoid(x_z + h_z)
    n = torch.tanh(x_n + r * h_n)
    return Moment(((1 - z) * n + z * h,), (r, z, n))


STEPS: dict[str, Step] = {
    "rnn_tanh": _rnn(torch.tanh),
    "rnn_relu": _rnn(torch.relu),
    "lstm": lstm,
    "gru": gru,
}

GATES: dict[str, tuple[str, ...]] = {
    "rnn_tanh": (),
    "rnn_relu": (),
    "lstm": ("input", "forget", "cell", "output"),
    "gru": ("reset", "update", "new"),
}


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
    moments: list[Moment] | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Run one layer in one direction; arguments and results of `functional.recurrence`.

    To `moments`, where given, every step is appended, in the order in which time runs.
    """
    one_step = batch_sizes is None and xg.dim() == 2
    if one_step:
        inputs = [xg]
    elif batch_sizes is None:
        inputs = list(xg.unbind(0))  # steps x [batch, gates * hidden]
    else:
        inputs = list(xg.split(batch_sizes.tolist()))  # steps x [batch_sizes[t], gates * hidden]
    step = STEPS[cell]
    state: State = (h_0,) if c_0 is None else (h_0, c_0)
    outputs = []
    for x in reversed(inputs) if reverse else inputs:
        rows = x.shape[0]  # the sequences that have this step are always the first rows
        moment = step(x, tuple(s[:rows] for s in state), weight_hh, bias_hh, weight_hr)
        state = tuple(torch.cat([n, s[rows:]]) for n, s in zip(moment.state, state, strict=True))
        outputs.append(moment.state[0])
        if moments is not None:
            moments.append(moment)
    if reverse:
        outputs.reverse()
    if one_step:
        output = outputs[0]
    elif not outputs:
        output = xg.new_empty(0, *(h_0.shape if batch_sizes is None else h_0.shape[1:]))
    elif batch_sizes is None:
        output = torch.stack(outputs)  # [steps, batch, hidden or proj]
    else:
        output = torch.cat(outputs)  # [rows, hidden or proj]
    return output, state[0], state[1] if c_0 is not None else None
