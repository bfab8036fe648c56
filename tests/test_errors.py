"""A bad call raises an exception of torch.nn's type that names the argument; none crashes."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import fused_rnn
from cases import Case, each_cell

BAD_CONSTRUCTIONS: dict[str, dict[str, Any]] = {
    "input_size float": {"input_size": 3.0},
    "input_size zero": {"input_size": 0},
    "hidden_size string": {"hidden_size": "4"},
    "hidden_size negative": {"hidden_size": -4},
    "num_layers zero": {"num_layers": 0},
    "bias int": {"bias": 1},
    "batch_first int": {"batch_first": 0},
    "dropout above one": {"dropout": 1.5},
    "dropout bool": {"dropout": True},
    "proj_size negative": {"proj_size": -1},
    "proj_size too large": {"proj_size": 4},
    "unknown argument": {"layers": 2},
}


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("bad", BAD_CONSTRUCTIONS)
def test_construction_fails_as_in_torch_nn(name: str, bad: str) -> None:
    arguments = {"input_size": 3, "hidden_size": 4, **BAD_CONSTRUCTIONS[bad]}
    errors = []
    for library in (nn, fused_rnn):
        with pytest.raises((TypeError, ValueError)) as caught:
            getattr(library, name)(**arguments)
        errors.append(caught.value)
    assert type(errors[0]) is type(errors[1])
    if bad != "unknown argument":  # its text is Python's and names the function
        assert str(errors[0]) == str(errors[1])


@pytest.mark.parametrize("name", ["RNN", "RNNCell"])
def test_unknown_nonlinearity(name: str) -> None:
    errors = []
    for library in (nn, fused_rnn):
        with pytest.raises((ValueError, RuntimeError)) as caught:
            getattr(library, name)(3, 4, nonlinearity="selu")(torch.ones(2, 3))
        errors.append(caught.value)
    assert (type(errors[0]), str(errors[0])) == (type(errors[1]), str(errors[1]))


def test_dropout_of_one_layer_warns() -> None:
    with pytest.warns(UserWarning, match="dropout option adds dropout after all but last"):
        fused_rnn.LSTM(3, 4, dropout=0.5)


def pair(cell: str, state: torch.Tensor) -> Any:
    return (state, state) if cell == "lstm" else state


# Arguments of a module of input_size 5 and hidden_size 7, float32.
BAD_CALLS: dict[str, Callable[[str], tuple[Any, Any]]] = {
    "input of rank 1": lambda cell: (torch.ones(5), None),
    "input of rank 4": lambda cell: (torch.ones(2, 3, 4, 5), None),
    "input of wrong features": lambda cell: (torch.ones(2, 3, 6), None),
    "input of another dtype": lambda cell: (torch.ones(2, 3, 5).double(), None),
    "integer input": lambda cell: (torch.ones(2, 3, 5).long(), None),
    "complex input": lambda cell: (torch.ones(2, 3, 5, dtype=torch.complex64), None),
    "state of wrong features": lambda cell: (torch.ones(2, 3, 5), pair(cell, torch.ones(1, 3, 8))),
    "state of wrong batch": lambda cell: (torch.ones(2, 3, 5), pair(cell, torch.ones(1, 2, 7))),
    "state of too many layers": lambda cell: (
        torch.ones(2, 3, 5),
        pair(cell, torch.ones(2, 3, 7)),
    ),
    "state of rank 2": lambda cell: (torch.ones(2, 3, 5), pair(cell, torch.ones(3, 7))),
    "unbatched with state of rank 3": lambda cell: (
        torch.ones(2, 5),
        pair(cell, torch.ones(1, 1, 7)),
    ),
}


@each_cell
@pytest.mark.parametrize("bad", BAD_CALLS)
def test_call_fails_as_in_torch_nn(cell: str, bad: str) -> None:
    errors = []
    for library in (nn, fused_rnn):
        with pytest.raises((ValueError, RuntimeError)) as caught:
            Case(cell).module(library, torch.float32)(*BAD_CALLS[bad](cell))
        errors.append(caught.value)
    assert (type(errors[0]), str(errors[0])) == (type(errors[1]), str(errors[1]))


OTHER_BAD_CALLS: dict[str, tuple[Callable[[str], tuple[Any, Any]], type, str]] = {
    "list": (lambda cell: ([[1.0]], None), TypeError, "input: expected a Tensor or a Packed"),
    "no input": (lambda cell: (None, None), TypeError, "input: expected .* got NoneType"),
    "state list": (lambda cell: (torch.ones(2, 3, 5), 3), TypeError, "hx: expected .* got int"),
    "state of integers": (
        lambda cell: (torch.ones(2, 3, 5), pair(cell, torch.ones(1, 3, 7).long())),
        RuntimeError,
        "h_0: expected dtype float32 .* got int64",
    ),
    "state of another dtype": (
        lambda cell: (torch.ones(2, 3, 5), pair(cell, torch.ones(1, 3, 7).double())),
        RuntimeError,
        "h_0: expected dtype float32 .* got float64",
    ),
    "state of another device": (
        lambda cell: (torch.ones(2, 3, 5), pair(cell, torch.ones(1, 3, 7, device="meta"))),
        RuntimeError,
        "h_0: expected device",
    ),
    "input of another device": (
        lambda cell: (torch.ones(2, 3, 5, device="meta"), None),
        RuntimeError,
        "device",
    ),
    "sparse input": (
        lambda cell: (torch.ones(2, 3, 5).to_sparse(), None),
        RuntimeError,
        "input: expected a dense",
    ),
    "sparse state": (
        lambda cell: (torch.ones(2, 3, 5), pair(cell, torch.ones(1, 3, 7).to_sparse())),
        RuntimeError,
        "hx.*: expected a dense",
    ),
    "packed of wrong features": (
        lambda cell: (pack_padded_sequence(torch.ones(3, 2, 6), [3, 1]), None),
        RuntimeError,
        "input.size.-1. must be equal to input_size. Expected 5, got 6",
    ),
    "packed with state of wrong batch": (
        lambda cell: (
            pack_padded_sequence(torch.ones(3, 2, 5), [1, 3], enforce_sorted=False),
            pair(cell, torch.ones(1, 3, 7)),
        ),
        RuntimeError,
        r"Expected hidden.* size \(1, 2, 7\), got \[1, 3, 7\]",
    ),
    "packed with increasing sizes": (
        lambda cell: (PackedSequence(torch.ones(5, 5), torch.tensor([2, 3])), None),
        RuntimeError,
        "batch_sizes: expected",
    ),
    "packed with sizes of another sum": (
        lambda cell: (PackedSequence(torch.ones(5, 5), torch.tensor([3, 3])), None),
        RuntimeError,
        "batch_sizes: expected",
    ),
    "packed with negative sizes": (
        lambda cell: (PackedSequence(torch.ones(5, 5), torch.tensor([-1, 6])), None),
        RuntimeError,
        "batch_sizes: expected",
    ),
    "packed with huge sizes": (
        lambda cell: (PackedSequence(torch.ones(5, 5), torch.tensor([2**62, 2**62])), None),
        RuntimeError,
        "batch_sizes: expected",
    ),
}


@each_cell
@pytest.mark.parametrize("bad", OTHER_BAD_CALLS)
def test_call_names_the_argument(cell: str, bad: str) -> None:
    arguments, error, message = OTHER_BAD_CALLS[bad]
    with pytest.raises(error, match=message):
        Case(cell).module(fused_rnn, torch.float32)(*arguments(cell))


@pytest.mark.parametrize(
    ("hx", "message"),
    [
        (torch.ones(2, 7), "hx: expected a tuple .h_0, c_0., but got Tensor"),
        ((torch.ones(1, 7),), "hx: expected a tuple .h_0, c_0., but got 1 elements"),
        ((torch.ones(1, 7), None), r"hx\[1\]: expected a Tensor, but got NoneType"),
        ((None, torch.ones(1, 7)), r"hx\[0\]: expected a Tensor, but got NoneType"),
        ((None, None), r"hx\[0\]: expected a Tensor, but got NoneType"),
    ],
    ids=["tensor", "one", "h only", "c only", "neither"],
)
def test_state_of_lstm_is_a_pair(hx: Any, message: str) -> None:
    for shape in ((2, 5), (2, 1, 5)):
        with pytest.raises(TypeError, match=message):
            fused_rnn.LSTM(5, 7)(torch.ones(shape), hx)
    with pytest.raises(TypeError, match=message):
        fused_rnn.LSTMCell(5, 7)(torch.ones(1, 5), hx)


@pytest.mark.parametrize("hx", [(torch.ones(1, 1, 7), None), (None, None)], ids=["h", "neither"])
@pytest.mark.parametrize("name", ["RNN", "GRU"])
def test_state_of_others_is_no_pair(name: str, hx: Any) -> None:
    with pytest.raises(TypeError, match="hx: expected a Tensor, but got tuple"):
        getattr(fused_rnn, name)(5, 7)(torch.ones(2, 1, 5), hx)


BAD_CELL_CALLS: dict[str, Callable[[str], tuple[Any, Any]]] = {
    "input of rank 3": lambda cell: (torch.ones(2, 3, 5), None),
    "input of rank 0": lambda cell: (torch.ones(()), None),
    "input of wrong features": lambda cell: (torch.ones(3, 6), None),
    "input of another dtype": lambda cell: (torch.ones(3, 5).double(), None),
    "input of another device": lambda cell: (torch.ones(3, 5, device="meta"), None),
    "state of another dtype": lambda cell: (
        torch.ones(3, 5),
        pair(cell, torch.ones(3, 7).double()),
    ),
    "state of another device": lambda cell: (
        torch.ones(3, 5),
        pair(cell, torch.ones(3, 7, device="meta")),
    ),
    "state of rank 3": lambda cell: (torch.ones(3, 5), pair(cell, torch.ones(1, 3, 7))),
    "state of wrong features": lambda cell: (torch.ones(3, 5), pair(cell, torch.ones(3, 8))),
    "state of wrong batch": lambda cell: (torch.ones(3, 5), pair(cell, torch.ones(2, 7))),
}


@pytest.mark.parametrize("bad", BAD_CELL_CALLS)
@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cell_fails_as_in_torch_nn(name: str, bad: str) -> None:
    cell = name.removesuffix("Cell").lower()
    errors = []
    for library in (nn, fused_rnn):
        with pytest.raises((ValueError, RuntimeError)) as caught:
            getattr(library, name)(5, 7)(*BAD_CELL_CALLS[bad](cell))
        errors.append(caught.value)
    assert type(errors[0]) is type(errors[1])
    if "rank" in bad:
        assert str(errors[0]) == str(errors[1])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("input of another dtype", r"input: expected dtype float32 .* got float64"),
        ("input of another device", r"input: expected device cpu .* got meta"),
        ("state of another dtype", r"hx.*: expected dtype float32 .* got float64"),
        ("state of another device", r"hx.*: expected device cpu .* got meta"),
        ("state of wrong features", r"hx.*: expected shape \[3, 7\], but got \[3, 8\]"),
        ("state of wrong batch", r"hx.*: expected shape \[3, 7\], but got \[2, 7\]"),
    ],
)
@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cell_names_the_argument(name: str, bad: str, message: str) -> None:
    cell = name.removesuffix("Cell").lower()
    with pytest.raises(RuntimeError, match=message):
        getattr(fused_rnn, name)(5, 7)(*BAD_CELL_CALLS[bad](cell))


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cell_names_what_is_no_tensor(name: str) -> None:
    module = getattr(fused_rnn, name)(5, 7)
    with pytest.raises(TypeError, match="input: expected a Tensor, but got list"):
        module([1.0])
    with pytest.raises(TypeError, match="(hidden|hx): expected .* but got int"):
        module(torch.ones(3, 5), 3)


def test_build_for_another_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_rnn._built_for, "TORCH_VERSION", "1.13.0+cpu")
    with pytest.raises(ImportError, match=r"compiled for torch 1\.13\.0.* install fused_rnn again"):
        fused_rnn.ops._check_build()


def test_source_folder_without_a_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fused_rnn._built_for", None)
    with pytest.raises(ImportError, match="fused_rnn is not compiled: run `pip install .`"):
        fused_rnn.ops._check_build()
