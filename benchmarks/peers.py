"""ONNX Runtime and OpenVINO: float32 inference of whole layers, when installed (extra `bench`).

Both get one ONNX graph of one RNN, LSTM or GRU node, the problem's weights in ONNX's gate order,
and preallocated buffers bound once, so that a call copies nothing.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from .contestants import Contestant, Unavailable
from .problem import Problem, class_name, flatten
from .timing import Run

# Blocks of rows of torch.nn's weights in the order of ONNX's: LSTM i o f c, GRU z r h.
GATE_ORDER = {"rnn": [0], "lstm": [0, 3, 1, 2], "gru": [1, 0, 2]}
STATES = {"rnn": ["h"], "lstm": ["h", "c"], "gru": ["h"]}


def _require(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise Unavailable(f"{name} is not installed ({error})") from None


def _onnx_weights(problem: Problem) -> dict[str, Any]:
    """W [1, gates * hidden, input], R [1, gates * hidden, hidden], B [1, 2 * gates * hidden]."""
    order = GATE_ORDER[problem.point.cell]

    def reorder(weight: Tensor) -> Tensor:
        blocks = weight.detach().chunk(len(order))
        return torch.cat([blocks[gate] for gate in order])

    w_ih, w_hh, b_ih, b_hh = (reorder(p) for p in problem.module.parameters())
    tensors = {"W": w_ih, "R": w_hh, "B": torch.cat([b_ih, b_hh])}
    return {name: tensor.unsqueeze(0).numpy() for name, tensor in tensors.items()}


def onnx_model(problem: Problem) -> bytes:
    """One node; X, h_0 (and c_0) -> Y [steps, 1, batch, hidden], h_n (and c_n)."""
    onnx = _require("onnx")
    helper, numpy_helper = (import_module("onnx.helper"), import_module("onnx.numpy_helper"))
    point = problem.point
    batch, steps, hidden = point.shape
    states = STATES[point.cell]

    def value(name: str, *shape: int) -> Any:
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    attributes = {"linear_before_reset": 1} if point.cell == "gru" else {}
    node = helper.make_node(
        class_name(point),
        ["X", "W", "R", "B", "", *(f"{s}_0" for s in states)],
        ["Y", *(f"{s}_n" for s in states)],
        hidden_size=hidden,
        **attributes,
    )
    graph = helper.make_graph(
        [node],
        point.id,
        [value("X", steps, batch, hidden), *(value(f"{s}_0", 1, batch, hidden) for s in states)],
        [value("Y", steps, 1, batch, hidden), *(value(f"{s}_n", 1, batch, hidden) for s in states)],
        [numpy_helper.from_array(a, name) for name, a in _onnx_weights(problem).items()],
    )
    # Opset and IR of 2022: every release since then reads them.
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    return bytes(model.SerializeToString())


def _check(problem: Problem) -> None:
    if problem.point.family != "layer" or problem.point.training:
        raise Unavailable("takes part in the inference of whole layers only")


def _inputs(problem: Problem) -> dict[str, Any]:
    names = ["X", *(f"{s}_0" for s in STATES[problem.point.cell])]
    tensors = [*flatten(problem.input), *flatten(problem.state)]
    return {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}


def _squeeze(outputs: list[Any]) -> list[Any]:
    """Y [steps, 1, batch, hidden] without ONNX's axis of directions, then the final states."""
    return [outputs[0][:, 0], *outputs[1:]]


class OnnxRuntime:
    name = "onnxruntime"

    def build(self, problem: Problem) -> Run:
        _check(problem)
        ort = _require("onnxruntime")
        options = ort.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        session = ort.InferenceSession(onnx_model(problem), options, ["CPUExecutionProvider"])
        binding = session.io_binding()
        inputs = _inputs(problem)
        for name, array in inputs.items():
            binding.bind_cpu_input(name, array)
        outputs = [torch.empty(output.shape).numpy() for output in session.get_outputs()]
        for output, array in zip(session.get_outputs(), outputs, strict=True):
            pointer = array.ctypes.data
            binding.bind_output(output.name, "cpu", 0, array.dtype, array.shape, pointer)
        result = _squeeze(outputs)

        def run() -> Any:
            session.run_with_iobinding(binding)
            return result

        return run


class OpenVino:
    name = "openvino"

    def build(self, problem: Problem) -> Run:
        _check(problem)
        ov = _require("openvino")
        core = ov.Core()
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 where the CPU has it
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        compiled = core.compile_model(core.read_model(onnx_model(problem), b""), "CPU", settings)
        request = compiled.create_infer_request()
        for name, array in _inputs(problem).items():
            request.set_tensor(name, ov.Tensor(array, shared_memory=True))
        result = _squeeze([request.get_tensor(output).data for output in compiled.outputs])

        def run() -> Any:
            request.infer()
            return result

        return run


PEERS: dict[str, Contestant] = {peer.name: peer for peer in (OnnxRuntime(), OpenVino())}
