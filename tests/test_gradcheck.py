"""Analytic gradients of the ops equal finite differences, every cell with every option."""

import itertools
from typing import Any

import torch
from torch import Tensor

from backends import CUDA, EMULATED, Backend, over_backends
from cases import CASES, CELLS, Case, over
from compare import floating, leaf
from fused_rnn import functional
from test_reference import both_directions, each_op


def as_function(op: str, arguments: dict[str, Any], reverse: bool) -> tuple[Any, Any]:
    """The op as a function of its floating arguments alone, and these as leaves."""
    leaves = {name: leaf(tensor) for name, tensor in floating(arguments).items()}

    def function(*tensors: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(leaves, tensors, strict=True))
        outputs = getattr(functional, op)(**{**arguments, **given}, reverse=reverse)
        return tuple(output for output in outputs if output is not None)

    return function, tuple(leaves.values())


def check(op: str, arguments: dict[str, Any], reverse: bool, **options: Any) -> None:
    """gradcheck over all floating arguments; it also tries undefined output gradients."""
    torch.autograd.gradcheck(*as_function(op, arguments, reverse), **options)


SMALL_CASES = [
    Case(
        cell,
        hidden_size=3,
        bias=bias,
        proj_size=proj_size,
        steps=3,
        batch=3,
        lengths=lengths,
    )
    for cell in CELLS
    for bias, proj_size, lengths in itertools.product((True, False), (0, 2), (None, (3, 2, 2)))
    if cell == "lstm" or proj_size == 0
]

SHAPES = [case for case in CASES if case.steps and case.batch]


@both_directions
@each_op
@over(SMALL_CASES)
def test_every_option(case: Case, op: str, reverse: bool) -> None:
    check(op, getattr(case, op)(), reverse)


@both_directions
@each_op
@over(SHAPES)
def test_every_shape(case: Case, op: str, reverse: bool) -> None:
    """One random direction in place of every entry of the Jacobian."""
    check(op, getattr(case, op)(), reverse, fast_mode=True)


@over_backends(*EMULATED, CUDA)
@both_directions
@over(SMALL_CASES)
def test_every_option_on_cuda(case: Case, reverse: bool, backend: Backend) -> None:
    check("recurrence", backend.place(case.recurrence()), reverse)


@over_backends(*EMULATED, CUDA)
@both_directions
@over(SHAPES)
def test_every_shape_on_cuda(case: Case, reverse: bool, backend: Backend) -> None:
    check("recurrence", backend.place(case.recurrence()), reverse, fast_mode=True)
