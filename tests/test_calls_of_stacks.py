"""A stack of layers in one call from Python: the results of many, and what is left to them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import fused_rnn
from fused_rnn import _C
from test_calls import OP, Logged, Seen

OPTIONS: list[dict[str, Any]] = [
    {},
    {"bias": False},
    {"num_layers": 2, "batch_first": True},
    {"num_layers": 2, "bidirectional": True},
]
STACKS = [(cell, options) for cell in ("RNN", "LSTM", "GRU", "projected") for options in OPTIONS]
STACKS.append(("RNN", {"nonlinearity": "relu"}))


@pytest.mark.parametrize("given", [True, False], ids=["hx", "zeros"])
@pytest.mark.parametrize(("cell", "options"), STACKS, ids=str)
def test_a_stack_in_one_call_is_the_stack(
    cell: str, options: dict[str, Any], given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    projected = {"proj_size": 3} if cell == "projected" else {}
    module = getattr(fused_rnn, "LSTM" if projected else cell)(5, 4, **options, **projected)
    x = torch.randn(3, 2, 5, requires_grad=True)
    count = options.get("num_layers", 1) * (2 if module.bidirectional else 1)
    batch = x.size(0 if module.batch_first else 1)
    h_0, c_0 = torch.randn(count, batch, 3 if projected else 4), torch.randn(count, batch, 4)
    hx = ((h_0, c_0) if module.mode == "LSTM" else h_0) if given else None

    def result() -> list[Tensor]:
        output, states = module(x, hx)
        states = states if isinstance(states, tuple) else (states,)
        loss = sum(t.square().sum() for t in (output, *states))
        return [output, *states, *torch.autograd.grad(loss, [x, *module.parameters()])]

    with Seen() as seen:  # which one call would not let see its ops
        expected = result()
    assert OP in seen.functions
    monkeypatch.setattr(type(module), "_run", None)
    for ours, theirs in zip(result(), expected, strict=True):
        assert torch.equal(ours, theirs)


def stack_arguments() -> dict[str, Any]:
    """Of two layers of an LSTM: 5 features, 4 units."""
    states = {"h_0": torch.zeros(2, 2, 4), "c_0": torch.zeros(2, 2, 4), "cell": "lstm"}
    flags = {"bias": False, "projection": False, "bidirectional": False, "batch_first": False}
    sizes = {"input_size": 5, "hidden_size": 4, "num_layers": 2}
    return {"input": torch.randn(3, 2, 5), **states, **flags, "weights": stack_weights(), **sizes}


def stack_weights() -> list[Any]:
    return [torch.zeros(16, n) for n in (5, 4, 4, 4)]


WRONG: list[tuple[str, Any]] = [
    ("input", None),
    ("input", torch.zeros(3, 2)),
    ("input", torch.zeros(3, 2, 4)),
    ("input", torch.zeros(3, 2, 5, dtype=torch.float64)),
    ("input", torch.zeros(3, 2, 5).to_sparse()),
    ("h_0", None),
    ("h_0", torch.zeros(2, 2, 3)),
    ("h_0", torch.zeros(2, 3, 4)),
    ("h_0", torch.zeros(2, 4)),
    ("c_0", None),
    ("c_0", torch.zeros(1, 2, 4)),
    ("cell", 1),
    ("cell", "gru"),
    ("bidirectional", 0),
    ("weights", []),
    ("weights", [None] * 4),
    ("weights", tuple(stack_weights())),
    ("weights", [*stack_weights(), torch.zeros(16, 4)]),
    ("weights", [*stack_weights()[:3], torch.zeros(16)]),
    ("weights", [stack_weights()[0].as_subclass(Logged), *stack_weights()[1:]]),
    ("input_size", 6),
    ("hidden_size", 5),
    ("num_layers", 1),
    ("num_layers", None),
]


@pytest.mark.parametrize(("name", "wrong"), WRONG, ids=lambda value: str(value).split("\n")[0][:40])
def test_what_a_stack_in_one_call_leaves_to_others(name: str, wrong: Any) -> None:
    given = stack_arguments()
    assert _C.stack(*given.values()) is not None
    assert _C.stack(*(given | {name: wrong}).values()) is None


def disagree(**attributes: Any) -> Callable[[torch.nn.RNNBase], None]:
    def change(module: torch.nn.RNNBase) -> None:
        for name, value in attributes.items():
            setattr(module, name, value)

    return change


def lose_a_weight(module: torch.nn.RNNBase) -> None:
    module._flat_weights = module._flat_weights[:-1]


DISAGREEMENTS = [
    disagree(input_size=7),
    disagree(num_layers=3),
    disagree(bidirectional=True),
    disagree(weight_ih_l0=torch.nn.Parameter(torch.zeros(12, 6))),
    lose_a_weight,
]


@pytest.mark.parametrize("change", DISAGREEMENTS)
def test_a_module_that_disagrees_with_itself(change: Callable[[torch.nn.RNNBase], None]) -> None:
    module = fused_rnn.GRU(5, 4, 2)
    change(module)
    hx = torch.zeros(2, 2, 4)
    with Seen(), pytest.raises(Exception) as expected:  # noqa: PT011, of the path of many calls
        module(torch.zeros(3, 2, 5), hx)
    with pytest.raises(expected.type) as raised:
        module(torch.zeros(3, 2, 5), hx)
    assert str(raised.value) == str(expected.value)
