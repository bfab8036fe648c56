"""On a GPU: cuDNN's numbers at every dtype, and what PyTorch asks of a CUDA op beside numbers.

The properties of the table run there too, as the backend "cuda" of tests/backends.py.
"""

import copy
import os
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fused_rnn
from cases import DTYPES, STEPPING_CASES, Case, each_cell, over
from compare import (
    Results,
    assert_as_accurate,
    assert_same,
    leaves_of,
    run_module,
    smooth,
    tensors_in,
)
from test_torch_nn import run_exactly

DEVICE = os.environ.get("FUSED_RNN_TEST_DEVICE", "cuda")  # another one tries the tests themselves

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="no CUDA device"),
]
needs_cuda = pytest.mark.skipif(DEVICE != "cuda", reason="a property of CUDA alone")


def moved(value: Any) -> Any:
    """A state or an input on the device."""
    if isinstance(value, tuple) and not hasattr(value, "to"):
        return tuple(moved(item) for item in value)
    return value.to(DEVICE)


def run(module: nn.Module, case: Case, dtype: torch.dtype) -> Results:
    results = run_module(module.to(DEVICE), moved(case.input(dtype)), moved(case.state(dtype)))
    return {name: result.cpu() for name, result in results.items()}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@over([case for case in STEPPING_CASES if case.batch])
def test_as_accurate_as_cudnn(case: Case, dtype: torch.dtype) -> None:
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        results = [run(case.module(library, dtype), case, dtype) for library in (fused_rnn, nn)]
    exact = run_exactly(case, dtype, given=True)
    if dtype == torch.float64:  # the same sums in another order
        assert_same(smooth(case.cell, results[0]), smooth(case.cell, exact))
    else:
        assert_as_accurate(*(smooth(case.cell, result) for result in (*results, exact)))


# One step at a time; one sequence a block; four, more than there are multiprocessors.
PATHS = [
    (cell, hidden_size, batch)
    for cell in ("rnn_tanh", "lstm", "gru")
    for hidden_size, batch in ((520, 3), (33, 5), (33, 301))
]
each_path = pytest.mark.parametrize(("cell", "hidden_size", "batch"), PATHS)


def step(module: nn.Module, input: Tensor) -> list[Tensor]:
    """Outputs and gradients of one training step."""
    input = leaves_of(input)
    outputs = [output for _, output in tensors_in(module(input))]
    loss = sum(output.square().sum() for output in outputs)
    assert isinstance(loss, Tensor)
    gradients = torch.autograd.grad(loss, [input, *module.parameters()])
    return [*(output.detach() for output in outputs), *gradients]


def problem(cell: str, hidden_size: int, batch: int) -> tuple[nn.Module, Tensor]:
    case = Case(cell, hidden_size=hidden_size, batch=batch, steps=7, bidirectional=True)
    return case.module(fused_rnn, torch.float32).to(DEVICE), case.input(torch.float32).to(DEVICE)


def assert_equal(found: list[Tensor], expected: list[Tensor]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


@each_path
def test_sanitizer(cell: str, hidden_size: int, batch: int) -> None:
    """All kernels once, small: scripts/gpu_check.sh runs this under compute-sanitizer. The same
    bits come out twice."""
    module, input = problem(cell, hidden_size, batch)
    assert_equal(step(module, input), step(module, input))


@needs_cuda
@each_path
def test_current_stream(cell: str, hidden_size: int, batch: int) -> None:
    """The kernels wait for what the current stream makes, and for nothing on another."""
    module, input = problem(cell, hidden_size, batch)
    expected = step(module, 2 * input)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(100_000_000)  # cycles
        found = step(module, 2 * input)
    assert not stream.query(), "something waited for the device"
    stream.synchronize()
    assert_equal(found, expected)


@needs_cuda
@each_path
def test_no_synchronisation(cell: str, hidden_size: int, batch: int) -> None:
    module, input = problem(cell, hidden_size, batch)
    step(module, input)
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(module, input)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@needs_cuda
@each_path
def test_cuda_graph(cell: str, hidden_size: int, batch: int) -> None:
    """Captured once, replayed on other data."""
    module, input = problem(cell, hidden_size, batch)
    other = torch.randn_like(input)
    expected = step(module, other)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step(module, input)  # outside of the capture whatever happens once
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = step(module, input)
    input.copy_(other)
    graph.replay()
    assert_equal(found, expected)


@needs_cuda
@each_path
def test_memory_does_not_grow(cell: str, hidden_size: int, batch: int) -> None:
    module, input = problem(cell, hidden_size, batch)
    used = []
    for _ in range(4):
        step(module, input)
        torch.cuda.synchronize()
        used.append(torch.cuda.memory_allocated())
    assert len(set(used[1:])) == 1


@needs_cuda
@pytest.mark.parametrize(("cell", "kept"), [("lstm", 5), ("gru", 4)])
def test_inference_keeps_no_tape(cell: str, kept: int) -> None:
    """Forward alone needs less by the tape and the cells, `kept` numbers a unit and row."""
    case = Case(cell, input_size=64, hidden_size=64, batch=16, steps=2000)
    module = case.module(fused_rnn, torch.float32).to(DEVICE)
    input = case.input(torch.float32).to(DEVICE)
    peaks = []
    for training in (False, True):
        with torch.set_grad_enabled(training):
            module(input)
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            module(input)
            peaks.append(torch.cuda.max_memory_allocated() - before)
    assert peaks[1] - peaks[0] > 0.9 * 4 * kept * 64 * case.rows


@needs_cuda
def test_other_device() -> None:
    """Tensors of a device that is not the current one."""
    if torch.cuda.device_count() < 2:
        pytest.skip("one CUDA device")
    module, input = problem("lstm", 33, 5)
    expected = step(module, input)
    found = step(copy.deepcopy(module).to("cuda:1"), input.to("cuda:1"))
    assert_equal([tensor.to("cuda:0") for tensor in found], expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@each_cell
def test_autocast(cell: str, dtype: torch.dtype) -> None:
    """float32 weights, a lower dtype inside, float32 gradients."""
    case = Case(cell, hidden_size=16)
    module = case.module(fused_rnn, torch.float32).to(DEVICE)
    with torch.autocast(DEVICE, dtype):
        output, _ = module(moved(case.input(torch.float32)))
    assert output.dtype == dtype
    output.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in module.parameters())
