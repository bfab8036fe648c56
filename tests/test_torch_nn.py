"""The modules equal torch.nn's: outputs and every gradient, at every dtype, and dropout masks."""

import pytest
import torch
from torch import nn

import fused_rnn
from cases import CELLS, DTYPES, STEPPING_CASES, Case, over
from compare import Results, assert_as_accurate, assert_same, run_module, smooth

with_state = pytest.mark.parametrize("given", [False, True], ids=["zeros", "state"])


def run(case: Case, library: object, dtype: torch.dtype, given: bool) -> Results:
    hx = case.state(dtype) if given else None
    return run_module(case.module(library, dtype), case.input(dtype), hx)


def run_exactly(case: Case, dtype: torch.dtype, given: bool) -> Results:
    """torch.nn in float64, from the values that `dtype` can hold."""
    hx = case.state(dtype) if given else None
    if isinstance(hx, tuple):
        hx = tuple(state.double() for state in hx)
    elif hx is not None:
        hx = hx.double()
    return run_module(case.module(nn, dtype).double(), case.input(dtype).double(), hx)


@with_state
@over(STEPPING_CASES)
def test_float64(case: Case, given: bool) -> None:
    ours = run(case, fused_rnn, torch.float64, given)
    assert_same(ours, run(case, nn, torch.float64, given))


@with_state
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@over(STEPPING_CASES)
def test_lower_precision(case: Case, dtype: torch.dtype, given: bool) -> None:
    ours, theirs = run(case, fused_rnn, dtype, given), run(case, nn, dtype, given)
    exact = run_exactly(case, dtype, given)
    assert_as_accurate(*(smooth(case.cell, results) for results in (ours, theirs, exact)))


DROPOUT_CASES = [
    Case(cell, num_layers=3, bidirectional=bidirectional, lengths=lengths)
    for cell in CELLS
    for bidirectional in (False, True)
    for lengths in (None, (9, 5, 5, 2, 1), (2, 9, 1, 9, 4))
]


@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
@over(DROPOUT_CASES)
def test_dropout_draws_the_same_mask(case: Case, training: bool) -> None:
    results = []
    for library in (fused_rnn, nn):
        module = case.module(library, dropout=0.4).train(training)
        torch.manual_seed(12)
        results.append(run_module(module, case.input(), case.state()))
        results[-1]["next random number"] = torch.rand(1)
    assert_same(*results)


@pytest.mark.parametrize("dropout", [0.0, 1.0])
@pytest.mark.parametrize("cell", CELLS)
def test_extreme_dropout(cell: str, dropout: float) -> None:
    case = Case(cell, num_layers=2)
    results = []
    for library in (fused_rnn, nn):
        module = case.module(library, dropout=dropout)
        torch.manual_seed(12)
        results.append(run_module(module, case.input()))
        results[-1]["next random number"] = torch.rand(1)
    assert_same(*results)


@pytest.mark.parametrize("cell", CELLS)
def test_training_step_by_step(cell: str) -> None:
    """Ten steps of Adam from the same seed, with dropout: the same losses, the same weights."""
    case = Case(cell, num_layers=2, bidirectional=True, steps=6)
    losses: list[list[float]] = []
    weights = []
    for library in (fused_rnn, nn):
        module = case.module(library, dropout=0.2)
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
        torch.manual_seed(13)
        losses.append([])
        for _ in range(10):
            loss = module(torch.randn_like(case.input()))[0].square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
        weights.append(module.state_dict())
    torch.testing.assert_close(*losses, rtol=1e-10, atol=0)
    torch.testing.assert_close(*weights, rtol=1e-8, atol=1e-10)
