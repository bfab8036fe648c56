"""Weights are read anew at every call, from where torch.nn reads them.

Libraries put plain tensors in the place of parameters, assign `_flat_weights`, or parametrize; each
test does one of these to a module of ours and to one of torch.nn, and the two stay equal.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

import fused_rnn
from cases import Case, each_cell
from compare import Results, assert_same, run_module, tensors_in


def case_of(cell: str) -> Case:
    return Case(cell, num_layers=2, bidirectional=True)


def assert_equal_after(cell: str, change: Callable[[nn.RNNBase], Any]) -> None:
    """Two calls after the same change to a module of ours and to torch.nn's, and a real effect."""
    case = case_of(cell)
    results: list[list[Results]] = []
    for library in (fused_rnn, nn):
        module = case.module(library)
        module(case.input())  # a call before the change must not be remembered
        torch.manual_seed(14)
        change(module)
        results.append([run_module(module, case.input()) for _ in range(2)])
    for ours, theirs in zip(*results, strict=True):
        assert_same(ours, theirs)
    untouched = run_module(case.module(nn), case.input())
    assert not torch.equal(results[0][0]["output[0]"], untouched["output[0]"])


def drop_weight(module: nn.RNNBase) -> None:
    """What weight drop does: the parameter moves away, its name holds a plain tensor."""
    raw = module.weight_hh_l0
    del module._parameters["weight_hh_l0"]
    module.register_parameter("weight_hh_l0_raw", raw)
    mask = torch.rand_like(raw) > 0.3
    module.weight_hh_l0 = raw * mask


def assign_flat_weights(module: nn.RNNBase) -> None:
    module._flat_weights = [2 * weight for weight in module._flat_weights]


def assign_flat_weights_then_attribute(module: nn.RNNBase) -> None:
    """The attribute is newer, so all attributes count again."""
    assign_flat_weights(module)
    module.bias_hh_l1 = nn.Parameter(module.bias_hh_l1 + 1)


def assign_attribute_then_flat_weights(module: nn.RNNBase) -> None:
    drop_weight(module)
    module(case_of("gru").input())
    assign_flat_weights(module)


def assign_flat_weights_without_attribute(module: nn.RNNBase) -> None:
    """The list alone holds a weight that is no attribute any more."""
    del module._parameters["weight_ih_l0"]
    assign_flat_weights(module)


def replace_parameter(module: nn.RNNBase) -> None:
    module.weight_ih_l1 = nn.Parameter(module.weight_ih_l1 * 2)


def change_in_place(module: nn.RNNBase) -> None:
    with torch.no_grad():
        module.weight_hh_l1_reverse.mul_(2)
    module.bias_ih_l0.data = torch.ones_like(module.bias_ih_l0)


def tie(module: nn.RNNBase) -> None:
    """One parameter for two directions; its gradient is the sum of both."""
    module.weight_hh_l0_reverse = module.weight_hh_l0


def freeze(module: nn.RNNBase) -> None:
    change_in_place(module)
    module.weight_hh_l0.requires_grad_(False)
    module.bias_ih_l1.requires_grad_(False)


def weight_norm(module: nn.RNNBase) -> None:
    parametrizations.weight_norm(module, "weight_hh_l0")
    with torch.no_grad():
        module.parametrizations.weight_hh_l0.original0.mul_(2)


def spectral_norm(module: nn.RNNBase) -> None:
    """In training mode each read of the weight steps its power iteration: as often as torch.nn."""
    parametrizations.spectral_norm(module, "weight_hh_l0")
    parametrizations.spectral_norm(module, "weight_ih_l1")


CHANGES = [
    drop_weight,
    assign_flat_weights,
    assign_flat_weights_then_attribute,
    assign_attribute_then_flat_weights,
    assign_flat_weights_without_attribute,
    replace_parameter,
    change_in_place,
    tie,
    freeze,
    weight_norm,
    spectral_norm,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@each_cell
def test_change(cell: str, change: Callable[[nn.RNNBase], Any]) -> None:
    assert_equal_after(cell, change)


@each_cell
def test_weight_that_changes_at_each_call(cell: str) -> None:
    """A forward pre-hook that makes a new plain tensor each time, as weight drop has it."""
    results = []
    for library in (fused_rnn, nn):
        module = case_of(cell).module(library)
        drop_weight(module)

        def drop(module: nn.RNNBase, _: Any) -> None:
            module.weight_hh_l0 = nn.functional.dropout(module.weight_hh_l0_raw, 0.5)

        module.register_forward_pre_hook(drop)
        torch.manual_seed(15)
        results.append([run_module(module, case_of(cell).input()) for _ in range(3)])
    for ours, theirs in zip(*results, strict=True):
        assert_same(ours, theirs)
    assert not torch.equal(results[0][0]["output[0]"], results[0][1]["output[0]"])


@each_cell
def test_functional_call(cell: str) -> None:
    """Other weights for one call, with their gradients; afterwards the module has its own again."""
    case = case_of(cell)
    results = []
    for library in (fused_rnn, nn):
        module = case.module(library)
        before = module(case.input())[0]
        weights = {n: (2 * p.detach()).requires_grad_() for n, p in module.named_parameters()}
        output = torch.func.functional_call(module, weights, (case.input(),))
        loss = sum(t.square().sum() for _, t in tensors_in(output))
        gradients = torch.autograd.grad(loss, list(weights.values()))
        assert not torch.equal(output[0], before)
        assert torch.equal(module(case.input())[0], before)
        results.append(dict(tensors_in((output, gradients))))
    assert_same(*results)


@each_cell
def test_parametrization_can_be_removed(cell: str) -> None:
    case = case_of(cell)
    module = case.module(fused_rnn)
    cls = type(module)
    expected = module(case.input())[0]
    parametrizations.weight_norm(module, "weight_hh_l0")
    torch.testing.assert_close(module(case.input())[0], expected)
    parametrize.remove_parametrizations(module, "weight_hh_l0")
    assert type(module) is cls
    torch.testing.assert_close(module(case.input())[0], expected)


@each_cell
def test_frozen_weights_get_no_gradient(cell: str) -> None:
    module = case_of(cell).module(fused_rnn)
    freeze(module)
    module(case_of(cell).input())[0].sum().backward()
    frozen = {name for name, p in module.named_parameters() if p.grad is None}
    assert frozen == {"weight_hh_l0", "bias_ih_l1"}


@each_cell
def test_old_weight_norm(cell: str) -> None:
    """The deprecated one assigns a plain tensor in a forward pre-hook."""
    results = []
    for library in (fused_rnn, nn):
        module = case_of(cell).module(library)
        with pytest.warns(FutureWarning, match="weight_norm"):
            nn.utils.weight_norm(module, "weight_hh_l0")
        with torch.no_grad():
            module.weight_hh_l0_g.mul_(2)
        results.append(run_module(module, case_of(cell).input()))
    assert_same(*results)


class Doubled(nn.Module):
    """A parametrization that anything may be compared with."""

    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


@each_cell
def test_parametrized_cell(cell: str) -> None:
    results = []
    for library in (fused_rnn, nn):
        module = getattr(library, cell.split("_")[0].upper() + "Cell")(5, 7).double()
        module.load_state_dict({n: torch.ones_like(p) / 8 for n, p in module.named_parameters()})
        parametrize.register_parametrization(module, "weight_hh", Doubled())
        state = torch.ones(2, 7).double()
        hx = (state, state) if cell == "lstm" else state
        results.append(run_module(module, torch.ones(2, 5).double(), hx))
    assert_same(*results)
