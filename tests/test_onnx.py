"""Models with our layers, exported to ONNX, give the same numbers in ONNX Runtime."""

import importlib
import sys
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn.utils.rnn import PackedSequence

import fused_rnn
from cases import CASES, Case, each_cell, over, random
from compare import assert_as_accurate, tensors_in

onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra onnx)")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra onnx)")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra dev)")
import fused_rnn.onnx  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "ignore:.isinstance.treespec, LeafSpec.. is deprecated:FutureWarning"  # in torch.onnx.export
)

OPERATORS = {"rnn_tanh": "RNN", "rnn_relu": "RNN", "lstm": "LSTM", "gru": "GRU"}

# ONNX Runtime itself ends the process on an empty batch, and has wrong states after no steps. The
# exporter leaves weights beyond 8,192 numbers to be reordered when a model is loaded.
DENSE_CASES = [
    case
    for case in CASES
    if case.lengths is None and not case.proj_size and case.steps > 0 and case.batch > 0
] + [Case(cell, hidden_size=100, steps=2) for cell in OPERATORS]


def exported(module: nn.Module, *arguments: Any, **options: Any) -> Any:
    """The model in ONNX, checked: its types and shapes too."""
    table = fused_rnn.onnx.translation_table()
    program = torch.onnx.export(
        module.eval(),
        arguments,
        dynamo=True,
        verbose=False,
        custom_translation_table=table,
        **options,
    )
    onnx.checker.check_model(program.model_proto, full_check=True)
    return program.model_proto


def run(model: Any, *arguments: Any) -> dict[str, Tensor]:
    """The outputs that ONNX Runtime gives, named as `tensors_in` names those of a module."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in session.get_inputs()]
    given = [tensor.numpy() for _, tensor in tensors_in(arguments)]
    outputs = session.run(None, dict(zip(names, given, strict=True)))
    return {str(index): torch.from_numpy(output) for index, output in enumerate(outputs)}


def results(module: nn.Module, *arguments: Any) -> dict[str, Tensor]:
    with torch.no_grad():
        outputs = tensors_in(module(*arguments))
        return {str(index): output for index, (_, output) in enumerate(outputs)}


def doubled(arguments: Any) -> Any:
    if isinstance(arguments, Tensor):
        return arguments.double()
    return tuple(map(doubled, arguments))


def assert_same_in_onnx(case: Case, model: Any, *arguments: Any) -> None:
    """As accurate as torch.nn in the same dtype."""
    theirs = results(case.module(nn, torch.float32), *arguments)
    exact = results(case.module(nn, torch.float32).double(), *doubled(arguments))
    assert_as_accurate(run(model, *arguments), theirs, exact)


def dynamic_shapes(case: Case, with_state: bool) -> tuple[Any, ...]:
    """Steps and batch, wherever they are."""
    input = {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}
    state: Any = {1: Dim.DYNAMIC}
    if not with_state:
        return (input,)
    return input, (state, state) if case.cell == "lstm" else state


def arguments_of(case: Case, with_state: bool) -> tuple[Any, ...]:
    input = case.input(torch.float32)
    return (input, case.state(torch.float32)) if with_state else (input,)


@cache
def model_of(case: Case, with_state: bool) -> Any:
    """The model of a case; torch.export takes a size of one for a constant, so it sees two."""
    case = replace(case, steps=max(case.steps, 2), batch=max(case.batch, 2))
    module = case.module(fused_rnn, torch.float32)
    shapes = dynamic_shapes(case, with_state)
    return exported(module, *arguments_of(case, with_state), dynamic_shapes=shapes)


@pytest.mark.slow
@over(DENSE_CASES)
def test_same_numbers_at_every_size(case: Case) -> None:
    model = model_of(case, True)
    for sizes in ({}, {"steps": 12, "batch": 3}, {"steps": 1, "batch": 1}):
        given = replace(case, **sizes)
        assert_same_in_onnx(given, model, *arguments_of(given, True))


@pytest.mark.slow
@over(DENSE_CASES)
def test_one_operator_for_a_direction_of_a_layer(case: Case) -> None:
    model = model_of(case, True)
    assert not model.functions
    assert {opset.domain for opset in model.opset_import} == {""}
    assert {node.domain for node in model.graph.node} == {""}
    recurrent = [node for node in model.graph.node if node.op_type in OPERATORS.values()]
    assert {node.op_type for node in recurrent} == {OPERATORS[case.cell]}
    directions = Counter(
        attribute.s.decode()
        for node in recurrent
        for attribute in node.attribute
        if attribute.name == "direction"
    )
    expected = {"forward": case.num_layers}
    if case.bidirectional:
        expected["reverse"] = case.num_layers
    assert directions == expected


@each_cell
def test_same_numbers_without_a_state(cell: str) -> None:
    case = Case(cell, num_layers=2, bidirectional=True, batch_first=True)
    model = model_of(case, False)
    for sizes in ({}, {"steps": 12, "batch": 3}):
        given = replace(case, **sizes)
        assert_same_in_onnx(given, model, *arguments_of(given, False))


@each_cell
def test_same_numbers_of_a_cell(cell: str) -> None:
    kind = OPERATORS[cell] + "Cell"
    options = {"nonlinearity": cell.removeprefix("rnn_")} if kind == "RNNCell" else {}
    module = getattr(fused_rnn, kind)(5, 7, **options)
    x = random(3, 5, dtype=torch.float32, seed=2)
    torch.testing.assert_close(run(exported(module, x), x), results(module, x))


@pytest.mark.parametrize("name", ["layer", "recurrence"])
@each_cell
def test_same_numbers_of_a_function(cell: str, name: str) -> None:
    """With both biases, one, the other."""
    given = getattr(Case(cell), name)(torch.float32)
    given.pop("cell")
    input = given.pop("input" if name == "layer" else "xg")
    biases = [bias for bias in ("bias_ih", "bias_hh") if bias in given]

    class Model(nn.Module):
        def forward(self, input: Tensor) -> list[Tensor]:
            function = getattr(fused_rnn.functional, name)
            found = [
                function(cell, input, reverse=True, **{n: a for n, a in given.items() if n != left})
                for left in ("none", *biases)
            ]
            return [tensor for outputs in found for tensor in outputs if tensor is not None]

    torch.testing.assert_close(run(exported(Model(), input), input), results(Model(), input))


@pytest.mark.parametrize("bias", [False, True])
def test_same_numbers_of_the_linear_op(bias: bool) -> None:
    class Linear(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return torch.ops.fused_rnn.linear(input, self.weight, self.bias)

    module, x = Linear(5, 7, bias), random(4, 3, 5, dtype=torch.float32, seed=2)
    torch.testing.assert_close(run(exported(module, x), x), results(module, x))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_other_dtypes_are_valid(dtype: torch.dtype) -> None:
    """ONNX Runtime has no kernels for these on a CPU."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = [Case(cell).module(fused_rnn, dtype) for cell in OPERATORS]
            self.layers = nn.ModuleList(layers)

        def forward(self, input: Tensor) -> list[Tensor]:
            return [layer(input)[0] for layer in self.layers]

    model = exported(Model(), Case("lstm").input(dtype), opset_version=22)
    found = [node.op_type for node in model.graph.node if node.op_type in OPERATORS.values()]
    assert found == list(OPERATORS.values())


def test_a_projection_is_refused() -> None:
    case = Case("lstm", proj_size=3)
    with pytest.raises(torch.onnx.errors.OnnxExporterError, match=r"proj_size.*shape \[3, 7\]"):
        exported(case.module(fused_rnn, torch.float32), case.input(torch.float32))


def test_a_packed_sequence_is_refused() -> None:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = fused_rnn.GRU(5, 7)

        def forward(self, data: Tensor, batch_sizes: Tensor) -> Tensor:
            return self.layer(PackedSequence(data, batch_sizes))[0].data

    with pytest.raises(torch.onnx.errors.OnnxExporterError, match="no packed sequences"):
        exported(Packed(), torch.ones(6, 5), torch.tensor([3, 2, 1]))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.delitem(sys.modules, "fused_rnn.onnx")
    with pytest.raises(ImportError, match="fused_rnn.onnx needs onnxscript"):
        importlib.import_module("fused_rnn.onnx")
