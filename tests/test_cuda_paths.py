"""Which kernels the CUDA half starts, counted by the emulator: the plan is what runs."""

import pytest
import torch

import fused_rnn
from backends import FOUR_A_BLOCK, ONE_A_BLOCK, STEPS, Backend, emulated_module, over_backends
from cases import Case, each_cell
from fused_rnn import functional

persistent = over_backends(ONE_A_BLOCK, FOUR_A_BLOCK)


def launches(case: Case, training: bool = False) -> int:
    """The kernels of one call of the recurrence, in training forward and backward."""
    arguments = case.recurrence(torch.float32)
    arguments["xg"].requires_grad_(training)
    before = emulated_module().launches()
    output = functional.recurrence(**arguments)[0]
    if training:
        output.sum().backward()
    count: int = emulated_module().launches() - before
    return count


@over_backends(STEPS)
@each_cell
def test_a_kernel_each_step(cell: str, backend: Backend) -> None:
    assert launches(Case(cell)) == 9
    assert launches(Case(cell), training=True) == 18
    assert launches(Case(cell, steps=0)) == launches(Case(cell, batch=0)) == 0


@persistent
@each_cell
def test_one_kernel(cell: str, backend: Backend) -> None:
    assert launches(Case(cell)) == 1
    assert launches(Case(cell), training=True) == 2
    assert launches(Case(cell, steps=0)) == launches(Case(cell, batch=0)) == 0


@persistent
def test_what_one_kernel_does_not_take(backend: Backend) -> None:
    """A projection, many units, and more runs of steps than its parameters hold."""
    assert launches(Case("lstm", proj_size=3)) == 9
    assert launches(Case("gru", hidden_size=513, batch=1, steps=2)) == 2


@over_backends(ONE_A_BLOCK)
@pytest.mark.parametrize(("runs", "expected"), [(128, 1), (129, 129)])
def test_runs_of_steps(runs: int, expected: int, backend: Backend) -> None:
    lengths = tuple(range(runs, 0, -1))
    case = Case("rnn_tanh", hidden_size=1, steps=runs, batch=runs, lengths=lengths)
    assert launches(case) == expected


@over_backends(STEPS, ONE_A_BLOCK)
def test_more_steps_than_a_grid_has_blocks(backend: Backend) -> None:
    """65,535, in the second and third dimension of a grid."""
    steps = 66_000
    case = Case("rnn_tanh", hidden_size=1, steps=steps, batch=1)
    assert launches(case) == (steps if backend is STEPS else 1)


@over_backends(STEPS)
def test_more_sequences_than_a_grid_has_blocks(backend: Backend) -> None:
    case = Case("gru", hidden_size=1, steps=1, batch=66_000)
    found = functional.recurrence(**case.recurrence())[0]
    expected = fused_rnn.reference.recurrence(**case.recurrence())[0]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@over_backends(ONE_A_BLOCK)
def test_a_launch_that_the_device_refuses(backend: Backend) -> None:
    """The error names the kernel, the cell and the reason, and the next call works."""
    case = Case("lstm", hidden_size=64)
    emulated_module().device(
        multiprocessors=1000, shared_bytes=backend.shared_bytes, real_shared_bytes=1024
    )
    with pytest.raises(RuntimeError, match="persistent_forward of the cell 'lstm'.*invalid config"):
        launches(case)
    emulated_module().device(multiprocessors=1000, shared_bytes=backend.shared_bytes)
    assert launches(case) == 1


@over_backends(STEPS)
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
def test_packs_of_units_where_they_fit(training: bool, backend: Backend) -> None:
    """Four units a thread take a quarter of the threads, which the emulator runs once each."""
    switches = {}
    for hidden_size in (2048, 2049):
        before = emulated_module().switches()
        launches(Case("rnn_tanh", hidden_size=hidden_size, batch=1, steps=1), training)
        switches[hidden_size] = emulated_module().switches() - before
    assert switches[2049] > 4 * switches[2048]
