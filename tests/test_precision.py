"""Below float64 the ops are as accurate as PyTorch's own arithmetic at that dtype.

tests/test_isa.py has the CPU's instruction sets under the same check.
"""

import itertools

import pytest
import torch
from torch import Tensor

from backends import CUDA, EMULATED, ONE_A_BLOCK, STEPS, Backend, over_backends
from cases import CASES, CELLS, DTYPES, Case, over, random
from compare import assert_as_accurate, assert_same, smooth
from fused_rnn import functional
from test_reference import REFERENCES, both_directions, run


def check_lower_precision(
    case: Case, dtype: torch.dtype, op: str, backend: Backend, reverse: bool = False
) -> None:
    """The tolerance rule, with the reference at the dtype and in float64 as its measure."""
    arguments = getattr(case, op)(dtype)
    widened = {
        name: value.double() if isinstance(value, Tensor) and name != "batch_sizes" else value
        for name, value in arguments.items()
    }
    results = [
        run(getattr(functional, op), backend.place(arguments), reverse=reverse),
        run(REFERENCES[op], arguments, reverse=reverse),
        run(REFERENCES[op], widened, reverse=reverse),
    ]
    assert_as_accurate(*(smooth(case.cell, found) for found in results))


@over_backends(*EMULATED, CUDA)
@both_directions
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@over([case for case in CASES if case.proj_size != 1])  # whose gradients are two numbers: chance
def test_on_cuda(case: Case, dtype: torch.dtype, reverse: bool, backend: Backend) -> None:
    check_lower_precision(case, dtype, "recurrence", backend, reverse)


@over_backends(*EMULATED, CUDA)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@over(
    [
        Case(cell, hidden_size=hidden_size, batch=batch, steps=steps)
        for cell in CELLS
        for hidden_size, batch, steps in itertools.product((1, 7, 33, 96), (1, 5, 17), (1, 2, 9))
    ]
)
def test_odd_sizes_on_cuda(case: Case, dtype: torch.dtype, backend: Backend) -> None:
    if dtype == torch.float64:
        arguments = case.recurrence()
        found = run(functional.recurrence, backend.place(arguments))
        assert_same(found, run(REFERENCES["recurrence"], arguments))
    else:
        check_lower_precision(case, dtype, "recurrence", backend)


ALL_BITS = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)


@over_backends(STEPS, ONE_A_BLOCK, CUDA)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_every_number_is_widened_and_rounded(dtype: torch.dtype, backend: Backend) -> None:
    """relu(x + b) of all x of a dtype, whose sum in float32 is then rounded to it."""
    x = ALL_BITS.view(dtype)
    for seed in range(3):
        bias = random(1, dtype=dtype, seed=seed)
        arguments = {"xg": x.view(1, -1, 1), "h_0": x.new_zeros(len(x), 1), "bias_hh": bias}
        arguments["weight_hh"] = x.new_zeros(1, 1)
        found = functional.recurrence("rnn_relu", **backend.place(arguments))[0].cpu().flatten()
        expected = (x.float() + bias.float()).relu().to(dtype)
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
