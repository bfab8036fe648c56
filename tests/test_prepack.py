"""Weights laid out once give what weights laid out in every call do, and not after they changed."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fused_rnn
from cases import CASES, REGIME_CASES, Case, each_cell, over, random
from compare import assert_as_accurate, assert_same, run_module, tensors_in
from fused_rnn import _C
from test_cells import arguments, module_of

LAYER = Case("lstm", hidden_size=40, steps=4, batch=32)  # whose weights a call would pack


def weights_of(module: nn.Module) -> int:
    return sum(name.startswith(("weight_ih", "weight_hh")) for name, _ in module.named_parameters())


@over(CASES)
def test_layers(case: Case) -> None:
    """Outputs and gradients, on every instruction set."""
    module, x, hx = case.module(fused_rnn), case.input(), case.state()
    expected = run_module(module, x, hx)
    for isa in _C.available_cpu_isas():
        _C.set_cpu_isa(isa)
        assert fused_rnn.prepack(module) == weights_of(module)
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_lower_precision(dtype: torch.dtype) -> None:
    """As accurate as before; float16 and bfloat16 are laid out in float32."""
    module, x, hx = LAYER.module(fused_rnn, dtype), LAYER.input(dtype), LAYER.state(dtype)
    exact = copy.deepcopy(module).double()
    with torch.no_grad():
        wide = tuple(state.double() for state in hx)
        expected = dict(tensors_in(exact(x.double(), wide), "output"))
        before = dict(tensors_in(module(x, hx), "output"))
        fused_rnn.prepack(module)
        after = dict(tensors_in(module(x, hx), "output"))
    assert_as_accurate(after, before, expected)


def with_noise(weight: Tensor) -> Tensor:
    return weight + 0.1 * random(*weight.shape, dtype=weight.dtype, seed=20)


def in_place(module: Any) -> None:
    with torch.no_grad():
        module.weight_hh_l0.copy_(with_noise(module.weight_hh_l0))


def by_data(module: Any) -> None:
    module.weight_hh_l0.data = with_noise(module.weight_hh_l0.data)


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
    "change", [in_place, by_data, transposed, assigned, loaded, optimised, converted]
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
def test_the_layout_is_what_is_read(part: str) -> None:
    """What torch does not see is not in effect before the next prepack, as its docstring says."""
    module, x = LAYER.module(fused_rnn), LAYER.input()
    with torch.inference_mode():
        fused_rnn.prepack(module)
        before = module(x)[0]
        getattr(module, part).data.mul_(2)
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


def test_what_is_laid_out() -> None:
    """Parameters of our layers and cells, wherever they are in a model, on the CPU."""
    ours = fused_rnn.GRU(3, 4, num_layers=2, bidirectional=True)
    parametrized = nn.utils.parametrizations.weight_norm(fused_rnn.LSTM(3, 4), "weight_hh_l0")
    model = nn.Sequential(ours, nn.Linear(4, 4), nn.LSTM(4, 4), fused_rnn.RNNCell(3, 4))
    assert fused_rnn.prepack(model) == 8 + 2
    assert fused_rnn.prepack(parametrized) == 1
    assert fused_rnn.prepack(fused_rnn.LSTM(3, 4, device="meta")) == 0
    assert fused_rnn.prepack(nn.Linear(4, 4)) == 0


def test_errors() -> None:
    with pytest.raises(TypeError, match="model: expected a torch.nn.Module, but got list"):
        fused_rnn.prepack([fused_rnn.LSTM(3, 4)])  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="weight: expected .* with hidden 4, but got shape"):
        _C.prepack(torch.zeros(7, 4), 4)
    with pytest.raises(RuntimeError, match="weight: expected the gates of a cell, but got 2"):
        _C.prepack(torch.zeros(8, 4), 4)


def test_compiled() -> None:
    module, x = LAYER.module(fused_rnn, torch.float32).eval(), LAYER.input(torch.float32)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        expected = module(x)[0]
        fused_rnn.prepack(module)
        assert torch.allclose(compiled(x)[0], expected, atol=1e-6)
        in_place(module)
        assert torch.allclose(compiled(x)[0], module(x)[0], atol=1e-6)
