"""The CUDA kernels of one step on dual numbers equal derivatives of the reference, in float64.

No op calls them yet; they are for forward mode and for the derivative of backward.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from backends import STEPS, Backend, emulated_module, over_backends
from cases import Case, each_cell, random
from fused_rnn import reference

Numbers = dict[str, Tensor]


def run(function: Any, cell: str, inputs: list[tuple[Tensor, Tensor] | None]) -> list[Any]:
    """A kernel's outputs as (value, tangent), None for what the cell does not have."""
    halves = [[pair and pair[half] for pair in inputs] for half in range(2)]
    found = function(cell, halves[0] + halves[1])
    count = len(found) // 2
    return [
        None if value is None else (value, found[count + i])
        for i, value in enumerate(found[:count])
    ]


def numbers(cell: str, hidden_size: int) -> tuple[Numbers, Numbers, Tensor]:
    """The inputs of one step and their tangents, and weight_hh."""
    arguments = Case(cell, hidden_size=hidden_size, steps=1).recurrence()
    weight_hh = arguments["weight_hh"]
    values = {name: arguments[name] for name in ("xg", "h_0", "bias_hh")}
    if cell == "lstm":
        values["c_0"] = arguments["c_0"]
    tangents = {
        name: random(*value.shape, dtype=value.dtype, seed=20 + i)
        for i, (name, value) in enumerate(values.items())
    }
    return values, tangents, weight_hh


def step(cell: str, weight_hh: Tensor, values: Numbers) -> tuple[Tensor, ...]:
    """h and c after one step by the reference."""
    _, h_n, c_n = reference.recurrence(cell, weight_hh=weight_hh, **values)
    return (h_n,) if c_n is None else (h_n, c_n)


def pair(name: str, values: Numbers, tangents: Numbers) -> tuple[Tensor, Tensor] | None:
    return (values[name].squeeze(0), tangents[name].squeeze(0)) if name in values else None


def forward(cell: str, values: Numbers, tangents: Numbers, weight_hh: Tensor) -> list[Any]:
    r = (values["h_0"] @ weight_hh.T, tangents["h_0"] @ weight_hh.T)
    xg, bias, h, c = (pair(n, values, tangents) for n in ("xg", "bias_hh", "h_0", "c_0"))
    return run(emulated_module().step_forward_dual, cell, [xg, r, bias, h, c])


def assert_duals(found: list[Any], expected: list[Any]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


over_sizes = pytest.mark.parametrize("hidden_size", [1, 7, 16])
on_steps = over_backends(STEPS)


@on_steps
@over_sizes
@each_cell
def test_forward(cell: str, hidden_size: int, backend: Backend) -> None:
    values, tangents, weight_hh = numbers(cell, hidden_size)
    made = forward(cell, values, tangents, weight_hh)
    expected = torch.func.jvp(lambda v: step(cell, weight_hh, v), (values,), (tangents,))
    assert_duals([m for m in made[:2] if m], list(zip(*expected, strict=True)))


@on_steps
@over_sizes
@each_cell
def test_backward(cell: str, hidden_size: int, backend: Backend) -> None:
    values, tangents, weight_hh = numbers(cell, hidden_size)
    h, c, tape = forward(cell, values, tangents, weight_hh)
    shape = values["h_0"].shape
    d_h, d_c = (
        tuple(random(*shape, dtype=torch.float64, seed=seed + i) for i in range(2))
        for seed in (30, 40)
    )

    def gradients(values: Numbers, grads: tuple[Tensor, ...]) -> Numbers:
        found: Numbers = torch.func.vjp(lambda v: step(cell, weight_hh, v), values)[1](grads)[0]
        return found

    grads = (d_h, d_c) if cell == "lstm" else (d_h,)
    expected, expected_tangents = torch.func.jvp(
        gradients,
        (values, tuple(g[0] for g in grads)),
        (tangents, tuple(g[1] for g in grads)),
    )
    zeros = (torch.zeros(shape), torch.zeros(shape))
    direct = tuple(z.double() for z in zeros) if cell == "gru" else None
    inputs = [d_h, d_c if c else None, direct, tape, h, c]
    inputs += [pair("h_0", values, tangents), pair("c_0", values, tangents)]
    d_xg, dr, direct, d_c_0 = run(emulated_module().step_backward_dual, cell, inputs)
    d_h_0 = [
        sum((part for part in (half[0], half[1]) if part is not None), torch.zeros(shape).double())
        for half in zip([g @ weight_hh for g in (dr or d_xg)], direct or (None, None), strict=True)
    ]
    for name, ours in (("xg", d_xg), ("h_0", d_h_0), ("c_0", d_c_0)):
        if name in values:
            theirs = pair(name, expected, expected_tangents)
            assert_duals(list(ours), list(theirs or ()))
