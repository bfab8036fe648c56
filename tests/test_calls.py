"""Calls of the ops from Python: past torch.ops where that is the same, through it where not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils import parametrize, prune
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import fused_rnn
from fused_rnn import _C, ops

OP = torch.ops.fused_rnn.layer.default


def arguments(*, c: bool = True, bias: bool = True) -> list[Any]:
    """Of `layer` for an LSTM or, without c, a GRU: 5 features, 4 units."""
    torch.manual_seed(0)
    rows = (4 if c else 3) * 4
    biases = [torch.randn(rows) if bias else None for _ in range(2)]
    h, c_0 = torch.randn(2, 4), torch.randn(2, 4) if c else None
    weights = torch.randn(rows, 5), torch.randn(rows, 4)
    x = torch.randn(1, 2, 5)
    cell = "lstm" if c else "gru"
    return [x, weights[0], biases[0], h, c_0, weights[1], biases[1], None, None, cell, False]


def as_step(layer: list[Any]) -> list[Any]:
    return [layer[0][0], *layer[1:7], layer[9]]


class Seen(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.functions: list[object] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.functions.append(func)
        return func(*args, **(kwargs or {}))


class Dispatched(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.functions: list[object] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.functions.append(func)
        return func(*args, **(kwargs or {}))


class Logged(Tensor):
    functions: list[object] = []

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        cls.functions.append(func)
        return super().__torch_function__(func, types, args, kwargs or {})


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("c", [True, False])
def test_the_same_as_the_op(c: bool, bias: bool) -> None:
    given = arguments(c=c, bias=bias)
    output, h_n, c_n = OP(*given)
    for result, expected in (
        (_C.layer(*given), (output, h_n, c_n)),
        (_C.step(*as_step(given)), (h_n, c_n)),
        (ops.layer(*given), (output, h_n, c_n)),
        (ops.step(*as_step(given)), (h_n, c_n)),
    ):
        for ours, theirs in zip(result, expected, strict=True):
            assert theirs is None if ours is None else torch.equal(ours, theirs)


CALLS = [(ops.layer, lambda given: given), (ops.step, as_step)]
each_call = pytest.mark.parametrize(("call", "of"), CALLS, ids=["layer", "step"])


@each_call
def test_a_function_mode_sees_the_op(call: Callable[..., Any], of: Callable[..., Any]) -> None:
    with Seen() as seen:
        call(*of(arguments()))
    assert OP in seen.functions


@each_call
def test_a_subclass_sees_the_op(call: Callable[..., Any], of: Callable[..., Any]) -> None:
    given = arguments()
    given[1] = given[1].as_subclass(Logged)
    Logged.functions.clear()
    assert isinstance(call(*of(given))[0], Logged)
    assert OP in Logged.functions


@each_call
def test_a_dispatch_mode_sees_the_op(call: Callable[..., Any], of: Callable[..., Any]) -> None:
    with Dispatched() as seen:
        call(*of(arguments()))
    assert OP in seen.functions


@each_call
@pytest.mark.parametrize("place", [1, 3, 5])
@pytest.mark.parametrize("wrong", [None, 1.5, "x"], ids=str)
def test_wrong_types_are_the_ops_errors(
    call: Callable[..., Any], of: Callable[..., Any], place: int, wrong: object
) -> None:
    given = arguments()
    given[place] = wrong
    with pytest.raises(Exception) as expected:  # noqa: PT011, the op's, whatever it is
        OP(*given)
    with pytest.raises(expected.type) as raised:
        call(*of(given))
    assert str(raised.value) == str(expected.value)


@pytest.mark.parametrize("reverse", [True, 1, np.True_, torch.tensor(True), False, 0], ids=repr)
def test_truth_is_the_ops(reverse: Any) -> None:
    given = arguments()
    given[0] = torch.randn(3, 2, 5)
    given[-1] = reverse
    for ours, theirs in zip(ops.layer(*given), OP(*given), strict=True):
        assert torch.equal(ours, theirs)


def test_what_has_no_truth() -> None:
    with pytest.raises(RuntimeError, match="reverse"):
        ops.layer(*arguments()[:-1], "no")  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace")
def test_trace() -> None:
    x, *rest = arguments()
    traced = torch.jit.trace(lambda x: ops.layer(x, *rest)[0], (x,))
    assert "fused_rnn::layer" in str(traced.graph)
    other = torch.randn_like(x)
    torch.testing.assert_close(traced(other), OP(other, *rest)[0])


@each_call
def test_an_unknown_cell(call: Callable[..., Any], of: Callable[..., Any]) -> None:
    given = of(arguments())
    given[given.index("lstm")] = "lstn"
    with pytest.raises(ValueError, match="lstn"):
        call(*given)


class Doubled(torch.nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def test_weights_of_a_cell_that_are_computed() -> None:
    cell, plain = fused_rnn.LSTMCell(5, 4), fused_rnn.LSTMCell(5, 4)
    x = torch.randn(3, 5)
    plain.load_state_dict(cell.state_dict())
    plain.weight_hh.data.mul_(2)
    parametrize.register_parametrization(cell, "weight_hh", Doubled())
    torch.testing.assert_close(cell(x), plain(x))
    parametrize.remove_parametrizations(cell, "weight_hh")
    prune.random_unstructured(cell, "weight_ih", amount=0.5)
    plain.weight_ih.data.copy_(cell.weight_ih)
    torch.testing.assert_close(cell(x), plain(x))


class Scaled(fused_rnn.GRUCell):
    def __getattr__(self, name: str) -> Any:
        value = super().__getattr__(name)
        return 2 * value if name == "weight_hh" else value


def test_weights_of_a_cell_that_are_hidden() -> None:
    cell, plain = fused_rnn.GRUCell(5, 4), fused_rnn.GRUCell(5, 4)
    scaled = Scaled(5, 4)
    for other in (plain, scaled):
        other.load_state_dict(cell.state_dict())
    x, h = torch.randn(3, 5), torch.randn(3, 4)
    cell.__dict__["weight_hh"] = 2 * plain.weight_hh
    torch.testing.assert_close(cell(x, h), scaled(x, h))
    plain.weight_hh.data.mul_(2)
    torch.testing.assert_close(cell(x, h), plain(x, h))


def test_modes_and_subclasses_see_the_op_of_a_layer() -> None:
    module, x = fused_rnn.GRU(5, 4), torch.randn(3, 2, 5)
    with Dispatched() as dispatched, torch.no_grad():
        module(x)
    with Seen() as seen:
        module(x)
    Logged.functions.clear()
    assert isinstance(module(x.as_subclass(Logged))[0], Logged)
    assert OP in dispatched.functions and OP in seen.functions and OP in Logged.functions


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("given", [True, False], ids=["hx", "zeros"])
@pytest.mark.parametrize("module", [fused_rnn.GRU(5, 4, 2), fused_rnn.GRUCell(5, 4)], ids=str)
def test_a_traced_module_takes_other_sizes(module: torch.nn.Module, given: bool) -> None:
    def arguments(batch: int) -> tuple[Tensor, ...]:
        is_layer = isinstance(module, torch.nn.RNNBase)
        x, hx = ((3, batch, 5), (2, batch, 4)) if is_layer else ((batch, 5), (batch, 4))
        leaf = torch.randn(x, requires_grad=True)
        return (leaf, torch.randn(hx)) if given else (leaf,)

    traced = torch.jit.trace(module, arguments(2))
    for batch in (2, 3):
        for ours, theirs in zip(traced(*(a := arguments(batch))), module(*a), strict=True):
            assert torch.equal(ours, theirs)


class Counted(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, weight: Tensor) -> Tensor:
        self.calls += 1
        return weight


@pytest.mark.parametrize(
    "arguments",
    [(torch.ones(2, 5),), (torch.ones(5),), (torch.ones(2, 5), torch.ones(2, 4))],
    ids=["zeros", "unbatched", "hx"],
)
@pytest.mark.parametrize("weight", ["weight_ih", "weight_hh", "bias_ih", "bias_hh"])
def test_a_weight_of_a_cell_is_computed_once(arguments: tuple[Tensor, ...], weight: str) -> None:
    cell, counted = fused_rnn.GRUCell(5, 4), Counted()
    parametrize.register_parametrization(cell, weight, counted)
    counted.calls = 0
    cell(*arguments)
    assert counted.calls == 1


def test_a_step_under_autocast_is_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its input and its state come in another dtype than its weights."""
    cell, x, h = fused_rnn.GRUCell(5, 4), torch.ones(2, 5), torch.ones(2, 4)
    monkeypatch.setattr(cell, "_check_input", None)  # the long way calls it
    with torch.autocast("cpu"):
        assert cell(x.bfloat16(), h.bfloat16()).dtype == torch.bfloat16
        assert cell(x, h.bfloat16()).dtype == torch.bfloat16
