"""Layers of bfloat16 on the CPU multiply pairs of values where rows can be read as pairs, on each
instruction set as accurately as PyTorch, and convert what cannot."""

import ctypes
import mmap
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fused_rnn
from backends import CPU, Backend
from cases import CELLS, Case, each_cell, over, random
from compare import floating, leaf
from fused_rnn import _C, functional
from test_precision import check_lower_precision
from test_reference import both_directions, each_op, run
from test_threads import assert_bit_identical

each_isa = pytest.mark.parametrize("isa", _C.available_cpu_isas())
HAVE_PAIRS = _C.cpu_isa() != "generic"

# Weights as they lie and packed, the input in the same tile and ahead, rows in lanes; whole panels
# and parts of one; more than one block of k and of the rows of a weight's gradient, and odd ones;
# rows of two registers of AMX and of more, and a part of one of k.
PAIRS = [
    case
    for cell in CELLS
    for case in (
        Case(cell, input_size=2, hidden_size=2, steps=1, batch=1),
        Case(cell, input_size=4, hidden_size=16, steps=3, batch=2),
        Case(cell, input_size=6, hidden_size=34, steps=12, batch=9, bias=False),
        Case(cell, input_size=5, hidden_size=40, steps=20, batch=3, lengths=(20, 20, 3)),
        Case(cell, input_size=130, hidden_size=66, steps=1, batch=32),
        Case(cell, input_size=64, hidden_size=130, steps=30, batch=1),
        Case(cell, input_size=2100, hidden_size=20, steps=2, batch=15),
        Case(cell, input_size=2, hidden_size=18, steps=57, batch=5),
        Case(cell, input_size=34, hidden_size=66, steps=3, batch=17),
        Case(cell, input_size=64, hidden_size=32, steps=4, batch=33, lengths=(4,) * 20 + (2,) * 13),
    )
]
PAIRS += [
    Case("lstm", input_size=340, hidden_size=340, steps=3, batch=18),  # the input ahead
    Case("lstm", input_size=2, hidden_size=512, steps=24, batch=1),  # on AMX: as they lie
    Case("lstm", input_size=6, hidden_size=70, proj_size=2),
    Case("lstm", input_size=6, hidden_size=40, proj_size=34, steps=3, batch=17),
    Case("lstm", input_size=6, hidden_size=2, proj_size=2, steps=1, batch=1),
]
CONVERTED = [Case(cell, input_size=6, hidden_size=7) for cell in CELLS]
CONVERTED += [Case("lstm", input_size=6, hidden_size=8, proj_size=3)]
CONVERTED += [Case("lstm", input_size=6, hidden_size=7, proj_size=4)]


@each_isa
@each_op
@both_directions
@over(PAIRS + CONVERTED)
def test_results(case: Case, reverse: bool, op: str, isa: str) -> None:
    _C.set_cpu_isa(isa)
    check_lower_precision(case, torch.bfloat16, op, CPU, reverse)


def amid_a_pair(tensor: Tensor) -> Tensor:
    memory = torch.empty(tensor.numel() + 1, dtype=tensor.dtype)
    return memory[1:].view(tensor.shape).copy_(tensor)


@dataclass(frozen=True)
class Placed(Backend):
    """Some arguments in another place in memory, or with gaps between rows."""

    moved: str = ""
    strided: bool = False

    def place(self, arguments: dict[str, Any]) -> dict[str, Any]:
        tensor = arguments[self.moved]
        moved = tensor.mT.contiguous().mT if self.strided else amid_a_pair(tensor)
        return {**arguments, self.moved: moved}


MATRICES = ["input", "weight_ih", "weight_hh", "h_0"]


@pytest.mark.parametrize(
    ("moved", "strided"),
    [("bias_hh", False), *((name, strided) for name in MATRICES for strided in (False, True))],
)
@each_cell
def test_where_arguments_lie(cell: str, moved: str, strided: bool) -> None:
    backend = Placed("placed", moved=moved, strided=strided)
    case = Case(cell, input_size=6, hidden_size=8)
    check_lower_precision(case, torch.bfloat16, "layer", backend)


def before_a_wall(tensor: Tensor) -> Tensor:
    """In memory that ends where its page does, and the next page must not be read."""
    bytes = tensor.numel() * tensor.element_size()
    size = -(-bytes // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, size + mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    wall, no_access = ctypes.c_void_p(start + size), 0
    assert ctypes.CDLL(None).mprotect(wall, ctypes.c_size_t(mmap.PAGESIZE), no_access) == 0
    flat = torch.frombuffer(memory, dtype=tensor.dtype, count=tensor.numel(), offset=size - bytes)
    return flat.view(tensor.shape).copy_(tensor)


@each_isa
@over([case for case in PAIRS if case.input_size % 2 == 0 and case.hidden_size <= 66])
def test_nothing_beyond_the_arguments_is_read(case: Case, isa: str) -> None:
    """AddressSanitizer does not see what AMX's instructions read."""
    _C.set_cpu_isa(isa)
    arguments = case.layer(torch.bfloat16)
    walled = {**arguments, **{n: before_a_wall(t) for n, t in floating(arguments).items()}}
    found, expected = (run(functional.layer, given, reverse=False) for given in (walled, arguments))
    assert_bit_identical(found, expected)


def conversions(arguments: dict[str, Any]) -> int:
    """How often a tensor of weight_hh's shape is converted, forward and backward."""
    leaves = {name: leaf(tensor) for name, tensor in floating(arguments).items()}
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, record_shapes=True) as profile:
        output, _, _ = functional.layer(**{**arguments, **leaves})
        output.sum().backward()
    shape = list(arguments["weight_hh"].shape)
    return sum(
        event.count
        for event in profile.key_averages(group_by_input_shape=True)
        if event.key == "aten::_to_copy" and event.input_shapes[0] == shape
    )


@each_isa
@over(PAIRS + CONVERTED)
def test_what_is_converted(case: Case, isa: str) -> None:
    """Where pairs are multiplied it is the gradient of weight_hh alone."""
    _C.set_cpu_isa(isa)
    converted = case in CONVERTED or isa == "generic"
    assert conversions(case.layer(torch.bfloat16)) == (3 if converted else 1)


@pytest.mark.skipif(not HAVE_PAIRS, reason="the CPU has no kernels of pairs")
@pytest.mark.parametrize(
    ("moved", "count"),
    [("input", 2), ("weight_ih", 2), ("h_0", 3), ("weight_hh", 3), ("bias_hh", 1)],
)
def test_what_begins_amid_a_pair_is_converted(moved: str, count: int) -> None:
    """Forward, or backward as well where it is read again."""
    arguments = Case("gru", input_size=6, hidden_size=8).layer(torch.bfloat16)
    moved_there = {**arguments, moved: amid_a_pair(arguments[moved])}
    assert conversions(moved_there) == count


@each_isa
def test_rounds_to_nearest(isa: str) -> None:
    """relu(x + b) of all normal numbers x, the sum in float32."""
    _C.set_cpu_isa(isa)
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    x = bits.view(torch.bfloat16)
    x = x[~(x.abs() < torch.finfo(torch.bfloat16).tiny)]
    zeros, one = torch.zeros_like(x), torch.ones(1, dtype=torch.bfloat16)
    for bias in (0.0, 1.0, 1.2578125):
        output, _, _ = functional.layer(
            "rnn_relu",
            torch.stack([x, zeros], 1)[None],
            torch.zeros(len(x), 2, dtype=x.dtype),
            weight_ih=torch.eye(2, dtype=x.dtype),
            weight_hh=torch.zeros(2, 2, dtype=x.dtype),
            bias_ih=torch.cat([one * bias, one]),
        )
        expected = (x.float() + bias).relu().bfloat16()
        torch.testing.assert_close(output[0, :, 0], expected, rtol=0, atol=0, equal_nan=True)


@each_isa
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@each_cell
def test_what_is_not_finite(cell: str, value: float, isa: str) -> None:
    """In the input of one sequence."""
    _C.set_cpu_isa(isa)
    arguments = Case(cell, input_size=4, hidden_size=34).layer(torch.bfloat16)
    expected, _, _ = functional.layer(**arguments)
    arguments["input"][4, 2, 1] = value
    output, _, _ = functional.layer(**arguments)
    others = [0, 1, 3, 4]
    assert torch.equal(output[:, others], expected[:, others])
    assert torch.equal(output[:4], expected[:4])
    if value != value:
        assert output[4:, 2].isnan().all()
    elif cell != "rnn_relu":
        assert output[4, 2].isfinite().all()  # gates are 0 or 1


# Enough rows for a team of threads (csrc/torch/cpu.h), of few sequences and many.
TEAMS = [
    case
    for cell in CELLS
    for case in (
        Case(cell, input_size=64, hidden_size=130, steps=150, batch=1),
        Case(cell, input_size=5, hidden_size=130, steps=20, batch=33),
        Case(cell, input_size=64, hidden_size=130, steps=60, batch=3, lengths=(60, 60, 30)),
    )
]
TEAMS += [
    Case("lstm", input_size=64, hidden_size=130, proj_size=34, steps=40, batch=17),
    Case("gru", input_size=512, hidden_size=512, steps=4, batch=20),  # on AMX by units
]


@each_isa
@both_directions
@over(TEAMS)
def test_bits_do_not_depend_on_threads(case: Case, reverse: bool, isa: str) -> None:
    """But those of the input's and weight_ih's gradients, which are ATen's products."""
    _C.set_cpu_isa(isa)
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(run(functional.layer, case.layer(torch.bfloat16), reverse=reverse))
    for name in results[0].keys() - {"gradient of input", "gradient of weight_ih"}:
        assert all(torch.equal(results[0][name], other[name]) for other in results[1:]), name


@each_isa
def test_small_steps_are_not_lost(isa: str) -> None:
    """A GRU that forgets slowly adds to h what is less than half a unit of its last place."""
    _C.set_cpu_isa(isa)
    module = fused_rnn.GRU(16, 64)
    with torch.no_grad():
        assert module.bias_ih_l0 is not None
        module.bias_ih_l0[64:128] = 6
    module.bfloat16()
    x = random(1, 2, 16, dtype=torch.bfloat16, seed=1).expand(1000, 2, 16)
    exact = nn.GRU(16, 64).double()
    exact.load_state_dict(module.state_dict())
    error = (module(x)[0].double() - exact(x.double())[0]).abs().max()
    assert error < 0.01  # 0.5 with a rounded h


@each_cell
def test_autocast(cell: str) -> None:
    """As a layer of bfloat16; the gradients of weights of float32 are of float32."""
    case = Case(cell, input_size=6, hidden_size=8)
    module, rounded = case.module(fused_rnn, torch.float32), case.module(fused_rnn, torch.bfloat16)
    x = case.input(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        output, _ = module(x.float())
    assert torch.equal(output, rounded(x)[0])
    output.sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in module.parameters())
