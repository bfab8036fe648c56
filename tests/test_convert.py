"""`convert` and `revert` change classes in place and nothing else, and say what they cannot do."""

import copy
import pickle
import re
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

import fused_rnn
from cases import Case, each_cell
from compare import assert_same, run_module

NAMES = ("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell")
each_name = pytest.mark.parametrize("name", NAMES)


class Tagger(nn.Module):
    """A model with nested, shared and foreign modules."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.encoder = nn.ModuleDict({"low": nn.LSTM(4, 3, 2, bidirectional=True, dropout=0.1)})
        self.decoder = nn.Sequential(OrderedDict(rnn=nn.RNN(6, 5, nonlinearity="relu")))
        self.shared = self.decoder.rnn
        self.cells = nn.ModuleList([nn.GRUCell(5, 5), nn.LSTMCell(5, 5), nn.RNNCell(5, 5)])
        self.gru = nn.GRU(5, 2, batch_first=True)
        self.head = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x, _ = self.encoder["low"](self.embedding(x))
        x, _ = self.shared(x)
        x = torch.stack([self.cells[0](step) for step in x])
        return self.head(self.gru(x)[0])


def snapshot(model: nn.Module) -> dict[str, Any]:
    """Everything that a swap must leave as it was, by identity where that is the point."""
    return {
        name: (id(module), module.training, list(module._parameters), vars(module).copy())
        for name, module in model.named_modules(remove_duplicate=False)
    } | {name: id(parameter) for name, parameter in model.named_parameters()}


def test_whole_model() -> None:
    model = Tagger().double()
    model.gru.eval()
    model.gru.register_forward_hook(lambda *_: None)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    tokens = torch.randint(10, (6, 3))
    before, described = snapshot(model), repr(model)
    classes = [type(module) for module in model.modules()]
    torch.manual_seed(1)
    expected = model(tokens)

    converted = fused_rnn.convert(model)
    assert converted == 6 and converted.skipped == {}
    assert snapshot(model) == before and repr(model) == described
    ours = {name: type(m) for name, m in model.named_modules() if type(m).__name__ in NAMES}
    assert len(ours) == 6
    assert all(cls is getattr(fused_rnn, cls.__name__) for cls in ours.values())
    assert model.shared is model.decoder.rnn
    torch.manual_seed(1)
    torch.testing.assert_close(model(tokens), expected, rtol=1e-12, atol=1e-12)
    model(tokens).sum().backward()
    optimizer.step()

    reverted = fused_rnn.revert(model)
    assert reverted == 6 and reverted.skipped == {}
    assert snapshot(model).keys() == before.keys()
    assert [type(module) for module in model.modules()] == classes


@each_name
def test_model_that_is_one_layer(name: str) -> None:
    module: Any = getattr(nn, name)(3, 4)
    assert fused_rnn.convert(module) == 1 and type(module) is getattr(fused_rnn, name)
    assert fused_rnn.convert(module) == 0 and fused_rnn.convert(module).skipped == {}
    assert fused_rnn.revert(module) == 1 and type(module) is getattr(nn, name)
    assert fused_rnn.revert(module) == 0 and fused_rnn.revert(module).skipped == {}


@each_cell
def test_same_results_after_each_step(cell: str) -> None:
    case = Case(cell, num_layers=2, bidirectional=True)
    module = case.module(nn)
    expected = run_module(module, case.input(), case.state())
    for swap in (fused_rnn.convert, fused_rnn.revert, fused_rnn.convert):
        assert swap(module) == 1
        assert_same(run_module(module, case.input(), case.state()), expected)


@each_name
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_converted_module_can_be_copied(name: str, copied: Any) -> None:
    module: Any = getattr(nn, name)(3, 4)
    fused_rnn.convert(module)
    other = copied(module)
    assert type(other) is getattr(fused_rnn, name)
    torch.testing.assert_close(other(torch.ones(2, 3)), module(torch.ones(2, 3)))


@each_cell
def test_plain_tensor_weight(cell: str) -> None:
    """A layer whose weight is no Parameter is taken, with that tensor."""
    case = Case(cell)
    module = case.module(nn)
    weight = 2 * module.weight_hh_l0.detach()
    del module.weight_hh_l0
    module.weight_hh_l0 = weight
    expected = run_module(module, case.input())
    assert fused_rnn.convert(module) == 1
    assert module.weight_hh_l0 is weight
    assert_same(run_module(module, case.input()), expected)


@each_cell
def test_assigned_flat_weights(cell: str) -> None:
    case = Case(cell)
    module = case.module(nn)
    module._flat_weights = [2 * w.detach() for w in module._flat_weights]
    expected = run_module(module, case.input())
    assert fused_rnn.convert(module) == 1
    assert_same(run_module(module, case.input()), expected)


@each_cell
def test_parametrized_layer(cell: str) -> None:
    """The parametrization stays, works and can be removed; a copy made before is left alone."""
    case = Case(cell)
    module = case.module(nn)
    theirs, ours = type(module), getattr(fused_rnn, type(module).__name__)
    parametrizations.weight_norm(module, "weight_hh_l0")
    parametrizations.weight_norm(module, "weight_ih_l0")
    sibling = copy.deepcopy(module)
    expected = run_module(sibling, case.input())
    assert fused_rnn.convert(module) == 1
    assert parametrize.is_parametrized(module, "weight_hh_l0")
    assert isinstance(module, ours) and not isinstance(module, theirs)
    assert isinstance(sibling, theirs)
    assert_same(run_module(copy.deepcopy(module), case.input()), expected)
    assert_same(run_module(module, case.input()), expected)
    parametrize.remove_parametrizations(module, "weight_hh_l0")
    assert fused_rnn.revert(module) == 1
    assert isinstance(module, theirs)
    parametrize.remove_parametrizations(module, "weight_ih_l0")
    assert type(module) is theirs
    torch.testing.assert_close(module(case.input())[0], expected["output[0]"])


class Subclass(nn.LSTM):
    """A layer with a forward of its own."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x)[0]


def with_own_forward() -> nn.Module:
    module = nn.GRU(3, 4)
    module.forward = lambda x: x  # type: ignore[method-assign]
    return module


def quantized() -> nn.Module:
    return torch.ao.nn.quantized.dynamic.GRUCell(3, 4)


def parametrized_subclass() -> nn.Module:
    return parametrizations.weight_norm(Subclass(3, 4), "weight_hh_l0")


LEFT_ALONE = {
    "subclass": (lambda: Subclass(3, 4), "Subclass is a subclass"),
    "parametrized subclass": (parametrized_subclass, "ParametrizedSubclass is a subclass"),
    "forward on the instance": (with_own_forward, "its forward is replaced on the instance"),
    "dtype": (
        lambda: nn.LSTM(3, 4, dtype=torch.complex64),
        "no kernels for its dtype, .*complex64",
    ),
    "quantized": (quantized, "quantized"),
}


@pytest.mark.parametrize("kind", LEFT_ALONE)
@pytest.mark.filterwarnings("ignore:.*quantiz.* deprecated")
def test_left_alone_with_a_reason(kind: str) -> None:
    make, reason = LEFT_ALONE[kind]
    module = make()
    model = nn.Sequential(nn.Linear(2, 2), nn.ModuleDict({"rnn": module}), nn.RNN(3, 3))
    before = type(module), vars(module).copy()
    converted = fused_rnn.convert(model)
    assert converted == 1
    assert converted.skipped.keys() == {"1.rnn"}
    assert re.search(reason, converted.skipped["1.rnn"])
    assert (type(module), vars(module)) == before


def test_device_without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without such a device, a build without kernels for this one stands for it."""
    monkeypatch.setattr(fused_rnn.ops, "device_types", lambda: ("cuda",))
    converted = fused_rnn.convert(nn.Sequential(nn.LSTM(3, 4)))
    assert converted == 0
    assert converted.skipped == {"0": "there are no kernels for its device, cpu"}


def test_torchscript_is_left_alone() -> None:
    model = nn.Sequential(torch.jit.script(nn.LSTM(3, 4)), torch.jit.script(nn.Linear(3, 4)))
    assert fused_rnn.convert(model).skipped == {"0": "it is compiled by TorchScript"}


def test_revert_leaves_subclasses_of_ours_alone() -> None:
    class Own(fused_rnn.LSTM):
        pass

    model = nn.Sequential(Own(3, 4), nn.LSTM(3, 4))
    assert fused_rnn.convert(model) == 1
    reverted = fused_rnn.revert(model)
    assert reverted == 1 and reverted.skipped.keys() == {"0"}
    assert type(model[0]) is Own and type(model[1]) is nn.LSTM


def test_result_is_an_int_that_tells_more() -> None:
    converted = fused_rnn.convert(nn.ModuleDict({"a": nn.GRU(3, 4), "b": Subclass(3, 4)}))
    assert isinstance(converted, int) and converted == 1 and f"{converted}" == str(converted) == "1"
    assert repr(converted).startswith("Conversion(1, skipped={'b': ")
    assert pickle.loads(pickle.dumps(converted)).skipped == converted.skipped


@pytest.mark.parametrize("swap", [fused_rnn.convert, fused_rnn.revert])
def test_no_module(swap: Any) -> None:
    with pytest.raises(TypeError, match="model: expected a torch.nn.Module, but got list"):
        swap([nn.LSTM(3, 4)])
