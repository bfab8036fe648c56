"""The same bits from run to run, from one thread and two, and where others hold the cores."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import fused_rnn
from backends import ISAS
from cases import BLOCK_CASES, CASES, CELLS, REGIME_CASES, Case, over
from compare import Results, run_module
from fused_rnn import _C
from test_double_backward import second, second_arguments
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
    for case in LARGE_CASES
    + BLOCK_CASES
    + REGIME_CASES
    + [case for case in CASES if case.batch == 17]
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


@pytest.mark.parametrize("isa", ISAS)
@both_directions
@over(REGIME_CASES[-6:])
def test_plans_that_depend_on_threads(case: Case, reverse: bool, isa: str) -> None:
    """One thread multiplies the input ahead where two do not, or, on AMX, the other way round."""
    _C.set_cpu_isa(isa)
    arguments = case.layer(torch.float32)
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(run(fused_rnn.functional.layer, arguments, reverse=reverse))
    assert_bit_identical(*results)


@over([Case(cell, hidden_size=130, steps=1, batch=16) for cell in CELLS])
def test_more_threads_than_panels(case: Case) -> None:
    results = []
    for threads in (1, 12):
        torch.set_num_threads(threads)
        results.append(run(fused_rnn.functional.layer, case.layer(torch.float32), reverse=False))
    assert_bit_identical(*results)


@both_directions
@over(LARGE_CASES + [case for case in CASES if case.batch == 17])
def test_second_order_on_one_thread_and_two(case: Case, reverse: bool) -> None:
    arguments = second_arguments(case, torch.float32, reverse)
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(second(arguments))
    assert_bit_identical(found[0], found[1])
    assert_bit_identical(found[0], found[2])


@pytest.mark.parametrize("threads", [1, 2])
@over(CASES[::3] + LARGE_CASES)
def test_run_to_run(case: Case, threads: int) -> None:
    torch.set_num_threads(threads)
    module = case.module(fused_rnn, torch.float32)
    first = run_module(module, case.input(torch.float32))
    assert_bit_identical(first, run_module(module, case.input(torch.float32)))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_calls_from_several_threads(cell: str, threads: int) -> None:
    """Python threads that use one module at a time: the kernels keep no state between calls. With
    two threads each, eight want the cores."""
    torch.set_num_threads(threads)
    case = Case(cell, hidden_size=40, batch=17)
    module: nn.Module = case.module(fused_rnn, torch.float32)
    expected = run_module(module, case.input(torch.float32))
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(run_module, module, case.input(torch.float32)) for _ in range(16)]
        for future in futures:
            assert_bit_identical(future.result(), expected)


@pytest.mark.parametrize("cell", CELLS)
def test_inference_from_several_threads(cell: str) -> None:
    """As above in inference mode, which each Python thread enters for itself."""
    torch.set_num_threads(2)
    case = Case(cell, hidden_size=96, steps=20, batch=33)
    inferred = Inferred(case)
    expected = inferred[0]
    with ThreadPoolExecutor(4) as pool:
        for output in pool.map(inferred.__getitem__, range(16)):
            assert torch.equal(output, expected)


# Python 3.12 warns of forking a process that has threads, as OpenMP's are.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("cell", CELLS)
def test_workers_of_a_data_loader(cell: str) -> None:
    """Torch gives each worker one thread, whatever the process had that they were forked from."""
    torch.set_num_threads(2)
    inferred = Inferred(Case(cell, hidden_size=96, steps=20, batch=33))
    expected = inferred[0]
    outputs = list(DataLoader(inferred, batch_size=None, num_workers=2))
    assert len(outputs) == len(inferred)
    for output in outputs:
        assert torch.equal(output, expected)


class Inferred(Dataset[Tensor]):
    """A data set whose items are one layer's output, computed anew for each."""

    def __init__(self, case: Case) -> None:
        self.module: nn.Module = case.module(fused_rnn, torch.float32)
        self.input = case.input(torch.float32)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        with torch.inference_mode():
            output: Tensor = self.module(self.input)[0]
        return output
