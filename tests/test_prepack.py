"""Weights packed once give what weights packed in every call do, and not after they changed."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import fused_rnn
from backends import ISAS
from cases import CASES, REGIME_CASES, Case, each_cell, over, random
from compare import assert_as_accurate, assert_same, run_module, tensors_in
from fused_rnn import _C
from test_cells import arguments, module_of

LAYER = Case("lstm", hidden_size=40, steps=4, batch=32)  # whose weights a call would pack


@over(CASES)
def test_layers(case: Case) -> None:
    """Outputs and gradients, on every instruction set, and where the panels are another's."""
    module, x, hx = case.module(fused_rnn), case.input(), case.state()
    expected = run_module(module, x, hx)
    for isa in ISAS:
        _C.set_cpu_isa(isa)
        assert_same(run_module(module, x, hx), expected)
        assert fused_rnn.prepack(module) == 2 * case.states
        assert_same(run_module(module, x, hx), expected)


@over(REGIME_CASES)
def test_every_plan(case: Case) -> None:
    module, x, hx = case.module(fused_rnn), case.input(), case.state()
    with torch.inference_mode():
        expected = dict(tensors_in(module(x, hx), "output"))
        fused_rnn.prepack(module)
        assert_same(dict(tensors_in(module(x, hx), "output")), expected)


@each_cell
@pytest.mark.parametrize(("hidden_size", "batch"), [(1, 1), (7, 5), (33, 17), (40, 0), (40, 64)])
def test_cells(cell: str, hidden_size: int, batch: int) -> None:
    module = module_of(fused_rnn, cell, hidden_size).double()
    x, hx = arguments(cell, hidden_size, batch, torch.float64, given=True)
    expected = run_module(module, x, hx)
    assert fused_rnn.prepack(module) == 2
    assert_same(run_module(module, x, hx), expected)


@pytest.mark.parametrize(("cell", "batch"), [("rnn_tanh", 1), ("lstm", 2), ("gru", 8), ("gru", 32)])
def test_a_team_of_threads(cell: str, batch: int) -> None:
    """One step that is worth two threads, which then share the units."""
    case = Case(cell, input_size=900, hidden_size=1200, steps=1, batch=batch)
    module, x = case.module(fused_rnn, torch.float32), case.input(torch.float32)
    with torch.inference_mode():
        expected = module(x)[0]
        fused_rnn.prepack(module)
        alone = module(x)[0]
        torch.set_num_threads(2)
        assert torch.equal(module(x)[0], alone)
    assert torch.allclose(alone, expected, atol=1e-6)


def test_float32() -> None:
    """As accurate as before."""
    module, x, hx = LAYER.module(fused_rnn, torch.float32), LAYER.input(), LAYER.state()
    exact = copy.deepcopy(module).double()
    with torch.no_grad():
        expected = dict(tensors_in(exact(x, hx), "output"))
        x, hx = x.float(), tuple(state.float() for state in hx)
        before = dict(tensors_in(module(x, hx), "output"))
        fused_rnn.prepack(module)
        after = dict(tensors_in(module(x, hx), "output"))
    assert_as_accurate(after, before, expected)


def test_panels_are_for_so_many_gates() -> None:
    weight = random(160, 8, dtype=torch.float64, seed=2)
    x, h = (random(3, n, dtype=torch.float64, seed=3) for n in (8, 160))
    arguments = (weight, None, h, None, weight.new_ones(160, 160) / 160, None, "rnn_tanh")
    expected = _C.step(x, *arguments)
    for hidden in (40, 160):
        assert _C.prepack(weight, hidden) and _C.prepack(arguments[4], hidden)
        assert_same({"h": _C.step(x, *arguments)[0]}, {"h": expected[0]})


def with_noise(weight: Tensor) -> Tensor:
    return weight + 0.1 * random(*weight.shape, dtype=weight.dtype, seed=20)


def in_place(module: Any) -> None:
    with torch.no_grad():
        module.weight_hh_l0.copy_(with_noise(module.weight_hh_l0))


def one_value(module: Any) -> None:
    with torch.no_grad():
        module.weight_hh_l0[0, 0] += 1


def by_data(module: Any) -> None:
    module.weight_hh_l0.data = with_noise(module.weight_hh_l0.data)


def in_place_by_data(module: Any) -> None:
    """What torch does not count."""
    module.weight_hh_l0.data.copy_(with_noise(module.weight_hh_l0.data))


def transposed(module: Any) -> None:
    module.weight_hh_l0.data = module.weight_hh_l0.data.t()


def assigned(module: Any) -> None:
    module.weight_ih_l0 = nn.Parameter(with_noise(module.weight_ih_l0.detach()))


def loaded(module: Any) -> None:
    module.load_state_dict({n: with_noise(p) for n, p in module.state_dict().items()})


def optimised(module: Any) -> None:
    for parameter in module.parameters():
        parameter.grad = with_noise(torch.zeros_like(parameter))
    torch.optim.SGD(module.parameters(), lr=0.1).step()


def converted(module: Any) -> None:
    module.half().double()


@pytest.mark.parametrize(
    "change",
    [
        in_place,
        one_value,
        by_data,
        in_place_by_data,
        transposed,
        assigned,
        loaded,
        optimised,
        converted,
    ],
)
def test_a_change_is_seen(change: Callable[[Any], None]) -> None:
    case = Case("rnn_tanh", input_size=40, hidden_size=40, batch=32)  # weight_hh is square
    module, x, hx = case.module(fused_rnn), case.input(), case.state()
    fused_rnn.prepack(module)
    before = run_module(module, x, hx)
    change(module)
    fresh = case.module(fused_rnn)
    fresh.load_state_dict(module.state_dict())
    expected = run_module(fresh, x, hx)
    assert not torch.equal(expected["output[0]"], before["output[0]"])
    assert_same(run_module(module, x, hx), expected)


@pytest.mark.parametrize("part", ["weight_ih_l0", "weight_hh_l0"])
def test_the_panels_are_what_is_read(part: str) -> None:
    """A change of few values that torch does not count is not in effect, as the docstring says."""
    module, x = LAYER.module(fused_rnn), LAYER.input()
    with torch.inference_mode():
        fused_rnn.prepack(module)
        before = module(x)[0]
        getattr(module, part).data[0].mul_(2)
        assert torch.equal(module(x)[0], before)
        fused_rnn.prepack(module)
        assert not torch.allclose(module(x)[0], before)


@pytest.mark.parametrize("made", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_is_of_its_own(made: Callable[[Any], Any]) -> None:
    module, x, hx = LAYER.module(fused_rnn), LAYER.input(), LAYER.state()
    fused_rnn.prepack(module)
    copied = made(module)
    in_place(copied)
    fresh = LAYER.module(fused_rnn)
    assert_same(run_module(module, x, hx), run_module(fresh, x, hx))
    in_place(fresh)
    assert_same(run_module(copied, x, hx), run_module(fresh, x, hx))


def test_what_is_packed() -> None:
    """Parameters of our layers and cells, wherever they are in a model, on the CPU."""
    ours = fused_rnn.GRU(3, 4, num_layers=2, bidirectional=True)
    parametrized = nn.utils.parametrizations.weight_norm(fused_rnn.LSTM(3, 4), "weight_hh_l0")
    model = nn.Sequential(ours, nn.Linear(4, 4), nn.LSTM(4, 4), fused_rnn.RNNCell(3, 4))
    assert fused_rnn.prepack(model) == 8 + 2
    assert fused_rnn.prepack(parametrized) == 1
    with pytest.warns(FutureWarning, match="deprecated"):
        old = nn.utils.weight_norm(fused_rnn.LSTM(3, 4), "weight_hh_l0", dim=None)
    assert fused_rnn.prepack(old) == 1
    assert fused_rnn.prepack(fused_rnn.LSTM(3, 4, dtype=torch.bfloat16)) == 0
    with FakeTensorMode():
        assert fused_rnn.prepack(fused_rnn.LSTM(3, 4)) == 0
    assert fused_rnn.prepack(fused_rnn.LSTM(3, 4, device="meta")) == 0
    with pytest.warns(UserWarning, match="model: expected layers .* but LSTM has torch.nn's"):
        assert fused_rnn.prepack(nn.LSTM(4, 4)) == 0
    assert fused_rnn.prepack(nn.Linear(4, 4)) == 0
    with torch.inference_mode():
        assert fused_rnn.prepack(fused_rnn.LSTM(3, 4)) == 0


def test_errors() -> None:
    with pytest.raises(TypeError, match="model: expected a torch.nn.Module, but got list"):
        fused_rnn.prepack([fused_rnn.LSTM(3, 4)])  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="weight: expected .* with hidden 4, but got shape"):
        _C.prepack(torch.zeros(7, 4), 4)
    with pytest.raises(RuntimeError, match="weight: expected the gates of a cell, but got 2"):
        _C.prepack(torch.zeros(8, 4), 4)


def test_a_shallow_copy_has_no_panels() -> None:
    """Two parameters of one memory count their changes each for itself."""
    one, other = (fused_rnn.RNNCell(40, 40) for _ in range(2))
    x = random(32, 40, dtype=torch.float32, seed=2)
    fused_rnn.prepack(one)
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            parameter.data = getattr(one, name).data
        one.weight_hh[0] = 1
        fresh = fused_rnn.RNNCell(40, 40)
        fresh.load_state_dict(one.state_dict())
        assert torch.allclose(other(x, x), fresh(x, x), atol=1e-6)


def test_compiled() -> None:
    module, x = LAYER.module(fused_rnn, torch.float32).eval(), LAYER.input(torch.float32)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        for change in (lambda module: None, in_place):
            fused_rnn.prepack(module)
            change(module)
            fresh = LAYER.module(fused_rnn, torch.float32)
            fresh.load_state_dict(module.state_dict())
            assert torch.allclose(compiled(x)[0], fresh(x)[0], atol=1e-6)
