"""The ops equal the reference in float64: outputs and every gradient, dense and ragged."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from backends import CPU, CUDA, STEPS, Backend, each_backend, over_backends
from cases import BLOCK_CASES, CASES, CELLS, REGIME_CASES, Case, over
from compare import Results, assert_same, floating, gradients, leaf
from fused_rnn import functional, reference

both_directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])


each_op = pytest.mark.parametrize("op", ["recurrence", "layer"])


def reference_layer(
    cell: str, input: Tensor, weight_ih: Tensor, bias_ih: Tensor | None = None, **arguments: Any
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The reference of `functional.layer`: its recurrence over PyTorch's linear layer."""
    return reference.recurrence(cell, linear(input, weight_ih, bias_ih), **arguments)


REFERENCES = {"recurrence": reference.recurrence, "layer": reference_layer}


def run(function: Any, arguments: dict[str, Any], **options: Any) -> Results:
    """The outputs of an op or its reference and the gradients of all its floating arguments, on the
    CPU."""
    leaves = {name: leaf(tensor) for name, tensor in floating(arguments).items()}
    results = function(**{**arguments, **leaves}, **options)
    outputs = dict(zip(("output", "h_n", "c_n"), results, strict=True))
    if arguments["cell"] != "lstm":
        assert outputs.pop("c_n") is None
    results = {**{n: o.detach() for n, o in outputs.items()}, **gradients(outputs, leaves)}
    return {name: result.cpu() for name, result in results.items()}


@each_backend
@both_directions
@each_op
@over(CASES)
def test_float64(case: Case, op: str, reverse: bool, backend: Backend) -> None:
    arguments = getattr(case, op)()
    ours = run(getattr(functional, op), backend.place(arguments), reverse=reverse)
    assert_same(ours, run(REFERENCES[op], arguments, reverse=reverse))


@over_backends(CPU, STEPS, CUDA)
@both_directions
@each_op
@over(BLOCK_CASES)
def test_float64_in_blocks(case: Case, op: str, reverse: bool, backend: Backend) -> None:
    test_float64(case, op, reverse, backend)


@each_backend
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@both_directions
@each_op
@over(CASES)
def test_inference_equals_training(
    case: Case, op: str, reverse: bool, dtype: torch.dtype, backend: Backend
) -> None:
    """Without a tape the same numbers, to the bit."""
    check_inference(case, op, reverse, dtype, backend)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@both_directions
@each_op
@over(BLOCK_CASES + REGIME_CASES)
def test_inference_equals_training_in_blocks(
    case: Case, op: str, reverse: bool, dtype: torch.dtype
) -> None:
    check_inference(case, op, reverse, dtype, CPU)


def check_inference(
    case: Case, op: str, reverse: bool, dtype: torch.dtype, backend: Backend
) -> None:
    arguments, function = backend.place(getattr(case, op)(dtype)), getattr(functional, op)
    tracked = {**arguments, "h_0": leaf(arguments["h_0"])}
    with torch.no_grad():
        inference = function(**arguments, reverse=reverse)
    training = function(**tracked, reverse=reverse)
    assert (training[0].requires_grad or not case.steps) and not inference[0].requires_grad
    for ours, expected in zip(inference, training, strict=True):
        assert (ours is None and expected is None) or torch.equal(ours, expected)


@each_backend
@pytest.mark.parametrize("cell", CELLS)
def test_any_strides(cell: str, backend: Backend) -> None:
    """Every argument transposed, expanded or cut out of a larger tensor."""
    for op in REFERENCES:
        arguments = backend.place(getattr(Case(cell, batch=6), op)())
        rows = "xg" if op == "recurrence" else "input"
        strided = {
            rows: arguments[rows].transpose(0, 1).contiguous().transpose(0, 1),
            "h_0": arguments["h_0"][:1].expand(6, -1),
            "weight_hh": arguments["weight_hh"].T.contiguous().T,
            "bias_hh": torch.stack([arguments["bias_hh"]] * 2, -1)[:, 1],
        }
        if op == "layer":
            strided["weight_ih"] = arguments["weight_ih"].repeat_interleave(2, 0)[::2]
            strided["bias_ih"] = arguments["bias_ih"][:1].expand_as(arguments["bias_ih"])
        if cell == "lstm":
            strided["c_0"] = arguments["c_0"].repeat_interleave(3, 1)[:, ::3]
        assert not any(value.is_contiguous() for value in strided.values())
        arguments.update(strided)
        ours = run(getattr(functional, op), arguments)
        assert_same(ours, run(REFERENCES[op], arguments))


@each_backend
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_unaligned(cell: str, dtype: torch.dtype, backend: Backend) -> None:
    """Every argument contiguous, but one number past the address that a vector load needs."""
    arguments = backend.place(Case(cell, hidden_size=16, batch=4).recurrence(dtype))
    shifted = dict(arguments)
    for name, value in arguments.items():
        if isinstance(value, Tensor):
            room = value.new_empty(value.numel() + 1)[1:].view(value.shape)
            shifted[name] = room.copy_(value)
            assert room.is_contiguous() and room.data_ptr() % 16
    ours, expected = (run(functional.recurrence, a) for a in (shifted, arguments))
    torch.testing.assert_close(ours, expected)  # ATen's product may depend on alignment


@each_backend
@each_op
@pytest.mark.parametrize("steps", [1, 9])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_of_some_arguments(cell: str, steps: int, op: str, backend: Backend) -> None:
    """Each argument alone asks for a gradient, and each output alone gives one."""
    arguments = backend.place(getattr(Case(cell, steps=steps, batch=6), op)())
    names = [name for name, value in arguments.items() if isinstance(value, Tensor)]
    for index in range(3 if cell == "lstm" else 2):
        for name in names:
            found = []
            for function in (getattr(functional, op), REFERENCES[op]):
                wanted = leaf(arguments[name])
                output = function(**{**arguments, name: wanted})[index]
                found.append(torch.autograd.grad(output.square().sum(), wanted))
            torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


@each_backend
@pytest.mark.parametrize("cell", CELLS)
def test_extreme_gates(cell: str, backend: Backend) -> None:
    """Saturated gates give finite values and no NaN gradient, as the reference's."""
    arguments = backend.place(Case(cell, steps=2, num_layers=1).recurrence())
    arguments["xg"] = arguments["xg"] * (1 if cell == "rnn_relu" else 1e3)
    ours = run(functional.recurrence, arguments)
    assert all(value.isfinite().all() for value in ours.values())
    assert_same(ours, run(reference.recurrence, arguments))
