"""Our ops as ONNX's own operators RNN, LSTM and GRU, for `torch.onnx.export`.

A layer in one direction becomes one operator. Its weights are torch.nn's with the gates in ONNX's
order and, as its states and its output, with an axis for the directions, of which there is one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

try:
    from onnxscript import ir, opset18
except ModuleNotFoundError as error:
    message = "fused_rnn.onnx needs onnxscript: pip install onnx onnxscript (the extra [onnx])"
    raise ImportError(message) from error

op: Any = opset18  # annotated for scripts, not for a trace
Value = Any  # ir.Value, which the exporter cannot read from an annotation


class _Operator(NamedTuple):
    name: str
    gates: list[int]  # torch.nn's gates in ONNX's order
    attributes: dict[str, Any]


_OPERATORS = {
    "rnn_tanh": _Operator("RNN", [0], {"activations": ["Tanh"]}),
    "rnn_relu": _Operator("RNN", [0], {"activations": ["Relu"]}),
    "lstm": _Operator("LSTM", [0, 3, 1, 2], {}),  # of i f g o: i o f g
    "gru": _Operator("GRU", [1, 0, 2], {"linear_before_reset": 1}),  # of r z n: z r n
}


def translation_table() -> dict[Callable[..., Any], Callable[..., Any]]:
    """What our ops are in ONNX: the `custom_translation_table` of `torch.onnx.export`.

    An export fails with `torch.onnx.errors.OnnxExporterError`, whose text names the argument, where
    a layer has what these operators do not: a projection (`proj_size`) or packed sequences.

    Example:
        table = fused_rnn.onnx.translation_table()
        torch.onnx.export(model, (x,), "model.onnx", dynamo=True, custom_translation_table=table)
    """
    ops = torch.ops.fused_rnn
    return {
        ops.layer.default: _layer,
        ops.recurrence.default: _recurrence,
        ops.linear.default: _linear,
    }


def _layer(
    input: Value,
    weight_ih: Value,
    bias_ih: Value | None,
    h_0: Value,
    c_0: Value | None,
    weight_hh: Value,
    bias_hh: Value | None,
    weight_hr: Value | None,
    batch_sizes: Value | None,
    cell: str,
    reverse: bool,
) -> tuple[Value, ...]:
    """`(output, h_n)`, and c_n where the cell has one."""
    if weight_hr is not None:
        raise NotImplementedError(
            "weight_hr: expected None, since ONNX's LSTM has no projection (proj_size), "
            f"but got a tensor of shape {_sizes(weight_hr)}"
        )
    if batch_sizes is not None:
        raise NotImplementedError(
            "batch_sizes: expected None, since ONNX has no packed sequences, but got a tensor"
        )
    one_step = len(input.shape) == 2  # [batch, features]
    operator = _OPERATORS[cell]
    states = [h_0] if c_0 is None else [h_0, c_0]
    output, *final = getattr(op, operator.name)(
        op.Unsqueeze(input, [0]) if one_step else input,
        _weight(weight_ih, cell),
        _weight(weight_hh, cell),
        _biases(bias_ih, bias_hh, cell),
        None,  # sequence_lens
        *(op.Unsqueeze(state, [0]) for state in states),
        hidden_size=_sizes(weight_hh)[1],
        direction="reverse" if reverse else "forward",
        **operator.attributes,
    )
    output = op.Squeeze(output, [0, 1] if one_step else [1])
    return output, *(op.Squeeze(state, [0]) for state in final)


def _recurrence(
    xg: Value,
    h_0: Value,
    c_0: Value | None,
    weight_hh: Value,
    bias_hh: Value | None,
    weight_hr: Value | None,
    batch_sizes: Value | None,
    cell: str,
    reverse: bool,
) -> tuple[Value, ...]:
    """A layer whose projection is the identity: ONNX has no recurrence without one."""
    gates = _sizes(weight_hh)[0]
    identity = op.EyeLike(_zeros(weight_hh, [gates, gates]))
    identity.shape = ir.Shape([gates, gates])
    states = (h_0, c_0, weight_hh, bias_hh, weight_hr)
    return _layer(xg, identity, None, *states, batch_sizes, cell, reverse)


def _linear(input: Value, weight: Value, bias: Value | None) -> Value:
    product = op.MatMul(input, op.Transpose(weight, perm=[1, 0]))
    return product if bias is None else op.Add(product, bias)


def _weight(weight: Value, cell: str) -> Value:
    """A weight or a bias with its gates in ONNX's order, [1, gates * hidden, ...]."""
    order = _OPERATORS[cell].gates
    rows, *features = _sizes(weight)
    gates = op.Reshape(weight, [len(order), rows // len(order), *features])
    return op.Reshape(op.Gather(gates, order, axis=0), [1, rows, *features])


def _biases(bias_ih: Value | None, bias_hh: Value | None, cell: str) -> Value | None:
    """Both, [1, 2 * gates * hidden], with zeros for one that is missing."""
    given = bias_hh if bias_ih is None else bias_ih
    if given is None:
        return None
    zeros = _zeros(given, [1, *_sizes(given)])
    biases = [zeros if b is None else _weight(b, cell) for b in (bias_ih, bias_hh)]
    return op.Concat(*biases, axis=1)


def _zeros(like: Value, sizes: list[int]) -> Value:
    return op.Expand(op.CastLike(op.Constant(value_float=0.0), like), sizes)


def _sizes(weight: Value) -> list[int]:
    return [int(size) for size in weight.shape]
