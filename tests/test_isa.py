"""Each instruction set gives the reference's results, and ATEN_CPU_CAPABILITY chooses it."""

import math
import os
import subprocess
import sys

import pytest
import torch

from backends import CPU, ISAS
from cases import BLOCK_CASES, CASES, DTYPES, IN_PLACE_CASES, REGIME_CASES, Case, each_cell, over
from compare import assert_same
from fused_rnn import _C, functional, reference
from test_derivatives import assert_same_to_scale, repeated
from test_precision import check_lower_precision
from test_reference import REFERENCES, each_op, run

each_isa = pytest.mark.parametrize("isa", ISAS)


@each_op
@over(CASES + BLOCK_CASES + REGIME_CASES)
def test_float64(case: Case, op: str) -> None:
    arguments = getattr(case, op)()
    for reverse in (False, True):
        expected = run(REFERENCES[op], arguments, reverse=reverse)
        for isa in ISAS:
            _C.set_cpu_isa(isa)
            assert_same(run(getattr(functional, op), arguments, reverse=reverse), expected)


@each_isa
@over(CASES)
def test_second_order(case: Case, isa: str) -> None:
    _C.set_cpu_isa(isa)
    arguments = case.layer()
    ours = repeated(functional.layer, arguments, 2)
    assert_same_to_scale(ours, repeated(REFERENCES["layer"], arguments, 2))


@each_isa
@each_op
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@over([case for case in CASES if case.hidden_size in (1, 16, 40) and case.num_layers == 1])
def test_lower_precision(case: Case, dtype: torch.dtype, op: str, isa: str) -> None:
    _C.set_cpu_isa(isa)
    check_lower_precision(case, dtype, op, CPU)


@each_isa
@each_op
@over([case for case in BLOCK_CASES if case.steps == 160] + REGIME_CASES)
def test_blocks_in_float32(case: Case, op: str, isa: str) -> None:
    _C.set_cpu_isa(isa)
    check_lower_precision(case, torch.float32, op, CPU)


@pytest.mark.skipif("amx" not in _C.available_cpu_isas(), reason="the CPU has no AMX")
@each_op
@over(IN_PLACE_CASES)
def test_weights_in_place(case: Case, op: str) -> None:
    _C.set_cpu_isa("amx")
    arguments = getattr(case, op)()
    for reverse in (False, True):
        expected = run(REFERENCES[op], arguments, reverse=reverse)
        assert_same(run(getattr(functional, op), arguments, reverse=reverse), expected)
    check_lower_precision(case, torch.float32, op, CPU)


@each_isa
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@each_cell
def test_what_is_not_finite(cell: str, value: float, dtype: torch.dtype, isa: str) -> None:
    """In some gates of the last step, of whole vectors and of what is left over."""
    _C.set_cpu_isa(isa)
    arguments = Case(cell, hidden_size=21).recurrence(dtype)
    arguments["xg"][-1, :, ::3] = value
    ours, expected = functional.recurrence(**arguments), reference.recurrence(**arguments)
    assert ours[0].isnan().any() == math.isnan(value)
    torch.testing.assert_close(ours, expected, equal_nan=True)


@pytest.mark.parametrize(
    ("capability", "isa"),
    [("default", "generic"), ("avx2", "avx2"), ("avx512", _C.available_cpu_isas()[-1])],
)
def test_environment_chooses(capability: str, isa: str) -> None:
    if capability not in ("default", *_C.available_cpu_isas()):
        pytest.skip(f"this build or this CPU has no {capability}")
    code = "import fused_rnn; print(fused_rnn._C.cpu_isa())"
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": capability}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == isa
