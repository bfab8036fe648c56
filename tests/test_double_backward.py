"""The op behind second derivatives: what it takes, what it reads, and what it leaves out.

That its results are right is test_derivatives.py's.
"""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import fused_rnn
from cases import CASES, REGIME_CASES, Case, each_cell, over, random
from compare import Results, assert_same, leaf
from test_reference import both_directions, run

OPS = torch.ops.fused_rnn
ARGUMENTS = ("xg", "h_0", "c_0", "weight_hh", "bias_hh", "weight_hr")
RESULTS = ("grad_output", "grad_h_n", "grad_c_n", *ARGUMENTS)
MASKED = ("h_0", "weight_hh", "bias_hh", "weight_hr")


def second_arguments(
    case: Case, dtype: torch.dtype = torch.float64, reverse: bool = False
) -> dict[str, Any]:
    """The op's arguments by their names, of a recurrence over xg."""
    given = {"c_0": None, "bias_hh": None, "weight_hr": None, **case.recurrence(dtype)}
    along = {f"along_{name}": given[name] for name in ARGUMENTS}
    xg = given.pop("xg")
    made = OPS.recurrence_train(xg, **given, reverse=reverse)
    grads = dict(zip(("grad_output", "grad_h_n", "grad_c_n"), made[:3], strict=True))
    kept = dict(zip(("output", "cells", "tape"), (made[0], *made[3:]), strict=True))
    of = {"input": xg, "weight_ih": None, "bias_ih": None, **given, **kept}
    return {**grads, **along, **of, "reverse": reverse, "output_mask": [True] * 4}


def projected(arguments: dict[str, Any]) -> dict[str, Any]:
    """The same with an input and weights that make xg, which has become what it may be so."""
    steps, gates = arguments["input"].shape[:-1], arguments["weight_hh"].size(0)
    x = random(*steps, 4, dtype=torch.float64, seed=30)
    weight_ih = random(gates, 4, dtype=torch.float64, seed=31)
    return {**arguments, "input": x, "weight_ih": weight_ih, "bias_ih": weight_ih[:, 0]}


def second(arguments: dict[str, Any]) -> Results:
    """The op's results by name, without those that are None."""
    found = zip(RESULTS, OPS.recurrence_double_backward(**arguments), strict=True)
    return {name: tensor for name, tensor in found if tensor is not None}


@both_directions
@over(CASES + REGIME_CASES)
def test_the_input_is_not_read(case: Case, reverse: bool) -> None:
    """What forward left says all of it."""
    arguments = second_arguments(case, reverse=reverse)
    nothing = torch.full_like(arguments["input"], float("nan"))
    found = second({**arguments, "input": nothing})
    for name, tensor in second(arguments).items():
        assert torch.equal(found[name], tensor) and tensor.isfinite().all(), name


@both_directions
@over(CASES + REGIME_CASES)
def test_every_number_is_written(case: Case, reverse: bool) -> None:
    """Where algorithms are deterministic, memory is full of NaN before any pass."""
    assert torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    try:
        found = run(fused_rnn.functional.layer, case.layer(), reverse=reverse)
        found |= second(second_arguments(case, reverse=reverse))
    finally:
        torch.use_deterministic_algorithms(False)
    for name, tensor in found.items():
        assert tensor.isfinite().all(), name


@pytest.mark.parametrize("wanted", MASKED)
@over([Case("lstm", proj_size=3), Case("gru"), Case("lstm", proj_size=3, lengths=(9, 4, 4, 2, 1))])
def test_what_is_not_wanted_is_not_made(case: Case, wanted: str) -> None:
    arguments = second_arguments(case)
    expected = second(arguments)
    arguments["output_mask"] = [name == wanted for name in MASKED]
    found = second(arguments)
    assert found.keys() == expected.keys() - set(MASKED) | ({wanted} & expected.keys())
    assert_same(found, {name: expected[name] for name in found})


class Masks(TorchDispatchMode):
    """Notes which gradients are asked of the ops that have an output_mask."""

    def __init__(self) -> None:
        super().__init__()
        self.masks: dict[str, list[bool]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        names = [argument.name for argument in func._schema.arguments]
        if "output_mask" in names:
            self.masks[func.overloadpacket.__name__] = args[names.index("output_mask")]
        return func(*args, **(kwargs or {}))


@each_cell
def test_nothing_is_made_for_frozen_weights(cell: str) -> None:
    layer = Case(cell).module(fused_rnn).requires_grad_(False)
    x = leaf(random(9, 5, 5, dtype=torch.float64, seed=2))
    (slope,) = torch.autograd.grad(layer(x)[0].pow(3).sum(), x, create_graph=True)
    with Masks() as mode:
        torch.autograd.grad(slope.pow(2).sum(), x)
    masks = {name: [bool(wanted) for wanted in mask] for name, mask in mode.masks.items()}
    assert masks["recurrence_double_backward"] == [False] * 4
    assert masks["linear_backward"] == [True, False, False]


@each_cell
def test_checks_its_arguments(cell: str) -> None:
    arguments = second_arguments(Case(cell))
    second(arguments)
    names = ("grad_output", "grad_h_n", "grad_c_n", *(f"along_{name}" for name in ARGUMENTS))
    for name in (*names, "h_0", "c_0", "weight_hh", "bias_hh", "output", "cells", "tape"):
        if arguments[name] is None:
            continue
        for wrong in (
            arguments[name].float(),
            arguments[name][..., :-1],
            arguments[name].to("meta"),
        ):
            with pytest.raises(RuntimeError, match=f"{name}: expected"):
                second({**arguments, name: wrong})
    for name in ("cells", "tape"):
        if arguments[name] is not None:
            with pytest.raises(RuntimeError, match=f"{name}: expected a tensor for the cell"):
                second({**arguments, name: None})
    for name in ("along_weight_hr", "bias_ih"):
        with pytest.raises(RuntimeError, match=f"{name}: expected None"):
            second({**arguments, name: torch.zeros(3, 7, dtype=torch.float64)})
    with pytest.raises(RuntimeError, match=r"input: expected 3 dimensions"):
        second({**arguments, "input": arguments["input"][0, 0]})
    layer = projected(arguments)
    second(layer)
    for name in ("weight_ih", "bias_ih"):
        with pytest.raises(RuntimeError, match=rf"{name}: expected shape \[\d+"):
            second({**layer, name: layer[name][..., :-1]})


@each_cell
def test_output_written_to_after_backward(cell: str) -> None:
    """It has become a part of the second derivative too: a word, and no wrong number."""
    x = leaf(random(9, 5, 5, dtype=torch.float64, seed=2))
    output = Case(cell).module(fused_rnn)(x)[0]
    (slope,) = torch.autograd.grad(output.sum(), x, create_graph=True)
    output.detach().zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        slope.sum().backward()
