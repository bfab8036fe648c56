"""Gradients through time and gates: against the op by steps, finite differences and formulas."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pad_packed_sequence

import fused_rnn
from cases import CASES, CELLS, Case, each_cell, over
from compare import assert_same, leaf, run_module, tensors_in
from fused_rnn import functional
from fused_rnn.diagnostics import States, gates, gradient_norms, state_gradients

DENSE = [case for case in CASES if case.lengths is None]
RAGGED = [case for case in CASES if case.lengths is not None]
each_direction = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])


def loss(result: Any) -> Tensor:
    """A sum over all elements of output, h_n and c_n, of a function that is another for each."""
    parts = [((k + 1) * v).sin().sum() for k, (_, v) in enumerate(tensors_in(result))]
    return torch.stack(parts).sum()


def as_results(states: States) -> dict[str, Tensor]:
    return {name: value for name, value in states._asdict().items() if value is not None}


def op_by_op(layer: Any, case: Case) -> States:
    """The gradients with each step of each layer a call of the op, its states kept.

    h and c leave the op together, so the tape's gradient of c lacks what comes through h of the
    same step; the formula of h adds it.
    """
    x = case.input()
    below = list(x.unbind(1 if case.batch_first else 0))
    hx = case.state() if case.cell == "lstm" else (case.state(), None)
    h_n, c_n, kept = [], [], []
    for index, weights in enumerate(layer._weights()):
        reverse = case.bidirectional and index % 2 == 1
        if not reverse:
            inputs, outputs = below, [[] for _ in below]
        h, c = (None if s is None else s[index] for s in hx)
        steps = []
        for t in reversed(range(case.steps)) if reverse else range(case.steps):
            before = h
            _, h, c = functional.layer(case.cell, inputs[t][None], h, c, **weights._asdict())
            outputs[t].append(h)
            steps.append((before, inputs[t], h, c))
        kept.append((weights, steps[::-1] if reverse else steps))
        h_n.append(h)
        c_n.append(c)
        below = [torch.cat(parts, -1) for parts in outputs]
    output = torch.stack(below, 1 if case.batch_first else 0)
    final = torch.stack(h_n)
    value = loss((output, (final, torch.stack(c_n)) if case.cell == "lstm" else final))
    states = [s for _, steps in kept for step in steps for s in step[2:] if s is not None]
    found = iter(torch.autograd.grad(value, states, materialize_grads=True))
    of_h, of_c = [], []
    for weights, steps in kept:
        for before, inputs_t, _, c in steps:
            of_h.append(d_h := next(found))
            if c is not None:
                pre = linear(inputs_t, weights.weight_ih, weights.bias_ih)
                pre = pre + linear(before, weights.weight_hh, weights.bias_hh)
                o = pre.chunk(4, -1)[3].sigmoid()
                through_h = d_h if weights.weight_hr is None else d_h @ weights.weight_hr
                of_c.append(next(found) + through_h * o * (1 - c.tanh() ** 2))
    shape = (case.states, case.steps, case.batch, -1)
    return States(torch.stack(of_h).view(shape), torch.stack(of_c).view(shape) if of_c else None)


@over([case for case in DENSE if case.steps and case.batch])
def test_gradients(case: Case) -> None:
    layer = case.module(fused_rnn)
    ours = state_gradients(layer, case.input(), loss, case.state())
    assert_same(as_results(ours), as_results(op_by_op(layer, case)))


@over([case for case in DENSE if not (case.steps and case.batch)])
def test_nothing(case: Case) -> None:
    """No steps, or no sequences."""
    layer, x = case.module(fused_rnn), case.input()
    shape = (case.states, case.steps, case.batch, case.hidden_size)
    results = [*as_results(state_gradients(layer, x, loss, case.state())).values()]
    assert {value.shape for value in [*results, *gates(layer, x).values()]} == {shape}


@over(RAGGED)
def test_packed(case: Case) -> None:
    """Each sequence has what it has alone, and zeros after it."""
    layer, x = case.module(fused_rnn), case.input()
    padded, lengths = pad_packed_sequence(x)
    hx = case.state()
    together = as_results(state_gradients(layer, x, loss, hx)) | gates(layer, x, hx)
    for b, length in enumerate(lengths.tolist()):
        one = tuple(s[:, b] for s in hx) if isinstance(hx, tuple) else hx[:, b]
        sequence = padded[:length, b]
        alone = as_results(state_gradients(layer, sequence, loss, one))
        alone |= gates(layer, sequence, one)
        assert_same({name: value[:, :length, b] for name, value in together.items()}, alone)
        assert all((value[:, length:, b] == 0).all() for value in together.values())


def differences(case: Case, reverse: bool, step: int, name: str) -> Tensor:
    """d loss / d h or d c after a step, by central differences: the layer up to there, a state that
    is moved, and the layer from there on. A move of c moves h."""
    arguments = case.layer()
    x = arguments.pop("input")
    x = x.flip(0) if reverse else x
    h_0, c_0 = arguments.pop("h_0"), arguments.pop("c_0", None)
    first, h, c = functional.layer(input=x[: step + 1], h_0=h_0, c_0=c_0, **arguments)
    w_hr = arguments["weight_hr"] if case.proj_size else None

    def moved(by: Tensor) -> float:
        h_moved, c_moved = h, c
        if name == "h":
            h_moved = h + by
        else:
            before = first[step - 1] if step else h_0
            pre = linear(x[step], arguments["weight_ih"], arguments["bias_ih"])
            pre = pre + linear(before, arguments["weight_hh"], arguments["bias_hh"])
            c_moved = c + by
            h_moved = pre.chunk(4, -1)[3].sigmoid() * c_moved.tanh()
            h_moved = h_moved if w_hr is None else h_moved @ w_hr.T
        rest, h_n, c_n = functional.layer(
            input=x[step + 1 :], h_0=h_moved, c_0=c_moved, **arguments
        )
        output = torch.cat([first[:step], h_moved[None], rest])
        return loss((output, h_n[None], c_n if c_n is None else c_n[None])).item()

    state = h if name == "h" else c
    found = torch.empty_like(state)
    for index in range(state.numel()):
        by = torch.zeros_like(state)
        by.view(-1)[index] = 1e-5
        found.view(-1)[index] = (moved(by) - moved(-by)) / 2e-5
    return found


def layer_of(case: Case, reverse: bool) -> Any:
    """A layer with the weights of `case.layer()`: its own direction, or the second one of two."""
    options = {**case.options, "bidirectional": reverse}
    name = case.cell.split("_")[0].upper()
    layer = getattr(fused_rnn, name)(**options).double()
    suffix = "_l0_reverse" if reverse else "_l0"
    for key, value in case.layer().items():
        if key.startswith(("weight", "bias")):
            getattr(layer, key + suffix).data.copy_(value)
    return layer


@each_direction
@over([Case(c, steps=4, batch=2) for c in CELLS] + [Case("lstm", proj_size=3, steps=4, batch=2)])
def test_finite_differences(case: Case, reverse: bool) -> None:
    layer, values = layer_of(case, reverse), case.layer()
    direction = 1 if reverse else 0

    def loss_here(result: Any) -> Tensor:
        """Of the one direction alone."""
        output, state = result
        states = state if isinstance(state, tuple) else (state, None)
        h_n, c_n = (None if s is None else s[direction:] for s in states)
        return loss((output[..., -h_n.size(-1) :], h_n, c_n))

    hx = [values[name].expand(direction + 1, -1, -1) for name in ("h_0", "c_0") if name in values]
    ours = state_gradients(layer, values["input"], loss_here, tuple(hx) if hx[1:] else hx[0])
    for name, found in as_results(ours).items():
        for step in range(case.steps):
            expected = differences(case, reverse, step, name)
            at = case.steps - 1 - step if reverse else step
            torch.testing.assert_close(found[direction, at], expected, rtol=1e-6, atol=1e-8)


@each_cell
def test_gates(cell: str) -> None:
    """The formulas over all steps at once, with the states of the steps before."""
    case = Case(cell)
    layer, x, hx = case.module(fused_rnn), case.input(), case.state()
    found = {name: value[0] for name, value in gates(layer, x, hx).items()}
    h_0, c_0 = hx if cell == "lstm" else (hx, None)
    before = torch.cat([h_0, found["h"][:-1]])
    from_x = linear(x, layer.weight_ih_l0, layer.bias_ih_l0)
    from_h = linear(before, layer.weight_hh_l0, layer.bias_hh_l0)
    if cell == "lstm":
        i, f, g, o = (from_x + from_h).chunk(4, -1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        c = f * torch.cat([c_0, found["c"][:-1]]) + i * g
        expected = {"h": o * c.tanh(), "c": c, "input": i, "forget": f, "cell": g, "output": o}
    elif cell == "gru":
        r, z = (from_x + from_h)[..., : 2 * case.hidden_size].sigmoid().chunk(2, -1)
        n = (from_x.chunk(3, -1)[2] + r * from_h.chunk(3, -1)[2]).tanh()
        expected = {"h": (1 - z) * n + z * before, "reset": r, "update": z, "new": n}
    else:
        expected = {"h": getattr(from_x + from_h, cell.removeprefix("rnn_"))()}
    assert_same(found, expected)
    assert torch.allclose(found["h"], layer(x, hx)[0], rtol=1e-12, atol=1e-12)
    assert not any(value.requires_grad for value in found.values())


@over([Case(cell, num_layers=2, bidirectional=True) for cell in CELLS])
def test_loss_sees_the_layers_result(case: Case) -> None:
    """In training with the dropout that the layer draws, and with parametrized weights."""
    layer = case.module(fused_rnn, dropout=0.5)
    parametrizations.weight_norm(layer, "weight_hh_l0")
    seen: list[Any] = []
    for training in (True, False):
        layer.train(training)
        torch.manual_seed(5)
        expected = dict(tensors_in(layer(case.input(), case.state())))
        torch.manual_seed(5)
        state_gradients(layer, case.input(), lambda r: seen.append(r) or loss(r), case.state())
        assert_same(dict(tensors_in(seen[-1])), expected)
    assert not torch.equal(seen[0][0], seen[1][0])


@each_cell
def test_layer_stays_as_it_was(cell: str) -> None:
    """Frozen or not, on a tape or not: the same gradients, and no trace in the layer."""
    case = Case(cell)
    layer, x = case.module(fused_rnn), leaf(case.input())
    before, attributes = run_module(layer, x), set(vars(layer))
    tracked = as_results(state_gradients(layer, x, loss))
    assert x.grad is None and all(p.grad is None for p in layer.parameters())
    layer.requires_grad_(False)
    with torch.no_grad():
        frozen = as_results(state_gradients(layer, x.detach(), loss))
    assert all(torch.equal(tracked[name], frozen[name]) for name in tracked)
    layer.requires_grad_(True)
    assert set(vars(layer)) == attributes
    after = run_module(layer, x)
    assert all(torch.equal(before[name], after[name]) for name in before)


@over([Case("lstm", bidirectional=True, num_layers=2, proj_size=3, batch=1, batch_first=True)])
def test_unbatched_and_norms(case: Case) -> None:
    layer, x, hx = case.module(fused_rnn), case.input(), case.state()
    norms = gradient_norms(layer, x, loss, hx)
    for norm, gradient in zip(norms, state_gradients(layer, x, loss, hx), strict=True):
        assert torch.allclose(norm, gradient.square().sum(-1).sqrt())
    one = gradient_norms(layer, x[0], loss, tuple(s[:, 0] for s in hx))
    assert one.h.shape == (4, case.steps)
    assert_same(as_results(one), {n: v[..., 0] for n, v in as_results(norms).items()})


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_norms_beyond_the_range_of_squares(scale: float) -> None:
    case = Case("lstm")
    layer, x = case.module(fused_rnn, torch.float32), case.input(torch.float32)
    plain = gradient_norms(layer, x, lambda result: result[0].sum())
    scaled = gradient_norms(layer, x, lambda result: scale * result[0].sum())
    torch.testing.assert_close(scaled.h / scale, plain.h)
    torch.testing.assert_close(scaled.c / scale, plain.c)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_dtype(dtype: torch.dtype) -> None:
    case = Case("gru")
    layer, x = case.module(fused_rnn, dtype), case.input(dtype)
    assert gradient_norms(layer, x, loss).h.dtype == dtype
    assert {value.dtype for value in gates(layer, x).values()} == {dtype}


def test_errors() -> None:
    layer, x = fused_rnn.GRU(3, 4), torch.zeros(2, 1, 3)
    with pytest.raises(TypeError, match=r"layer: expected .* torch.nn.modules.rnn.GRU; fused_rnn"):
        gates(nn.GRU(3, 4), x)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="loss_fn: expected it to return a Tensor, but got float"):
        gradient_norms(layer, x, lambda result: 0.0)  # type: ignore[arg-type, return-value]
    with pytest.raises(ValueError, match=r"loss_fn: .* but got one of shape \[2, 1, 4\]"):
        gradient_norms(layer, x, lambda result: result[0])
    with pytest.raises(ValueError, match="loss_fn: expected it to depend on the layer's result"):
        gradient_norms(layer, x, lambda result: torch.zeros(()))
    with pytest.raises(RuntimeError, match="input has inconsistent|input.size"):
        gates(layer, torch.zeros(2, 1, 5))
    with pytest.raises(RuntimeError, match="hx|h_0"):
        gates(layer, x, torch.zeros(1, 1, 4, dtype=torch.float64))


@each_cell
def test_compiled_layers_and_modes(cell: str) -> None:
    """A compiled layer, inference mode and autocast: the loss sees what the layer returns."""
    case = Case(cell)
    layer, x = case.module(fused_rnn, torch.float32), case.input(torch.float32)
    expected = gradient_norms(layer, x, lambda result: result[0].sum())
    with torch.inference_mode():
        torch.testing.assert_close(
            gradient_norms(layer, x, lambda result: result[0].sum()).h, expected.h
        )
    seen = []

    def loss(result: Any) -> Tensor:
        seen.append(result[0].dtype)
        total: Tensor = result[0].float().sum()
        return total

    with torch.autocast("cpu", torch.bfloat16):
        gradient_norms(layer, x, loss)
        assert seen == [layer(x)[0].dtype]
    layer.compile(backend="aot_eager")
    torch.testing.assert_close(
        gradient_norms(layer, x, lambda result: result[0].sum()).h, expected.h
    )
