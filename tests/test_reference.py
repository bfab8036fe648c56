"""The op equals the reference in float64: outputs and every gradient, dense and ragged."""

from typing import Any

import pytest
import torch
from torch import Tensor

from cases import CASES, CELLS, Case, over
from compare import Results, assert_same, gradients, leaf
from fused_rnn import functional, reference

both_directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])


def run(recurrence: Any, arguments: dict[str, Any], **options: Any) -> Results:
    """The outputs of a recurrence and the gradients of all its floating arguments."""
    leaves = {
        name: leaf(value)
        for name, value in arguments.items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }
    results = recurrence(**{**arguments, **leaves}, **options)
    outputs = dict(zip(("output", "h_n", "c_n"), results, strict=True))
    if arguments["cell"] != "lstm":
        assert outputs.pop("c_n") is None
    return {**{n: o.detach() for n, o in outputs.items()}, **gradients(outputs, leaves)}


@both_directions
@over(CASES)
def test_recurrence_in_float64(case: Case, reverse: bool) -> None:
    arguments = case.recurrence()
    ours = run(functional.recurrence, arguments, reverse=reverse)
    assert_same(ours, run(reference.recurrence, arguments, reverse=reverse))


@both_directions
@over(CASES)
def test_inference_equals_training(case: Case, reverse: bool) -> None:
    """Without a tape the same numbers, to the bit."""
    arguments = case.recurrence()
    tracked = {n: leaf(v) if n == "xg" else v for n, v in arguments.items()}
    with torch.no_grad():
        inference = functional.recurrence(**arguments, reverse=reverse)
    training = functional.recurrence(**tracked, reverse=reverse)
    assert training[0].requires_grad and not inference[0].requires_grad
    for ours, expected in zip(inference, training, strict=True):
        assert (ours is None and expected is None) or torch.equal(ours, expected)


@over(CASES)
def test_layer_is_recurrence_over_projection(case: Case) -> None:
    arguments = case.recurrence()
    xg = arguments.pop("xg")
    x = torch.randn(*xg.shape[:-1], case.input_size, dtype=torch.float64)
    weight_ih = torch.randn(xg.shape[-1], case.input_size, dtype=torch.float64)
    bias_ih = torch.randn(xg.shape[-1], dtype=torch.float64)
    ours = functional.layer(input=x, weight_ih=weight_ih, bias_ih=bias_ih, **arguments)
    expected = reference.recurrence(xg=x @ weight_ih.T + bias_ih, **arguments)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_any_strides(cell: str) -> None:
    """Every argument transposed, expanded or cut out of a larger tensor."""
    arguments = Case(cell).recurrence()
    strided = {
        "xg": arguments["xg"].transpose(0, 1).contiguous().transpose(0, 1),
        "h_0": arguments["h_0"][:1].expand(5, -1),
        "weight_hh": arguments["weight_hh"].T.contiguous().T,
        "bias_hh": torch.stack([arguments["bias_hh"]] * 2, -1)[:, 1],
    }
    if cell == "lstm":
        strided["c_0"] = arguments["c_0"].repeat_interleave(3, 1)[:, ::3]
    assert not any(value.is_contiguous() for value in strided.values())
    arguments.update(strided)
    ours = run(functional.recurrence, arguments)
    assert_same(ours, run(reference.recurrence, arguments))


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_of_some_arguments(cell: str) -> None:
    """Each argument alone asks for a gradient, and each output alone gives one."""
    arguments = Case(cell).recurrence()
    names = [name for name, value in arguments.items() if isinstance(value, Tensor)]
    for index in range(3 if cell == "lstm" else 2):
        for name in names:
            found = []
            for recurrence in (functional.recurrence, reference.recurrence):
                wanted = leaf(arguments[name])
                output = recurrence(**{**arguments, name: wanted})[index]
                found.append(torch.autograd.grad(output.square().sum(), wanted))
            torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_extreme_gates(cell: str) -> None:
    """Saturated gates give finite values and no NaN gradient, as the reference's."""
    arguments = Case(cell, steps=2, num_layers=1).recurrence()
    arguments["xg"] = arguments["xg"] * (1 if cell == "rnn_relu" else 1e3)
    ours = run(functional.recurrence, arguments)
    assert all(value.isfinite().all() for value in ours.values())
    assert_same(ours, run(reference.recurrence, arguments))
