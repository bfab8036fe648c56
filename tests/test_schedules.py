"""The CUDA kernels give the reference's results whichever of their threads runs first.

This is the suite for every build of the emulator: FUSED_RNN_EMULATED=asan or race, through
scripts/emulated.sh, adds bounds or ordering to what it sees. A case is there for an edge: lanes
without a unit, blocks with fewer sequences than they take, steps with fewer sequences than the last
or one, more than two steps or one, as few lanes a dot product as there are and as many, more units
than a block has threads, packs of units and single ones, and every null pointer.
"""

import pytest
import torch
from torch import Tensor

import test_reference
from backends import Backend, each_emulated, set_schedule
from cases import CELLS, Case, over
from compare import assert_same
from fused_rnn import functional
from test_reference import REFERENCES, both_directions, run

SCHEDULES = ("fifo", "lifo", "random:1", "random:2")

SCHEDULE_CASES = [
    case
    for cell in CELLS
    for case in (
        Case(cell, hidden_size=5, steps=3, batch=3),
        Case(cell, hidden_size=33, steps=3, batch=5, bias=False),
        Case(cell, hidden_size=4, steps=4, batch=6, lengths=(4, 3, 3, 2, 1, 1)),
    )
] + [
    Case("lstm", hidden_size=6, steps=3, batch=5, lengths=(3, 3, 2, 1, 1), proj_size=4),
    Case("rnn_relu", hidden_size=4, steps=1, batch=1),
    Case("rnn_tanh", hidden_size=65, steps=2, batch=5),
    Case("rnn_tanh", hidden_size=129, steps=2, batch=1),
    Case("rnn_tanh", hidden_size=513, steps=2, batch=2),
]


@pytest.mark.parametrize("schedule", SCHEDULES)
@each_emulated
@both_directions
@over(SCHEDULE_CASES)
def test_results(case: Case, reverse: bool, backend: Backend, schedule: str) -> None:
    arguments = case.recurrence()
    expected = run(REFERENCES["recurrence"], arguments, reverse=reverse)
    set_schedule(schedule)
    assert_same(run(functional.recurrence, arguments, reverse=reverse), expected)


@each_emulated
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_bits_do_not_depend_on_it(cell: str, dtype: torch.dtype, backend: Backend) -> None:
    """Backward sums have one order, forward as well."""
    case = Case(cell, hidden_size=33, steps=3, batch=5)
    arguments = case.recurrence(dtype)
    results = []
    for schedule in SCHEDULES:
        set_schedule(schedule)
        results.append(run(functional.recurrence, arguments))
    for found in results[1:]:
        for name, value in found.items():
            assert torch.equal(value, results[0][name]), name


@each_emulated
@pytest.mark.parametrize("cell", CELLS)
def test_little_is_wanted(cell: str, backend: Backend) -> None:
    """One output with a gradient, one argument that asks for it: most pointers are null."""
    arguments = Case(cell, hidden_size=5, steps=3, batch=3, bias=False).recurrence()
    for index, name in ((0, "xg"), (1, "xg"), (-1, "weight_hh")):
        found: list[Tensor] = []
        for function in (functional.recurrence, REFERENCES["recurrence"]):
            wanted = arguments[name].detach().requires_grad_()
            outputs = [o for o in function(**{**arguments, name: wanted}) if o is not None]
            found += torch.autograd.grad(outputs[index].square().sum(), wanted)
        torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


@each_emulated
@pytest.mark.parametrize("cell", CELLS)
def test_inference(cell: str, backend: Backend) -> None:
    """Neither c nor a tape is kept."""
    arguments = Case(cell, hidden_size=5, steps=3, batch=3).recurrence()
    found, expected = (f(**arguments) for f in (functional.recurrence, REFERENCES["recurrence"]))
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@each_emulated
@pytest.mark.parametrize("cell", CELLS)
def test_unaligned(cell: str, backend: Backend) -> None:
    """Packs of units would be misaligned."""
    test_reference.test_unaligned(cell, torch.float16, backend)
