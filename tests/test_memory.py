"""Inference keeps no tape and no projected input: other ops run, no memory is taken for them.
Training keeps one tape, and its peak is no higher than torch.nn's."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import fused_rnn
from cases import BLOCK_CASES, CASES, CELLS, REGIME_CASES, Case, over
from compare import floating, leaf, tensors_in
from fused_rnn import functional
from test_reference import each_op


class Recorder(TorchDispatchMode):
    """The names of the fused_rnn ops that reach a device's kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function.namespace == "fused_rnn":
            self.names.append(function._opname)
        return function(*args, **(kwargs or {}))


@each_op
@pytest.mark.parametrize("cell", CELLS)
def test_which_op_runs(cell: str, op: str) -> None:
    arguments, function = getattr(Case(cell), op)(), getattr(functional, op)
    tracked = {**arguments, "h_0": leaf(arguments["h_0"])}
    for given, no_grad, expected in (
        (arguments, False, op),
        (tracked, True, op),
        (tracked, False, f"{op}_train"),
    ):
        with torch.set_grad_enabled(not no_grad), Recorder() as recorder:
            function(**given)
        assert recorder.names == [expected]


def allocated(function: Any, arguments: dict[str, Any]) -> tuple[int, int]:
    """Bytes that torch's allocator gave out in a call, and bytes of the results."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        results = function(**arguments)
    events = profile.profiler.kineto_results.events()
    given = sum(max(0, e.nbytes()) for e in events if e.name() == "[memory]")
    return given, sum(tensor.nbytes for _, tensor in tensors_in(results))


# Sizes that are multiples of 64 bytes, which the allocator need not round.
ROUND_CASES = [Case(cell, hidden_size=16, steps=64, batch=4) for cell in CELLS]
RAGGED_CASES = [
    Case(cell, hidden_size=16, steps=64, batch=4, lengths=(64, 40, 40, 8)) for cell in CELLS
]


def kept(case: Case) -> int:
    """Bytes that training in float32 keeps beside arguments and results: c and the tape."""
    return {"lstm": 1 + 4, "gru": 4}.get(case.cell, 0) * case.hidden_size * case.rows * 4


@each_op
@over(ROUND_CASES)
def test_inference_allocates_its_results(case: Case, op: str) -> None:
    arguments, function = getattr(case, op)(torch.float32), getattr(functional, op)
    function(**arguments)
    with torch.no_grad():
        given, results = allocated(function, arguments)
    assert given == results
    arguments["h_0"].requires_grad_()
    trained, _ = allocated(function, arguments)
    assert trained == results + kept(case)


@over(ROUND_CASES + RAGGED_CASES)
def test_inference_of_a_module_allocates_its_results(case: Case) -> None:
    layer = case.module(fused_rnn, torch.float32)
    arguments = {"input": case.input(torch.float32), "hx": case.state(torch.float32)}
    with torch.inference_mode():
        given, results = allocated(layer, arguments)
    assert given == results


@over(ROUND_CASES + RAGGED_CASES)
def test_what_a_module_keeps_for_backward(case: Case) -> None:
    layer = case.module(fused_rnn, torch.float32)
    arguments = case.input(torch.float32), case.state(torch.float32)
    saved: dict[int, int] = {}  # bytes, by address

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.is_floating_point():  # not batch_sizes
            storage = tensor.untyped_storage()
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        results = layer(*arguments)
    for _, tensor in tensors_in((results, arguments, tuple(layer.parameters()))):
        saved.pop(tensor.untyped_storage().data_ptr(), None)
    assert sum(saved.values()) == kept(case)


PEAK = """
import resource, torch
from fused_rnn import functional
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
def run(steps):
    x, h = torch.ones(steps, 64, 4), torch.zeros(64, 64)
    w_ih, w_hh = torch.ones(256, 4), torch.zeros(256, 64)
    functional.layer("lstm", x, h, h, weight_ih=w_ih, weight_hh=w_hh)
torch.set_num_threads(2)
run(100)
before = peak()
run(1000)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads ru_maxrss in KiB, as Linux has it")
def test_peak_of_inference() -> None:
    """All the process takes, scratch of the kernel too: 16 MB of output, where xg alone is 64."""
    command = [sys.executable, "-c", PEAK]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(found.stdout) < 32


WIDE_INPUT = """
import resource, torch, fused_rnn
torch.set_num_threads(2)
layer = fused_rnn.RNN(100_000, 4, bias=False)
layer(torch.zeros(64, 2, 100_000)).__getitem__(0).sum().backward()  # starts the threads
x = torch.zeros(64, 2, 100_000, requires_grad=True)  # 51 MB
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 600 * 1024**2
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
layer(x)[0].sum().backward()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the size of the process from /proc")
def test_scratch_does_not_grow_with_a_wide_input() -> None:
    """Blocks of rows are bounded in bytes, not in rows: 600 MB are ample where rows take 0.4 MB."""
    subprocess.run([sys.executable, "-c", WIDE_INPUT], check=True)


TRAINING_PEAK = """
import sys, torch, fused_rnn
def kibibytes(field):
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])
def step(steps):
    layer(torch.zeros(steps, 32, 256, requires_grad=True))[0].sum().backward()
library, name = sys.argv[1:]
torch.set_num_threads(1)
layer = getattr({"torch": torch.nn, "fused_rnn": fused_rnn}[library], name)(256, 256)
step(2)  # pages of code, and the gradients of the weights
open("/proc/self/clear_refs", "w").write("5")  # VmHWM starts anew
before = kibibytes("VmRSS")
step(100)
print(kibibytes("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="resets the peak by /proc")
@pytest.mark.parametrize(("name", "most"), [("RNN", 1.0), ("LSTM", 0.6), ("GRU", 1.0)])
def test_peak_of_training(name: str, most: float) -> None:
    """Of torch.nn's, in a process each; measured: 0.82, 0.47 and 0.85."""
    command = [sys.executable, "-c", TRAINING_PEAK]
    given_back = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed, at once
    ours, theirs = (
        int(subprocess.check_output([*command, library, name], env=given_back))
        for library in ("fused_rnn", "torch")
    )
    assert ours <= most * theirs


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@over(CASES + BLOCK_CASES + REGIME_CASES)
def test_backward_over_its_own_tape(case: Case, dtype: torch.dtype) -> None:
    """Where the graph is not retained, backward writes over the tape: the same bits come out."""
    arguments = case.layer(dtype)
    leaves = {name: leaf(tensor) for name, tensor in floating(arguments).items()}
    results = functional.layer(**{**arguments, **leaves})
    outputs = [tensor for _, tensor in tensors_in(results)]
    weights = [torch.full_like(tensor, 0.5) for tensor in outputs]
    kept, freed = (
        torch.autograd.grad(outputs, list(leaves.values()), weights, retain_graph=retain)
        for retain in (True, False)
    )
    for name, before, after in zip(leaves, kept, freed, strict=True):
        assert torch.equal(before, after), name


def test_gradients_of_the_gates_of_an_lstm_take_no_memory() -> None:
    arguments = Case("lstm", hidden_size=16, steps=64, batch=4).recurrence(torch.float32)
    xg = arguments["xg"].requires_grad_()
    taken = []
    for retain_graph in (True, False):
        output = functional.recurrence(**arguments)[0]
        options = {"outputs": output, "inputs": xg, "grad_outputs": torch.ones_like(output)}
        taken.append(allocated(torch.autograd.grad, options | {"retain_graph": retain_graph})[0])
    assert taken[0] - taken[1] == xg.nbytes


@pytest.mark.parametrize("alias", [lambda t: t, lambda t: t.detach()], ids=["itself", "memory"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_tape_that_others_hold_is_not_written_to(cell: str, alias: Any) -> None:
    arguments = Case(cell).layer()
    arguments["input"].requires_grad_()
    held: list[tuple[torch.Tensor, torch.Tensor]] = []

    def hold(tensor: torch.Tensor) -> torch.Tensor:
        held.append((alias(tensor), tensor.clone()))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
        output = functional.layer(**arguments)[0]
    output.sum().backward()
    assert len(held) > 2
    for tensor, before in held:
        assert torch.equal(tensor, before)
