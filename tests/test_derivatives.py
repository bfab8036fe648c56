"""Forward mode and the higher derivatives of the ops equal the reference's, which ATen derives."""

from typing import Any

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor

from cases import CASES, REGIME_CASES, Case, over, random
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
    return {name: gradient.detach() for name, gradient in zip(leaves, found, strict=True)}


@both_directions
@each_op
@over(CASES)
def test_second_order(case: Case, op: str, reverse: bool) -> None:
    arguments = getattr(case, op)()
    ours = repeated(getattr(functional, op), arguments, 2, reverse=reverse)
    assert_same_to_scale(ours, repeated(REFERENCES[op], arguments, 2, reverse=reverse))


@both_directions
@each_op
@over(SMALL_CASES)
def test_third_order(case: Case, op: str, reverse: bool) -> None:
    arguments = getattr(case, op)()
    ours = repeated(getattr(functional, op), arguments, 3, reverse=reverse)
    assert_same_to_scale(ours, repeated(REFERENCES[op], arguments, 3, reverse=reverse))


def tangents(function: Any, arguments: dict[str, Any], **options: Any) -> Results:
    """The results along random tangents of all arguments, and along one of each alone."""
    given = floating(arguments)
    along = {
        n: random(*t.shape, dtype=t.dtype, seed=20 + i) for i, (n, t) in enumerate(given.items())
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
    return {name: tangent.detach() for name, tangent in found.items()}


@both_directions
@each_op
@over(CASES)
def test_forward_mode(case: Case, op: str, reverse: bool) -> None:
    arguments = getattr(case, op)()
    ours = tangents(getattr(functional, op), arguments, reverse=reverse)
    assert_same(ours, tangents(REFERENCES[op], arguments, reverse=reverse))


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
