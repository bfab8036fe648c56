"""The same bits from run to run, and from one thread and two."""

import pytest
import torch
from torch import nn

import fused_rnn
from cases import BLOCK_CASES, CASES, CELLS, Case, over
from compare import Results, run_module
from test_reference import both_directions, run

# Large enough that the work is divided, by sequences and, for weights' gradients, by units.
LARGE_CASES = [
    Case(cell, hidden_size=hidden_size, steps=6, batch=batch, lengths=lengths)
    for cell in CELLS
    for hidden_size, batch, lengths in (
        (96, 67, None),
        (256, 1, None),
        (96, 33, tuple(range(6, 0, -1)) + (1,) * 27),
    )
] + [Case("rnn_tanh", input_size=20_000, hidden_size=41, steps=20, batch=6)]  # blocks of few rows


def assert_bit_identical(first: Results, second: Results) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


OPS_AND_CASES = [
    (op, case)
    for op in ("recurrence", "layer")
    for case in LARGE_CASES + BLOCK_CASES + [case for case in CASES if case.batch == 17]
    # Below 48 rows a layer's projection is ATen's, whose bits depend on the number of threads.
    if op == "recurrence" or case.rows >= 48
]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@both_directions
@pytest.mark.parametrize(("op", "case"), OPS_AND_CASES, ids=str)
def test_one_thread_and_two(case: Case, reverse: bool, op: str, dtype: torch.dtype) -> None:
    function, arguments = getattr(fused_rnn.functional, op), getattr(case, op)(dtype)
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(run(function, arguments, reverse=reverse))
    assert_bit_identical(results[0], results[1])
    assert_bit_identical(results[0], results[2])


@pytest.mark.parametrize("threads", [1, 2])
@over(CASES[::3] + LARGE_CASES)
def test_run_to_run(case: Case, threads: int) -> None:
    torch.set_num_threads(threads)
    module = case.module(fused_rnn, torch.float32)
    first = run_module(module, case.input(torch.float32))
    assert_bit_identical(first, run_module(module, case.input(torch.float32)))


@pytest.mark.parametrize("cell", CELLS)
def test_calls_from_several_threads(cell: str) -> None:
    """Python threads that use one module at a time: the kernels keep no state between calls."""
    from concurrent.futures import ThreadPoolExecutor

    case = Case(cell, hidden_size=40, batch=17)
    module: nn.Module = case.module(fused_rnn, torch.float32)
    expected = run_module(module, case.input(torch.float32))
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(run_module, module, case.input(torch.float32)) for _ in range(16)]
        for future in futures:
            assert_bit_identical(future.result(), expected)
