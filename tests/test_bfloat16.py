"""Layers of bfloat16 on the CPU multiply pairs of values where rows can be read as pairs, on each
instruction set as accurately as PyTorch, and convert what cannot."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

import fused_rnn
from backends import CPU, Backend
from cases import CELLS, Case, each_cell, over
from fused_rnn import _C, functional
from test_precision import check_lower_precision
from test_reference import both_directions, each_op, run

each_isa = pytest.mark.parametrize("isa", _C.available_cpu_isas())

# Weights as they lie and packed, the input in the same tile and ahead, rows in lanes; whole panels
# and parts of one; more than one block of k and of the rows of a weight's gradient, and odd ones.
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
    )
]
PAIRS += [
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


@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("moved", ["input", "weight_ih", "weight_hh", "h_0", "bias_hh"])
@each_cell
def test_where_arguments_lie(cell: str, moved: str, strided: bool) -> None:
    if strided and moved == "bias_hh":
        pytest.skip("it has one dimension")
    backend = Placed("placed", moved=moved, strided=strided)
    case = Case(cell, input_size=6, hidden_size=8)
    check_lower_precision(case, torch.bfloat16, "layer", backend)


def operators_of(case: Case) -> set[str]:
    arguments = case.layer(torch.bfloat16)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        functional.layer(**arguments)
    return {event.key for event in profile.key_averages()}


@over(PAIRS + CONVERTED)
def test_what_is_converted(case: Case) -> None:
    """Weights are not where pairs are multiplied, nor is the input projected by PyTorch."""
    assert ("aten::linear" in operators_of(case)) == (case in CONVERTED)


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


@both_directions
@over(PAIRS)
def test_bits_do_not_depend_on_threads(case: Case, reverse: bool) -> None:
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(run(functional.layer, case.layer(torch.bfloat16), reverse=reverse))
    for name, value in results[0].items():
        assert all(torch.equal(value, other[name]) for other in results[1:]), name


def test_autocast() -> None:
    layer = fused_rnn.GRU(6, 8)
    x = torch.randn(5, 3, 6)
    with torch.autocast("cpu", torch.bfloat16):
        output, _ = layer(x)
    plain = fused_rnn.GRU(6, 8).bfloat16()
    plain.load_state_dict(layer.state_dict())
    assert torch.equal(output, plain(x.bfloat16())[0])
