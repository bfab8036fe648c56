"""The cells equal torch.nn's cells: one step, outputs and every gradient, at every dtype."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

import fused_rnn
from cases import DTYPES, each_cell, random
from compare import Results, assert_as_accurate, assert_same, leaf, leaves_of, run_module
from fused_rnn import _C

each_size = pytest.mark.parametrize(
    ("hidden_size", "batch"), [(1, 1), (7, 5), (16, 2), (33, 17), (40, 0), (7, None)], ids=str
)


def module_of(library: Any, cell: str, hidden_size: int = 7, **options: Any) -> Any:
    if cell.startswith("rnn"):
        options["nonlinearity"] = cell.removeprefix("rnn_")
    torch.manual_seed(1)
    return getattr(library, cell.split("_")[0].upper() + "Cell")(5, hidden_size, **options)


def arguments(cell: str, size: int, batch: int | None, dtype: torch.dtype, given: bool) -> Any:
    """An input and a state, unbatched if `batch` is None."""
    leading = () if batch is None else (batch,)
    h, c = (random(*leading, size, dtype=dtype, seed=seed) for seed in (3, 4))
    state = (h, c) if cell == "lstm" else h
    return random(*leading, 5, dtype=dtype, seed=2), state if given else None


@each_cell
@each_size
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("given", [True, False])
def test_float64(cell: str, hidden_size: int, batch: int | None, bias: bool, given: bool) -> None:
    results = []
    for library in (fused_rnn, nn):
        module = module_of(library, cell, hidden_size, bias=bias).double()
        x, hx = arguments(cell, hidden_size, batch, torch.float64, given)
        results.append(run_module(module, x, hx))
    assert_same(*results)


@each_cell
@pytest.mark.parametrize("batch", [1, 5, 8, 11, 16])
def test_weights_from_memory(cell: str, batch: int) -> None:
    """More than 12 MB of weights, asked for in one to four parts or, by 16 rows, beside products of
    one value at a time; the last panel has few units. (Where there is AMX, nobody asks.)"""
    if _C.cpu_isa() == "amx":
        _C.set_cpu_isa("avx512")
    x, hx = arguments(cell, 1270, batch, torch.float64, given=True)
    results = [
        run_module(module_of(library, cell, 1270).double(), x, hx) for library in (fused_rnn, nn)
    ]
    assert_same(*results)


@each_cell
@each_size
def test_second_order(cell: str, hidden_size: int, batch: int | None) -> None:
    results = []
    for library in (fused_rnn, nn):
        module = module_of(library, cell, hidden_size).double()
        x, hx = leaves_of(arguments(cell, hidden_size, batch, torch.float64, given=True))
        h = module(x, hx)[0] if cell == "lstm" else module(x, hx)
        given = {"x": x, "h": hx[0] if cell == "lstm" else hx, **dict(module.named_parameters())}
        first = torch.autograd.grad(h.pow(3).sum(), [*given.values()], create_graph=True)
        value = torch.stack([gradient.square().sum() for gradient in first]).sum()
        second = torch.autograd.grad(value, [*given.values()], materialize_grads=True)
        results.append(dict(zip(given, second, strict=True)))
    assert_same(*results)


@each_cell
def test_a_step_is_one_node(cell: str) -> None:
    """A view's would take a quarter of the time of a small step forward and backward."""
    x, hx = leaves_of(arguments(cell, 7, 5, torch.float32, given=True))
    result = module_of(fused_rnn, cell)(x, hx)
    node = (result[0] if cell == "lstm" else result).grad_fn
    assert node.name() == "FusedRnnLayerBackward"
    assert {edge.name() for edge, _ in node.next_functions if edge} == {
        "torch::autograd::AccumulateGrad"
    }


@each_cell
def test_a_step_of_tracked_input_under_transforms(cell: str) -> None:
    """Its batch is no constant of a graph, and it is mapped, as its gradient is."""
    module = module_of(fused_rnn, cell).double()
    x = leaf(arguments(cell, 7, 4, torch.float64, given=False)[0])  # no size like another

    def step(x: Any) -> Any:
        result = module(x)
        return result[0] if cell == "lstm" else result

    slope = torch.func.grad(lambda x: step(x).square().sum())
    traced = make_fx(slope, tracing_mode="symbolic", _allow_non_fake_inputs=True)(x)
    torch.testing.assert_close(traced(x[:3]), slope(x[:3]))
    rows = torch.func.vmap(step)(x.unsqueeze(1))
    torch.testing.assert_close(rows.squeeze(1), step(x))
    slopes = torch.func.vmap(slope)(x.unsqueeze(1))
    torch.testing.assert_close(slopes.squeeze(1), slope(x))


@each_cell
@each_size
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
def test_lower_precision(cell: str, hidden_size: int, batch: int | None, dtype: Any) -> None:
    def run(library: Any, dtype_of_run: torch.dtype) -> Results:
        module = module_of(library, cell, hidden_size).to(dtype).to(dtype_of_run)
        x, hx = arguments(cell, hidden_size, batch, dtype, given=True)
        hx = tuple(s.to(dtype_of_run) for s in hx) if cell == "lstm" else hx.to(dtype_of_run)
        return run_module(module, x.to(dtype_of_run), hx)

    assert_as_accurate(run(fused_rnn, dtype), run(nn, dtype), run(nn, torch.float64))


@each_cell
@pytest.mark.parametrize("bias", [True, False])
def test_same_as_module_of_torch_nn(cell: str, bias: bool) -> None:
    ours, theirs = (module_of(library, cell, bias=bias) for library in (fused_rnn, nn))
    assert isinstance(ours, nn.RNNCellBase)
    assert repr(ours) == repr(theirs)
    assert vars(ours).keys() == vars(theirs).keys()
    assert ours.__constants__ == theirs.__constants__
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)
    assert theirs.load_state_dict(ours.state_dict()).missing_keys == []
    assert ours.load_state_dict(theirs.state_dict()).missing_keys == []


@each_cell
def test_steps_of_a_cell_are_a_layer(cell: str) -> None:
    one = module_of(fused_rnn, cell).double()
    options = {"nonlinearity": one.nonlinearity} if cell.startswith("rnn") else {}
    layer = getattr(fused_rnn, cell.split("_")[0].upper())(5, 7, **options).double()
    layer.load_state_dict({f"{name}_l0": value for name, value in one.state_dict().items()})
    x, state = torch.randn(4, 3, 5).double(), None
    outputs = []
    for step in x:
        state = one(step, state)
        outputs.append(state[0] if cell == "lstm" else state)
    output, _ = layer(x)
    torch.testing.assert_close(torch.stack(outputs), output, rtol=1e-12, atol=1e-12)


@each_cell
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies(cell: str, copied: Any) -> None:
    module = module_of(fused_rnn, cell).double()
    x, hx = arguments(cell, 7, 3, torch.float64, given=True)
    assert_same(run_module(copied(module), x, hx), run_module(module, x, hx))


@each_cell
def test_device_and_dtype_arguments(cell: str) -> None:
    module = module_of(fused_rnn, cell, device="meta", dtype=torch.bfloat16)
    out = module(torch.empty(3, 5, device="meta", dtype=torch.bfloat16))
    h = out[0] if cell == "lstm" else out
    assert h.is_meta and h.dtype == torch.bfloat16 and h.shape == (3, 7)
