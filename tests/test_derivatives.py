"""Forward mode and the higher derivatives of the ops equal the reference's, which ATen derives."""

import itertools
from typing import Any

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor

import fused_rnn
from backends import CUDA, STEPS, Backend, over_backends
from cases import CASES, CELLS, REGIME_CASES, Case, each_cell, over, random
from compare import Results, assert_same, floating, leaf, tensors_in
from fused_rnn import functional
from test_gradcheck import SMALL_CASES, as_function
from test_reference import REFERENCES, both_directions, each_op


def squares(results: Any) -> Tensor:
    """A number in which nothing is linear."""
    return sum((t.square().sum() for _, t in tensors_in(results)), start=torch.zeros(()))


def assert_same_to_scale(ours: Results, theirs: Results) -> None:
    """Equality to the largest entry of each: these are sums of terms of either sign."""
    scales = {name: t.abs().max().clamp(min=1) if t.numel() else 1 for name, t in theirs.items()}
    assert_same(*({n: t / scales[n] for n, t in results.items()} for results in (ours, theirs)))


def repeated(function: Any, arguments: dict[str, Any], order: int, **options: Any) -> Results:
    """The gradient of the squares of the gradient of the squares ... of the results."""
    leaves = {name: leaf(tensor) for name, tensor in floating(arguments).items()}
    found: Any = function(**{**arguments, **leaves}, **options)
    for _ in range(order):
        found = torch.autograd.grad(
            squares(found), list(leaves.values()), create_graph=True, materialize_grads=True
        )
    return {name: gradient.detach().cpu() for name, gradient in zip(leaves, found, strict=True)}


@both_directions
@each_op
@pytest.mark.parametrize(
    ("order", "case"),
    [*((2, case) for case in CASES), *((3, case) for case in SMALL_CASES)],
    ids=str,
)
def test_order(order: int, case: Case, op: str, reverse: bool) -> None:
    arguments = getattr(case, op)()
    ours = repeated(getattr(functional, op), arguments, order, reverse=reverse)
    assert_same_to_scale(ours, repeated(REFERENCES[op], arguments, order, reverse=reverse))


def tangents(function: Any, arguments: dict[str, Any], **options: Any) -> Results:
    """The results along random tangents of all arguments, and along one of each alone."""
    given = floating(arguments)
    along = {
        n: random(*t.shape, dtype=t.dtype, seed=20 + i).to(t.device)
        for i, (n, t) in enumerate(given.items())
    }
    found = {}
    for names in ([*given], *([name] for name in given)):
        with forward_ad.dual_level():
            duals = {name: forward_ad.make_dual(given[name], along[name]) for name in names}
            results = dict(tensors_in(function(**{**arguments, **duals}, **options)))
            for name, result in results.items():
                tangent = forward_ad.unpack_dual(result).tangent
                # None is zero: no steps, or no path from the argument.
                found[f"{name} along {names}"] = (
                    torch.zeros_like(result) if tangent is None else tangent
                )
    return {name: tangent.detach().cpu() for name, tangent in found.items()}


@both_directions
@each_op
@over(CASES)
def test_forward_mode(case: Case, op: str, reverse: bool) -> None:
    arguments = getattr(case, op)()
    ours = tangents(getattr(functional, op), arguments, reverse=reverse)
    assert_same(ours, tangents(REFERENCES[op], arguments, reverse=reverse))


@over_backends(STEPS, CUDA)
@both_directions
@over(SMALL_CASES)
def test_second_order_and_forward_mode_on_cuda(case: Case, reverse: bool, backend: Backend) -> None:
    arguments = case.recurrence()
    placed, function = backend.place(arguments), functional.recurrence
    reference = REFERENCES["recurrence"]
    ours = repeated(function, placed, 2, reverse=reverse)
    assert_same_to_scale(ours, repeated(reference, arguments, 2, reverse=reverse))
    ours = tangents(function, placed, reverse=reverse)
    assert_same(ours, tangents(reference, arguments, reverse=reverse))


@both_directions
@each_op
@over(SMALL_CASES)
def test_orders_in_turn(case: Case, op: str, reverse: bool) -> None:
    """Reverse over reverse, forward over reverse, and both under a batch of directions."""
    function, tensors = as_function(op, getattr(case, op)(), reverse)
    check = torch.autograd.gradgradcheck
    assert check(function, tensors, fast_mode=True, check_batched_grad=True)
    assert check(
        function,
        tensors,
        fast_mode=True,
        check_fwd_over_rev=True,
        check_rev_over_rev=False,
        check_undefined_grad=False,
    )
    assert torch.autograd.gradcheck(
        function, tensors, fast_mode=True, check_forward_ad=True, check_batched_forward_grad=True
    )


@pytest.mark.slow
@over(REGIME_CASES)
def test_second_order_of_every_plan(case: Case) -> None:
    arguments = case.layer()
    ours = repeated(functional.layer, arguments, 2)
    assert_same_to_scale(ours, repeated(REFERENCES["layer"], arguments, 2))


@each_op
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_second_order_in_half(op: str, dtype: torch.dtype) -> None:
    """Computed in float32 and stored in half: the dtypes, and the values to half's precision."""
    arguments = getattr(Case("lstm", steps=3), op)(dtype)
    ours = repeated(getattr(functional, op), arguments, 2)
    wide = {n: t.float() if n in floating(arguments) else t for n, t in arguments.items()}
    for name, expected in repeated(REFERENCES[op], wide, 2).items():
        assert ours[name].dtype == dtype
        torch.testing.assert_close(
            ours[name].float(), expected, rtol=0.1, atol=0.1 * expected.abs().max()
        )


@pytest.mark.parametrize("order", [1, 2, 3])
@each_op
@over([*(Case(cell, steps=1) for cell in CELLS), Case("lstm", steps=1, batch=0, proj_size=3)])
def test_one_step_without_a_dimension_for_it(case: Case, op: str, order: int) -> None:
    """Input [batch, features] is one step: the results and all derivatives are the same."""
    arguments, function = getattr(case, op)(), getattr(functional, op)
    rows = "xg" if op == "recurrence" else "input"
    step = {**arguments, rows: arguments[rows][0]}
    assert torch.equal(function(**step)[0], function(**arguments)[0][0])
    torch.testing.assert_close(function(**step), REFERENCES[op](**step))
    expected = repeated(function, arguments, order)
    assert_same(repeated(function, step, order), {**expected, rows: expected[rows][0]})
    along = tangents(function, arguments)
    for name, found in tangents(function, step).items():
        torch.testing.assert_close(found, along[name].view_as(found))


@pytest.mark.parametrize("steps", [0, 1, 2])
@each_op
@each_cell
def test_results_with_tangents_share_no_memory(cell: str, op: str, steps: int) -> None:
    arguments = getattr(Case(cell, steps=steps), op)()
    with forward_ad.dual_level():
        ones = torch.ones_like(arguments["h_0"])
        arguments["h_0"] = forward_ad.make_dual(arguments["h_0"], ones)
        results = [t for _, t in tensors_in(getattr(functional, op)(**arguments)) if t.numel()]
        tangents = [forward_ad.unpack_dual(t).tangent for t in results]
        tensors = [*results, *(t for t in tangents if t is not None), *floating(arguments).values()]
        assert len({t.untyped_storage().data_ptr() for t in tensors}) == len(tensors)


@pytest.mark.parametrize("on", list(itertools.product([False, True], repeat=3)), ids=str)
@each_cell
def test_autocast_around_any_pass(cell: str, on: tuple[bool, bool, bool]) -> None:
    """Forward, its gradient, and the gradient of that; a gradient has its tensor's dtype."""
    case = Case(cell)
    module, x = case.module(fused_rnn, torch.float32), leaf(case.input(torch.float32))
    with torch.autocast("cpu", torch.bfloat16, enabled=on[0]):
        y = module(x)[0]
    with torch.autocast("cpu", torch.bfloat16, enabled=on[1]):
        (g,) = torch.autograd.grad(y.float().square().sum(), x, create_graph=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=on[2]):
        (found,) = torch.autograd.grad(g.square().sum(), x)
    assert found.dtype == torch.float32
    if not on[0]:  # then nothing is rounded to bfloat16
        wide = leaf(x.double())
        y = case.module(fused_rnn)(wide)[0]
        (g,) = torch.autograd.grad(y.square().sum(), wide, create_graph=True)
        (expected,) = torch.autograd.grad(g.square().sum(), wide)
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


@each_cell
def test_nested_grad_runs_the_kernel(cell: str) -> None:
    """torch.func differentiates with a graph for more; only where more is asked, it is unrolled."""
    layer = Case(cell, hidden_size=3).module(fused_rnn)

    def energy(x: Tensor) -> Tensor:
        output: Tensor = layer(x)[0]
        return output.square().sum()

    def slope(x: Tensor) -> Tensor:
        return torch.func.grad(energy)(x).square().sum()

    x = random(4, 2, 5, dtype=torch.float64, seed=3)
    for function, kernels in ((slope, True), (lambda x: torch.func.grad(slope)(x).sum(), False)):
        with torch.profiler.profile() as profile:
            torch.func.grad(function)(x)
        ops = {event.key for event in profile.key_averages()}
        assert "fused_rnn::recurrence_double_backward" in ops
        assert ("aten::narrow" not in ops) == kernels


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("frozen", [False, True])
@each_cell
def test_third_order_however_it_is_asked_for(cell: str, frozen: bool, mode: Any) -> None:
    """In a mode that records nothing, and with weights frozen since forward, as GANs are."""
    layer = Case(cell, hidden_size=3).module(fused_rnn)
    x = leaf(random(4, 2, 5, dtype=torch.float64, seed=3))
    (slope,) = torch.autograd.grad(layer(x)[0].pow(3).sum(), x, create_graph=True)
    (curve,) = torch.autograd.grad(slope.square().sum(), x, create_graph=True)
    value = curve.square().sum()
    (expected,) = torch.autograd.grad(value, x, retain_graph=True)
    layer.requires_grad_(not frozen)
    (found,) = torch.autograd.grad(value, x, create_graph=True)
    torch.testing.assert_close(found.detach(), expected)
    with mode():
        (found,) = torch.autograd.grad(value, x)
    torch.testing.assert_close(found, expected)
    assert found.abs().max() > 0 or cell == "rnn_relu"
