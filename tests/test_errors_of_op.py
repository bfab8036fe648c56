"""The op checks each argument and names it; nothing reads out of bounds."""

from typing import Any

import pytest
import torch

from cases import CELLS, Case
from fused_rnn import functional

each_cell = pytest.mark.parametrize("cell", CELLS)
TENSORS = ("xg", "h_0", "c_0", "weight_hh", "bias_hh", "weight_hr", "batch_sizes")
LSTM = Case("lstm", proj_size=3, steps=4, batch=3, lengths=(4, 2, 1))


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("value", [3, [1.0], "text"], ids=repr)
def test_no_tensor(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{name}: expected a Tensor.*, but got"):
        functional.recurrence(**{**LSTM.recurrence(), name: value})


@pytest.mark.parametrize("name", ["xg", "h_0", "c_0", "weight_hh", "bias_hh", "weight_hr"])
@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.float(),
        lambda t: t.long(),
        lambda t: t.to(torch.complex128),
        lambda t: t.to(torch.float8_e4m3fn),
        lambda t: t.to_sparse(),
        lambda t: t.to("meta"),
        lambda t: t[None],
        lambda t: t[0],
        lambda t: t[..., :-1],
        lambda t: torch.cat([t, t]),
        lambda t: t[:0],
        lambda t: t[..., :0],
    ],
    ids=["float32", "int64", "complex", "float8", "sparse", "meta", "rank+1", "rank-1", "narrow",
         "doubled", "empty", "no features"],
)  # fmt: skip
def test_bad_tensor(name: str, change: Any) -> None:
    arguments = LSTM.recurrence()
    arguments[name] = change(arguments[name])
    with pytest.raises(RuntimeError) as caught:
        functional.recurrence(**arguments)
    # A change of xg or of a weight may make others not fit to it; some argument is named always.
    assert any(f"{tensor}: expected" in str(caught.value) for tensor in TENSORS), caught.value


@each_cell
def test_missing_and_superfluous_tensors(cell: str) -> None:
    arguments = Case(cell, steps=2).recurrence()
    c_0 = None if cell == "lstm" else arguments["h_0"]
    with pytest.raises(RuntimeError, match="c_0: expected"):
        functional.recurrence(**{**arguments, "c_0": c_0})
    if cell != "lstm":
        with pytest.raises(RuntimeError, match="weight_hr: expected"):
            functional.recurrence(**arguments, weight_hr=torch.ones(3, 7).double())


@pytest.mark.parametrize(
    "sizes",
    [
        [3, 2, 1],  # sum too small
        [3, 2, 1, 1, 1],  # sum too large
        [2, 2, 2, 1],  # first is not the batch
        [3, 1, 2, 1],  # increases
        [3, 2, 2, 0],  # no sequence
        [3, 5, -2, 1],
        [3, 2, 1, 2**62],
        [2**62, 2**62, 2**62, 2**62],
        [-(2**63)],
        [],
    ],
    ids=str,
)
@each_cell
def test_inconsistent_batch_sizes(cell: str, sizes: list[int]) -> None:
    case = Case(cell, steps=4, batch=3, lengths=(4, 2, 1))
    assert case.recurrence()["batch_sizes"].tolist() == [3, 2, 1, 1]
    batch_sizes = torch.tensor(sizes, dtype=torch.int64)
    with pytest.raises(RuntimeError, match="batch_sizes: expected"):
        functional.recurrence(**{**case.recurrence(), "batch_sizes": batch_sizes})


@pytest.mark.parametrize(
    "change",
    [lambda t: t.int(), lambda t: t.double(), lambda t: t[None], lambda t: t.sum(), torch.diag],
    ids=["int32", "float64", "rank 2", "rank 0", "matrix"],
)
def test_bad_batch_sizes_tensor(change: Any) -> None:
    arguments = LSTM.recurrence()
    arguments["batch_sizes"] = change(arguments["batch_sizes"])
    with pytest.raises(RuntimeError, match="batch_sizes: expected"):
        functional.recurrence(**arguments)


@pytest.mark.parametrize("cell", ["LSTM", "rnn", ""])
def test_unknown_cell(cell: str) -> None:
    arguments = Case("gru").recurrence()
    known = "'rnn_tanh', 'rnn_relu', 'lstm', 'gru'"
    with pytest.raises(ValueError, match=f"cell: expected one of {known}, but got '{cell}'"):
        functional.recurrence(**{**arguments, "cell": cell})


def test_cell_that_is_no_text() -> None:
    with pytest.raises(RuntimeError, match="for argument 'cell'"):
        functional.recurrence(**{**Case("gru").recurrence(), "cell": 3})


def test_layer_names_its_own_arguments() -> None:
    arguments = Case("gru").recurrence()
    del arguments["xg"]
    x, weight_ih = torch.ones(9, 5, 5).double(), torch.ones(21, 5).double()
    with pytest.raises(TypeError, match="input: expected a Tensor, but got list"):
        functional.layer(input=[1.0], weight_ih=weight_ih, **arguments)
    with pytest.raises(TypeError, match="weight_ih: expected a Tensor, but got NoneType"):
        functional.layer(input=x, weight_ih=None, **arguments)
    with pytest.raises(TypeError, match="bias_ih: expected a Tensor or None, but got int"):
        functional.layer(input=x, weight_ih=weight_ih, bias_ih=1, **arguments)
    with pytest.raises(TypeError, match="weight_hh: expected a Tensor, but got NoneType"):
        functional.layer(input=x, weight_ih=weight_ih, **{**arguments, "weight_hh": None})


@each_cell
def test_second_derivative_is_refused(cell: str) -> None:
    """First order only in this release: an error, never a wrong number."""
    arguments = Case(cell, steps=2, batch=2).recurrence()
    xg = arguments["xg"].requires_grad_()
    output, _, _ = functional.recurrence(**arguments)
    with pytest.raises(RuntimeError, match="[Ss]econd|double backward|not implemented|derivative"):
        (gradient,) = torch.autograd.grad(output.square().sum(), xg, create_graph=True)
        gradient.square().sum().backward()


@each_cell
def test_forward_mode_is_refused(cell: str) -> None:
    import torch.autograd.forward_ad as forward_ad

    arguments = Case(cell, steps=2, batch=2).recurrence()
    with forward_ad.dual_level():
        xg = forward_ad.make_dual(arguments["xg"], torch.ones_like(arguments["xg"]))
        with pytest.raises(NotImplementedError):
            functional.recurrence(**{**arguments, "xg": xg})
