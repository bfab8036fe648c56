"""The op checks each argument and names it; nothing reads out of bounds."""

from typing import Any

import pytest
import torch

from backends import CPU, STEPS, over_backends
from cases import Case, each_cell, over
from fused_rnn import _C, functional
from test_reference import each_op

pytestmark = [over_backends(CPU, STEPS), pytest.mark.usefixtures("backend")]

OPS = torch.ops.fused_rnn
OPTIONAL = ("c_0", "bias_hh", "weight_hr", "batch_sizes")
NAMES = {
    "recurrence": ("xg", "h_0", "weight_hh", *OPTIONAL),
    "layer": ("input", "weight_ih", "h_0", "weight_hh", "bias_ih", *OPTIONAL),
}
PAIRS = [(op, name) for op, names in NAMES.items() for name in names]
each_name = pytest.mark.parametrize(("op", "name"), PAIRS)
each_floating_name = pytest.mark.parametrize(
    ("op", "name"), [(op, name) for op, name in PAIRS if name != "batch_sizes"]
)
# With rows for the layer's own kernel, that is 48, and without.
LSTMS = [
    Case("lstm", proj_size=3, steps=len_0, batch=3, lengths=(len_0, 2, 1)) for len_0 in (4, 60)
]

CHANGES: dict[str, Any] = {
    "float32": lambda t: t.float(),
    "int64": lambda t: t.long(),
    "complex": lambda t: t.to(torch.complex128),
    "float8": lambda t: t.to(torch.float8_e4m3fn),
    "sparse": lambda t: t.to_sparse(),
    "meta": lambda t: t.to("meta"),
    "rank+1": lambda t: t[None],
    "rank-1": lambda t: t[0],
    "narrow": lambda t: t[..., :-1],
    "doubled": lambda t: torch.cat([t, t]),
    "empty": lambda t: t[:0],
    "no features": lambda t: t[..., :0],
}
each_change = pytest.mark.parametrize("change", CHANGES)


@each_name
@pytest.mark.parametrize("value", [3, [1.0], "text"], ids=repr)
def test_no_tensor(op: str, name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"^{name}: expected a Tensor.*, but got"):
        getattr(functional, op)(**{**getattr(LSTMS[0], op)(), name: value})


@each_name
def test_no_tensor_below_python(op: str, name: str) -> None:
    with pytest.raises(RuntimeError, match=f"for argument '{name}'"):
        getattr(OPS, op)(**{**getattr(LSTMS[0], op)(), name: "text", "reverse": False})


@each_floating_name
@each_change
@over(LSTMS)
def test_bad_tensor(case: Case, op: str, name: str, change: str) -> None:
    arguments = getattr(case, op)()
    arguments[name] = CHANGES[change](arguments[name])
    with pytest.raises(RuntimeError) as caught:
        getattr(functional, op)(**arguments)
    # A change of rows or of a weight may make others not fit to it; some argument is named always.
    assert any(f"{tensor}: expected" in str(caught.value) for tensor in NAMES[op]), caught.value


@each_op
@each_cell
def test_missing_and_superfluous_tensors(cell: str, op: str) -> None:
    arguments, function = getattr(Case(cell, steps=2), op)(), getattr(functional, op)
    c_0 = None if cell == "lstm" else arguments["h_0"]
    with pytest.raises(RuntimeError, match="c_0: expected"):
        function(**{**arguments, "c_0": c_0})
    if cell != "lstm":
        with pytest.raises(RuntimeError, match="weight_hr: expected"):
            function(**arguments, weight_hr=torch.ones(3, 7).double())


def bad_sizes(long: int) -> dict[str, list[int]]:
    """Batch sizes that contradict the good ones: 3, 2, 1, then `long` times 1."""
    return {
        "sum too small": [3, 2] + [1] * long,
        "sum too large": [3, 2, 1, 1] + [1] * long,
        "another batch": [2, 2, 2] + [1] * long,
        "increasing": [3, 1, 2] + [1] * long,
        "increasing at the end": [3, 1] + [1] * long + [2],
        "zero at the end": [3, 2, 2] + [1] * (long - 1) + [0],
        "zero": [3, 0, 3] + [1] * long,
        "negative": [3, 5, -2] + [1] * long,
        "negative first": [-1, 4, 3] + [1] * long,
        "huge": [3, 2, 1, 2**62],
        "a sum that overflows": [2**62] * 4,
        "a sum that overflows to the rows": [3, 3, *[2**62] * 4, long],
        "the least": [-(2**63)],
        "none": [],
    }


@each_op
@each_cell
@pytest.mark.parametrize("long", [1, 54])
@pytest.mark.parametrize("bad", bad_sizes(1))
def test_inconsistent_batch_sizes(cell: str, op: str, bad: str, long: int) -> None:
    case = Case(cell, steps=3 + long, batch=3, lengths=(3 + long, 2, 1))
    arguments, function = getattr(case, op)(), getattr(functional, op)
    assert arguments["batch_sizes"].tolist() == [3, 2, 1] + [1] * long
    arguments["batch_sizes"] = torch.tensor(bad_sizes(long)[bad], dtype=torch.int64)
    for reverse in (False, True):
        with pytest.raises(RuntimeError, match="batch_sizes: expected"):
            function(**arguments, reverse=reverse)


@each_op
@pytest.mark.parametrize(
    "change",
    [lambda t: t.int(), lambda t: t.double(), lambda t: t[None], lambda t: t.sum(), torch.diag],
    ids=["int32", "float64", "rank 2", "rank 0", "matrix"],
)
def test_bad_batch_sizes_tensor(op: str, change: Any) -> None:
    arguments = getattr(LSTMS[0], op)()
    arguments["batch_sizes"] = change(arguments["batch_sizes"])
    with pytest.raises(RuntimeError, match="batch_sizes: expected"):
        getattr(functional, op)(**arguments)


SAVED = ("output", "cells", "tape", "h_0", "c_0", "weight_hh", "weight_hr")
GRADIENTS = ("grad_output", "grad_h_n", "grad_c_n")


def backward_arguments(case: Case) -> dict[str, Any]:
    """The arguments of recurrence_backward, all outputs' gradients given."""
    given = {"c_0": None, "bias_hh": None, "weight_hr": None, **case.recurrence(), "reverse": False}
    with torch.no_grad():
        output, h_n, c_n, cells, tape = OPS.recurrence_train(**given)
    grads = [None if t is None else torch.ones_like(t) for t in (output, h_n, c_n)]
    made = {"output": output, "cells": cells, "tape": tape}
    kept = {n: given[n] for n in (*SAVED[3:], "batch_sizes", "cell", "reverse")}
    return {**dict(zip(GRADIENTS, grads, strict=True)), **made, **kept, "output_mask": [True] * 4}


ABSENT = {
    "lstm": (),
    "gru": ("cells", "c_0", "weight_hr", "grad_c_n"),
    "rnn_tanh": ("cells", "c_0", "weight_hr", "grad_c_n", "tape"),
}
BACKWARD_CASES = [LSTMS[0], Case("gru", steps=4, batch=3), Case("rnn_tanh", steps=4, batch=3)]


@each_change
@pytest.mark.parametrize(
    ("case", "name"),
    [
        (case, name)
        for case in BACKWARD_CASES
        for name in SAVED + GRADIENTS
        if name not in ABSENT[case.cell]
    ],
    ids=str,
)
def test_backward_with_inconsistent_tensors(case: Case, name: str, change: str) -> None:
    arguments = backward_arguments(case)
    arguments[name] = CHANGES[change](arguments[name])
    with pytest.raises(RuntimeError) as caught:
        OPS.recurrence_backward(**arguments)
    assert any(f"{n}: expected" in str(caught.value) for n in SAVED + GRADIENTS), caught.value


@pytest.mark.parametrize("name", ["cells", "tape", "c_0"])
@over(BACKWARD_CASES)
def test_backward_with_a_tensor_too_few_or_too_many(case: Case, name: str) -> None:
    arguments = backward_arguments(case)
    arguments[name] = arguments["output"] if arguments[name] is None else None
    with pytest.raises(RuntimeError, match=f"{name}: expected"):
        OPS.recurrence_backward(**arguments)


@pytest.mark.parametrize("bad", bad_sizes(1))
def test_backward_with_inconsistent_batch_sizes(bad: str) -> None:
    arguments = backward_arguments(LSTMS[0])
    arguments["batch_sizes"] = torch.tensor(bad_sizes(1)[bad], dtype=torch.int64)
    with pytest.raises(RuntimeError, match="batch_sizes: expected"):
        OPS.recurrence_backward(**arguments)


@pytest.mark.parametrize("cell", ["LSTM", "rnn", ""])
def test_unknown_cell(cell: str) -> None:
    known = "'rnn_tanh', 'rnn_relu', 'lstm', 'gru'"
    for arguments, function in (
        (Case("gru").recurrence(), functional.recurrence),
        (Case("gru").layer(), functional.layer),
    ):
        with pytest.raises(ValueError, match=f"cell: expected one of {known}, but got '{cell}'"):
            function(**{**arguments, "cell": cell})


def test_cell_that_is_no_text() -> None:
    with pytest.raises(RuntimeError, match="for argument 'cell'"):
        functional.recurrence(**{**Case("gru").recurrence(), "cell": 3})


@pytest.mark.parametrize("name", ["input", "weight_ih", "h_0", "weight_hh"])
def test_layer_names_what_is_missing(name: str) -> None:
    with pytest.raises(TypeError, match=f"^{name}: expected a Tensor, but got NoneType"):
        functional.layer(**{**Case("gru").layer(), name: None})


@each_cell
def test_second_derivative_of_the_bare_op(cell: str) -> None:
    """It needs what the output was made from, which the op itself does not."""
    arguments = backward_arguments(Case(cell, steps=4, batch=3))
    arguments["grad_output"].requires_grad_()
    d_xg = OPS.recurrence_backward(**arguments)[0]
    with pytest.raises(RuntimeError, match="input: expected what output was made from"):
        d_xg.sum().backward()


def test_cuda_kernels_or_a_word_about_them() -> None:
    """What a CUDA tensor meets, tried with tensors of the CPU."""
    if _C.build_info()["cuda"]:
        for name in ("layer", "recurrence", "recurrence_backward", "linear"):
            assert torch._C._dispatch_has_kernel_for_dispatch_key(f"fused_rnn::{name}", "CUDA")
        return
    arguments = Case("lstm").layer()
    names = ("input", "weight_ih", "bias_ih", "h_0", "c_0", "weight_hh", "bias_hh", "weight_hr")
    tensors = [arguments.get(name) for name in names]
    keys = torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)
    with pytest.raises(NotImplementedError, match="got CUDA tensors, but this build of fused_rnn"):
        torch.ops.fused_rnn.layer.default.redispatch(keys, *tensors, None, "lstm", False)


@pytest.mark.parametrize("steps", [4, 60])  # fewer rows and more than the CPU's own product takes
@pytest.mark.parametrize("op", ["layer_train", "recurrence_train"])
def test_a_train_op_ignores_autocast(op: str, steps: int) -> None:
    """It stands below autocast, and its dtypes are those of its arguments."""
    arguments = getattr(Case("lstm", steps=steps), op.removesuffix("_train"))(torch.float32)
    names = [*NAMES[op.removesuffix("_train")], "cell", "reverse"]
    schema = [argument.name for argument in getattr(OPS, op).default._schema.arguments]
    assert set(schema) == set(names)
    given = [arguments.get(name) for name in schema[:-1]]
    expected = getattr(OPS, op)(*given, False)
    with torch.autocast("cpu", torch.bfloat16):
        found = getattr(OPS, op)(*given, False)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
