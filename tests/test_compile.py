"""The op and modules under PyTorch's tracers: opcheck, compile, export, autocast, fake tensors."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses import FakeTensorMode
from torch.export import Dim

import fused_rnn
from cases import CELLS, Case, each_cell, over
from compare import assert_as_accurate, leaf, run_module, tensors_in
from test_double_backward import projected, second_arguments

OPS = torch.ops.fused_rnn


@pytest.fixture(autouse=True)
def forget_compiled_code() -> None:
    """All layers share one forward, of which torch.compile keeps but eight versions."""
    torch._dynamo.reset()


OP_CASES = [
    case
    for cell in CELLS
    for case in (
        Case(cell, steps=3, batch=2),
        Case(cell, steps=0),
        Case(cell, bias=False, steps=3, batch=3, lengths=(3, 2, 1)),
        Case(cell, steps=3, batch=16),  # rows for the layer's own kernel, that is 48
    )
] + [Case("lstm", proj_size=3, steps=3, batch=2)]
each_direction = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])


NAMES = {
    "recurrence": ("xg", "h_0", "c_0", "weight_hh", "bias_hh", "weight_hr"),
    "layer": ("input", "weight_ih", "bias_ih", "h_0", "c_0", "weight_hh", "bias_hh", "weight_hr"),
}


def op_arguments(op: str, case: Case, reverse: bool) -> tuple[Any, ...]:
    """The arguments of the op in the order of its schema; tensors ask for gradients."""
    given = getattr(case, op)()
    tensors = [leaf(given[name]) if name in given else None for name in NAMES[op]]
    return *tensors, given["batch_sizes"], case.cell, reverse


@each_direction
@pytest.mark.parametrize("op", NAMES)
@over(OP_CASES)
def test_opcheck_of_forward(case: Case, op: str, reverse: bool) -> None:
    for name in (op, f"{op}_train"):
        overload = getattr(OPS, name).default
        torch.library.opcheck(overload, op_arguments(op, case, reverse))


@each_direction
@over(OP_CASES)
def test_opcheck_of_backward(case: Case, reverse: bool) -> None:
    with torch.no_grad():
        arguments = op_arguments("recurrence", case, reverse)
        output, h_n, c_n, cells, tape = OPS.recurrence_train(*arguments)
        _, h_0, c_0, weight_hh, _, weight_hr, batch_sizes, cell, _ = [
            a.detach() if isinstance(a, Tensor) else a for a in arguments
        ]
        saved = (output, cells, tape, h_0, c_0, weight_hh, weight_hr, batch_sizes, cell, reverse)
        mask = [True, True, case.bias, weight_hr is not None]
        gradients = [torch.ones_like(output), torch.ones_like(h_n)]
        gradients.append(None if c_n is None else torch.ones_like(c_n))
        # Second derivatives are refused, so what checks autograd has nothing to check.
        checks = ("test_schema", "test_faketensor")
        for given in (gradients, [gradients[0], None, None], [None, gradients[1], None]):
            for wanted in (mask, [False] * 4):
                arguments = (*given, *saved, wanted)
                torch.library.opcheck(OPS.recurrence_backward.default, arguments, test_utils=checks)


@pytest.mark.slow
@each_direction
@over(OP_CASES)
def test_opcheck_of_double_backward(case: Case, reverse: bool) -> None:
    arguments = projected(second_arguments(case, reverse=reverse))
    for name in ("input", "weight_ih", "h_0", "weight_hh"):
        arguments[name] = leaf(arguments[name])
    # Its derivative is unrolled, for which a tracer would have to know the numbers in batch_sizes.
    traced = () if case.lengths else ("test_aot_dispatch_dynamic",)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor", *traced)
    overload = OPS.recurrence_double_backward.default
    torch.library.opcheck(overload, (), arguments, test_utils=checks)
    few = {**arguments, "output_mask": [False] * 4}
    torch.library.opcheck(overload, (), few, test_utils=("test_schema", "test_faketensor"))


@each_cell
def test_tangents_of_ragged_data_while_tracing(cell: str) -> None:
    """It needs numbers that a tracer has not: an error, and no crash."""
    case = Case(cell, steps=3, batch=2, lengths=(3, 2))
    arguments = case.recurrence()
    sizes = arguments.pop("batch_sizes")

    def tangent(xg: Tensor, sizes: Tensor) -> Tensor:
        def function(xg: Tensor) -> Tensor:
            given = {**arguments, "xg": xg, "batch_sizes": sizes}
            return fused_rnn.functional.recurrence(**given)[0]

        return torch.func.jvp(function, (xg,), (xg,))[1]

    compiled = torch.compile(tangent, backend="aot_eager", fullgraph=True)
    with pytest.raises(Exception, match=r"(?i)data.dependent|item|unbacked"):
        compiled(arguments["xg"], sizes)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@each_cell
def test_compiled_training(cell: str, backend: str) -> None:
    """One graph, two layers, two directions, a state given: the eager results and gradients."""
    case = Case(cell, num_layers=2, bidirectional=True, batch_first=True)
    module = case.module(fused_rnn)
    compiled = torch.compile(module, fullgraph=True, backend=backend)
    for hx in (None, case.state()):
        ours = run_module(compiled, case.input(), hx)
        expected = run_module(module, case.input(), hx)
        ours = {name.replace("_orig_mod.", ""): value for name, value in ours.items()}
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)


@each_cell
def test_compiled_once_for_all_sizes(cell: str) -> None:
    """With dynamic steps and batch no call after the first compiles again."""
    case = Case(cell)
    module = case.module(fused_rnn)
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(module, fullgraph=True, backend=counter, dynamic=True)
    compiled(torch.randn(9, 4, 5).double())
    count = counter.frame_count
    for steps, batch in ((6, 3), (12, 11), (2, 8)):
        x = torch.randn(steps, batch, 5).double()
        torch.testing.assert_close(compiled(x), module(x))
    assert count > 0 and counter.frame_count == count


@each_cell
def test_compiled_cell(cell: str) -> None:
    name = cell.split("_")[0].upper() + "Cell"
    module = getattr(fused_rnn, name)(5, 7)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(torch.ones(3, 5)), module(torch.ones(3, 5)))


@each_cell
def test_compiled_functional_call(cell: str) -> None:
    case = Case(cell)
    module = case.module(fused_rnn)
    weights = {name: (2 * p).detach().requires_grad_() for name, p in module.named_parameters()}

    x = case.input()

    def loss(weights: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(module, weights, (x,))[0].square().sum()

    expected = torch.autograd.grad(loss(weights), list(weights.values()))
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(
        torch.autograd.grad(compiled(weights), list(weights.values())), expected
    )


@each_cell
def test_compiled_gradient_of_functional_call(cell: str) -> None:
    """The transform inside the compiled function, whose weights stand in for the parameters."""
    case = Case(cell)
    module, x = case.module(fused_rnn), case.input()
    weights = {name: p.detach() for name, p in module.named_parameters()}

    def loss(weights: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(module, weights, (x,))[0].square().sum()

    compiled = torch.compile(torch.func.grad(loss), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(weights), torch.func.grad(loss)(weights))


@each_cell
def test_compiled_packed_sequence(cell: str) -> None:
    """One graph, where the tracer may read the batch from `batch_sizes`."""
    case = Case(cell, steps=5, batch=3, lengths=(5, 3, 1))
    module, x = case.module(fused_rnn), case.input()
    with torch._dynamo.config.patch(capture_scalar_outputs=True):
        compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x)[0].data, module(x)[0].data)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@each_cell
def test_export_with_dynamic_steps(cell: str, batch_first: bool, strict: bool) -> None:
    case = Case(cell, num_layers=2, bidirectional=True, batch_first=batch_first)
    module = case.module(fused_rnn).eval()
    dims = {0: Dim("batch"), 1: Dim("steps")} if batch_first else {0: Dim("steps"), 1: Dim("batch")}
    exported = torch.export.export(module, (case.input(),), dynamic_shapes=(dims,), strict=strict)
    targets = [node.target for node in exported.graph.nodes]
    assert targets.count(OPS.layer.default) == 4
    for shape in ((12, 3, 5), (2, 6, 5)):
        x = torch.randn(shape).double()
        torch.testing.assert_close(exported.module()(x), module(x))


@each_cell
def test_export_leaves_the_module_as_it_was(cell: str) -> None:
    case = Case(cell)
    module = case.module(fused_rnn)
    flat = list(module._flat_weights)
    torch.export.export(module, (case.input(),))
    assert all(a is b for a, b in zip(module._flat_weights, flat, strict=True))


@each_cell
def test_autocast_on_the_cpu(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16 inside, float32 parameters and gradients outside, as accurate as bfloat16 is."""
    case = Case(cell)
    if cell == "rnn_relu":
        case = Case(cell, steps=1, hidden_size=1)  # its derivative jumps: see test_torch_nn.py
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        # Without AVX-512; torch.nn.LSTM would try it all the same, and raise.
        monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    results = []
    for library in (fused_rnn, nn):
        module = case.module(library, torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            results.append(run_module(module, case.input(torch.float32)))
    assert results[0]["output[0]"].dtype == torch.bfloat16
    parameters = dict(module.named_parameters())
    assert all(results[0][f"gradient of {n}"].dtype == torch.float32 for n in parameters)
    exact = run_module(case.module(nn, torch.float32).double(), case.input(torch.float32).double())
    as_bfloat16 = [{n: v.bfloat16() for n, v in found.items()} for found in results]
    assert_as_accurate(*as_bfloat16, exact)


@each_cell
def test_fake_tensors(cell: str) -> None:
    """Shapes, strides and dtypes of fake results are those of the real ones."""
    case = Case(cell, num_layers=2, bidirectional=True)
    real = dict(tensors_in(case.module(fused_rnn)(case.input())))
    with FakeTensorMode():
        cls = getattr(fused_rnn, cell.split("_")[0].upper())
        module = cls(**case.options, dtype=torch.float64)
        fake = dict(tensors_in(module(torch.randn(9, 5, 5, dtype=torch.float64))))
    for name, value in real.items():
        assert (fake[name].shape, fake[name].dtype) == (value.shape, value.dtype)
        assert fake[name].stride() == value.stride()


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_a_cell_over_sizes_that_only_the_data_tell(name: str) -> None:
    """torch.nn's cells compare them as they compile, which fails; ours leave that to the op."""
    cell = getattr(fused_rnn, name)(5, 7)

    def step(x: Tensor, h: Tensor, mask: Tensor, other: Tensor) -> Tensor:
        x, h = x[mask.nonzero().squeeze(1)], h[other.nonzero().squeeze(1)]
        result = cell(x, (h, h) if name == "LSTMCell" else h)
        return result[0] if name == "LSTMCell" else result

    x, h = torch.randn(3, 5), torch.randn(3, 7)
    mask, other = torch.tensor([[True, False, True], [True, True, False]])
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x, h, mask, other), step(x, h, mask, other))
