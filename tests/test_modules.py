"""The modules are drop-in: construction, state_dict, and every form that an input may take."""

import inspect
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import fused_rnn
from cases import CASES, Case, each_cell, over
from compare import assert_same, leaf, run_module, tensors_in

LAYERS = ("RNN", "LSTM", "GRU")
each_layer = pytest.mark.parametrize("name", LAYERS)


def assert_equal(ours: Any, theirs: Any) -> None:
    """Nested tensors equal as `assert_same` has it."""
    assert_same(dict(tensors_in(ours)), dict(tensors_in(theirs)))


@over(CASES)
def test_state_dict_loads_in_both_directions(case: Case) -> None:
    ours, theirs = case.module(fused_rnn), case.module(nn)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)
    for parameter in ours.parameters():
        nn.init.normal_(parameter)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    fresh = case.module(fused_rnn)
    fresh.load_state_dict(theirs.state_dict(), strict=True)
    torch.testing.assert_close(fresh.state_dict(), ours.state_dict(), rtol=0, atol=0)


@over(CASES)
def test_same_repr(case: Case) -> None:
    assert repr(case.module(fused_rnn)) == repr(case.module(nn))
    assert repr(case.module(fused_rnn, num_layers=2, dropout=0.5)) == repr(
        case.module(nn, num_layers=2, dropout=0.5)
    )


@each_layer
def test_same_attributes(name: str) -> None:
    """`convert` assigns `__class__`: it needs the same attributes in both classes."""
    ours, theirs = getattr(fused_rnn, name)(3, 4), getattr(nn, name)(3, 4)
    assert vars(ours).keys() == vars(theirs).keys()
    different = {"_parameters", "_flat_weights", "_flat_weight_refs"}  # compare as objects
    for attribute in vars(ours).keys() - different:
        assert getattr(ours, attribute) == getattr(theirs, attribute), attribute
    assert ours.__constants__ == theirs.__constants__


@each_layer
def test_bases(name: str) -> None:
    """An RNNBase for the ecosystem's checks, but no torch.nn.LSTM, which torch.compile refuses."""
    module = getattr(fused_rnn, name)(3, 4)
    assert isinstance(module, nn.RNNBase)
    assert not isinstance(module, nn.RNN | nn.LSTM | nn.GRU)


@each_layer
def test_same_signature(name: str) -> None:
    """The arguments that torch.nn documents, in its order, with its defaults."""
    theirs = getattr(nn, name)
    documented = theirs.__doc__.splitlines()[0].removeprefix("__init__(").removesuffix(")")
    ours = list(inspect.signature(getattr(fused_rnn, name)).parameters.values())
    ours = [p for p in ours if p.name != "proj_size" or name == "LSTM"]
    described = [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in ours]
    assert ",".join(described) == documented


@each_layer
@pytest.mark.parametrize("bias", [True, False])
def test_device_and_dtype_arguments(name: str, bias: bool) -> None:
    module = getattr(fused_rnn, name)(3, 4, bias=bias, device="meta", dtype=torch.float16)
    assert {(p.device.type, p.dtype) for p in module.parameters()} == {("meta", torch.float16)}
    output, hidden = module(torch.empty(5, 2, 3, device="meta", dtype=torch.float16))
    assert output.shape == (5, 2, 4) and output.is_meta and output.dtype == torch.float16


# Forms of the input. test_torch_nn.py has dense, batch_first and packed ones with given states.


@each_cell
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("given", [False, True])
def test_unbatched(cell: str, batch_first: bool, given: bool) -> None:
    case = Case(cell, num_layers=2, bidirectional=True, batch_first=batch_first, batch=1)
    x = case.input().squeeze(0 if batch_first else 1)
    hx: Any = case.state()
    hx = tuple(s.squeeze(1) for s in hx) if isinstance(hx, tuple) else hx.squeeze(1)
    hx = hx if given else None
    ours = run_module(case.module(fused_rnn), x, hx)
    assert ours["output[0]"].shape == (9, 14)
    assert_same(ours, run_module(case.module(nn), x, hx))


@over([case for case in CASES if case.steps == 0])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("given", [False, True])
def test_no_steps(case: Case, batch_first: bool, given: bool) -> None:
    """The output is empty and the initial state final, with its gradient."""
    module = case.module(fused_rnn, batch_first=batch_first)
    x = torch.empty(5, 0, 5) if batch_first else torch.empty(0, 5, 5)
    hx = case.state() if given else None
    results = run_module(module, x.double(), hx)
    width = case.hidden_size * (2 if case.bidirectional else 1)
    assert results["output[0]"].shape == (*x.shape[:2], width)
    states = [v for n, v in results.items() if n.startswith("output[1]")]
    assert len(states) == (2 if case.cell == "lstm" else 1)
    if hx is None:
        assert all(torch.equal(s, torch.zeros(case.states, 5, 7).double()) for s in states)
        return
    assert_equal(tuple(states), hx if isinstance(hx, tuple) else (hx,))
    gradients = [v for n, v in results.items() if n.startswith("gradient of argument[1]")]
    assert len(gradients) == len(states) and all((g != 0).any() for g in gradients)


@each_cell
def test_no_steps_unbatched(cell: str) -> None:
    output, hidden = Case(cell).module(fused_rnn)(torch.empty(0, 5).double())
    assert output.shape == (0, 7)
    assert all(state.shape == (1, 7) for _, state in tensors_in(hidden))


@each_cell
def test_no_features_of_no_sequences(cell: str) -> None:
    output, hidden = Case(cell).module(fused_rnn)(torch.empty(0, 0, 5).double())
    assert output.shape == (0, 0, 7)
    assert all(state.shape == (1, 0, 7) for _, state in tensors_in(hidden))


@each_cell
@pytest.mark.parametrize("batch_first", [False, True])
def test_strided_inputs(cell: str, batch_first: bool) -> None:
    """Expanded, transposed and cut inputs and states, with their gradients."""
    case = Case(cell, num_layers=2, batch_first=batch_first)
    x: Any = case.input()
    inputs = {
        "expanded": x[:, :1].expand(-1, 3, -1),
        "transposed": x.transpose(0, 1).contiguous().transpose(0, 1),
        "reversed strides": x.permute(2, 1, 0).contiguous().permute(2, 1, 0),
        "cut": x.repeat_interleave(2, -1)[..., ::2],
    }
    for x in inputs.values():
        assert not x.is_contiguous()
        batch = x.shape[0 if batch_first else 1]
        state = torch.randn(2, 1, 7).double().expand(-1, batch, -1)
        results = []
        for library in (fused_rnn, nn):
            x, state = leaf(x), leaf(state)
            hx = (state, state) if cell == "lstm" else state
            output, hidden = case.module(library)(x, hx)
            loss = output.square().sum() + sum(s.square().sum() for _, s in tensors_in(hidden))
            results.append((output, hidden, torch.autograd.grad(loss, (x, state))))
        assert_equal(*results)


@each_cell
def test_output_layout_is_that_of_torch_nn(cell: str) -> None:
    for case in (Case(cell), Case(cell, batch_first=True), Case(cell, bidirectional=True)):
        ours, theirs = (case.module(library)(case.input())[0] for library in (fused_rnn, nn))
        assert ours.stride() == theirs.stride()


@over([case for case in CASES if case.lengths])
@pytest.mark.parametrize("enforce_sorted", [True, False])
def test_packed_equals_each_sequence_alone(case: Case, enforce_sorted: bool) -> None:
    """With a state given in the order of the sequences, and outputs in that order too."""
    assert case.lengths is not None
    lengths = sorted(case.lengths, reverse=True) if enforce_sorted else case.lengths
    sequences = [torch.randn(length, case.input_size).double() for length in lengths]
    module = case.module(fused_rnn)
    hx = case.state()
    states = hx if isinstance(hx, tuple) else (hx,)
    output, hidden = module(pack_sequence(sequences, enforce_sorted=enforce_sorted), hx)
    assert isinstance(output, PackedSequence)
    hiddens = hidden if isinstance(hidden, tuple) else (hidden,)
    for index, sequence in enumerate(sequences):
        alone = tuple(s[:, index] for s in states)
        expected, last = module(sequence, alone if case.cell == "lstm" else alone[0])
        assert_equal(nn.utils.rnn.unpack_sequence(output)[index], expected)
        assert_equal(tuple(h[:, index] for h in hiddens), last if case.cell == "lstm" else (last,))


@each_cell
def test_packed_result_keeps_its_indices(cell: str) -> None:
    case = Case(cell, steps=9, lengths=(2, 9, 1, 9, 4))
    x: Any = case.input()
    output, _ = case.module(fused_rnn)(x)
    assert torch.equal(output.batch_sizes, x.batch_sizes)
    assert torch.equal(output.sorted_indices, x.sorted_indices)
    assert torch.equal(output.unsorted_indices, x.unsorted_indices)
