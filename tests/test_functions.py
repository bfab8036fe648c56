"""The kernels' own tanh and sigmoid: few ULP from the true value, and no bias to either side.

A polynomial with a coefficient wrong in its sixth digit stays within any bound of ULP that leaves
room for rounding; but rounding has no side, and such a polynomial errs to one on whole intervals.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backends import ISAS
from fused_rnn import _C, functional

# From zero to where both saturate; some are subintervals of one power of two of exp.
INTERVALS = ((1e-6, 1e-3), (0.02, 0.1), (0.1, 0.17), (0.18, 0.34), (0.35, 0.5), (0.5, 2), (2, 8))
COUNT = 4096


def kernel_tanh(x: Tensor) -> Tensor:
    """A step of an RNN with no recurrent part."""
    zero = x.new_zeros(1, 1)
    return functional.recurrence("rnn_tanh", x.view(-1, 1, 1), zero, weight_hh=zero)[0].flatten()


def kernel_sigmoid(x: Tensor) -> Tensor:
    """The forget gate of an LSTM, times a cell state of one; a sequence for each value."""
    xg = torch.zeros(1, len(x), 4, dtype=x.dtype)
    xg[0, :, 1] = x
    h_0, c_0 = x.new_zeros(len(x), 1), x.new_ones(len(x), 1)
    c_n = functional.recurrence("lstm", xg, h_0, c_0, weight_hh=x.new_zeros(4, 1))[2]
    assert c_n is not None
    return c_n.flatten()


def errors(found: Tensor, exact: Tensor) -> Tensor:
    """In units in the last place of the exact value."""
    ulp = torch.nextafter(exact.float(), torch.tensor(torch.inf)).double() - exact.float().double()
    return (found.double() - exact) / ulp


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("ours", "true"),
    [(kernel_tanh, torch.tanh), (kernel_sigmoid, torch.sigmoid)],
    ids=["tanh", "sigmoid"],
)
@pytest.mark.parametrize("interval", INTERVALS, ids=str)
def test_float32(
    ours: Callable[[Tensor], Tensor],
    true: Callable[[Tensor], Tensor],
    interval: tuple[float, float],
    isa: str,
) -> None:
    _C.set_cpu_isa(isa)
    x = torch.linspace(*interval, COUNT)
    for sign in (1, -1):
        found = errors(ours(sign * x), true(sign * x.double())) * sign
        assert found.abs().max() < 4
        assert found.mean().abs() < 0.25
