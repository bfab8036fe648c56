"""The op `linear` equals ATen's linear layer: values, every derivative, layouts, and errors."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from backends import ISAS
from cases import DTYPES, random
from compare import Results, assert_as_accurate, assert_same, gradients, leaf
from fused_rnn import _C

OPS = torch.ops.fused_rnn
# Both sides of the 48 rows from which on our kernel runs forward (csrc/torch/cpu_linear.cpp), of
# its blocks of 192 rows (linear-inl.h) and 256 (outer-inl.h), and of the 6 or 12 rows up to which
# it writes a weight's gradient row after row (outer-inl.h), two to four rows of that at once.
ROWS = (1, 2, 3, 4, 6, 7, 8, 12, 13, 47, 48, 65, 193, 300)
WIDTHS = (
    (1, 1),
    (7, 33),
    (33, 7),
    (65, 100),
    (100, 65),
    (1, 129),
    (1030, 2),
    (2, 1030),
    (208, 700),
)
each_rows = pytest.mark.parametrize("rows", ROWS)
each_width = pytest.mark.parametrize("widths", WIDTHS, ids=str)
each_bias = pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
each_isa = pytest.mark.parametrize("isa", ISAS)


def arguments(
    leading: tuple[int, ...], widths: tuple[int, int], bias: bool, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor | None]:
    """A random input, weight and bias."""
    features, out = widths
    return (
        random(*leading, features, dtype=dtype, seed=1),
        random(out, features, dtype=dtype, seed=2),
        random(out, dtype=dtype, seed=3) if bias else None,
    )


def run(function: Any, given: tuple[Tensor | None, ...], dtype: torch.dtype) -> Results:
    """The output and the gradients of all arguments, from the same values at that dtype."""
    leaves = [None if t is None else leaf(t.to(dtype)) for t in given]
    output = function(*leaves)
    names = zip(("input", "weight", "bias"), leaves, strict=True)
    inputs = {name: tensor for name, tensor in names if tensor is not None}
    return {"output": output.detach(), **gradients({"output": output}, inputs)}


@each_isa
@each_bias
@each_width
@each_rows
def test_float64(rows: int, widths: tuple[int, int], bias: bool, isa: str) -> None:
    _C.set_cpu_isa(isa)
    given = arguments((rows,), widths, bias, torch.float64)
    assert_same(run(OPS.linear, given, torch.float64), run(linear, given, torch.float64))


@each_isa
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@each_width
@pytest.mark.parametrize("rows", [3, 12, 65, 300])
def test_lower_precision(rows: int, widths: tuple[int, int], dtype: torch.dtype, isa: str) -> None:
    _C.set_cpu_isa(isa)
    given = arguments((rows,), widths, True, dtype)
    found = run(OPS.linear, given, dtype), run(linear, given, dtype)
    assert_as_accurate(*found, run(linear, given, torch.float64))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(("rows", "widths"), [(1000, (100, 129)), (6, (300, 1200))], ids=str)
def test_threads(rows: int, widths: tuple[int, int], dtype: torch.dtype, threads: int) -> None:
    """The same bits from any number of threads, with several blocks of rows each, or of a few."""
    given = arguments((rows,), widths, True, dtype)
    expected = run(OPS.linear, given, dtype)
    if rows < 48:
        del expected["output"]  # ATen's
    torch.set_num_threads(threads)
    found = run(OPS.linear, given, dtype)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize(
    "leading", [(), (3,), (48,), (0,), (9, 7), (7, 0), (0, 5), (2, 5, 6), (2, 3, 4, 5)], ids=str
)
@each_bias
def test_any_rank(leading: tuple[int, ...], bias: bool) -> None:
    given = arguments(leading, (5, 7), bias, torch.float64)
    assert_same(run(OPS.linear, given, torch.float64), run(linear, given, torch.float64))


@pytest.mark.parametrize("widths", [(0, 3), (3, 0), (0, 0)], ids=str)
@pytest.mark.parametrize("rows", [0, 3, 64])
def test_empty(rows: int, widths: tuple[int, int]) -> None:
    given = arguments((rows,), widths, True, torch.float64)
    assert_same(run(OPS.linear, given, torch.float64), run(linear, given, torch.float64))


LAYOUTS = {
    "transposed": lambda t: t.transpose(0, -1).contiguous().transpose(0, -1),
    "cut": lambda t: t.repeat_interleave(2, -1)[..., 1::2],
    "expanded": lambda t: t[:1].expand_as(t),
    "offset": lambda t: torch.cat([t[:1], t])[1:],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("leading", [(7,), (65,), (8, 9)], ids=str)
def test_any_strides(leading: tuple[int, ...], layout: str) -> None:
    given = arguments(leading, (9, 5), True, torch.float64)
    given = tuple(LAYOUTS[layout](t) for t in given if t is not None)
    assert_same(run(OPS.linear, given, torch.float64), run(linear, given, torch.float64))


@each_bias
@pytest.mark.parametrize("leading", [(4,), (50,), (7, 8)], ids=str)
def test_derivatives(leading: tuple[int, ...], bias: bool) -> None:
    """First and second order, forward mode and batched gradients, by finite differences."""
    given = tuple(leaf(t) for t in arguments(leading, (3, 2), bias, torch.float64) if t is not None)

    def function(*tensors: Tensor) -> Tensor:
        return OPS.linear(*tensors, *(() if bias else (None,)))

    options = {"check_forward_ad": True, "check_batched_grad": True}
    torch.autograd.gradcheck(function, given, **options)
    torch.autograd.gradgradcheck(function, given, check_batched_grad=True)


@pytest.mark.parametrize("wanted", list(itertools.product((True, False), repeat=3)), ids=str)
@pytest.mark.parametrize("rows", [5, 64])
def test_gradients_that_are_wanted(rows: int, wanted: tuple[bool, bool, bool]) -> None:
    given = arguments((rows,), (5, 7), True, torch.float64)
    grad = random(rows, 7, dtype=torch.float64, seed=4)
    found = OPS.linear_backward(grad, given[0], given[1], wanted)
    expected = (grad @ given[1], grad.T @ given[0], grad.sum(0))
    for ours, theirs, asked in zip(found, expected, wanted, strict=True):
        assert (ours is not None) == asked
        if asked:
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [5, 64])
@pytest.mark.parametrize("in_dims", list(itertools.product((0, None), repeat=3))[:-1], ids=str)
def test_vmap(rows: int, in_dims: tuple[int | None, ...]) -> None:
    given = arguments((rows,), (5, 7), True, torch.float64)
    batched = [
        t if dim is None else torch.stack([t, 2 * t, t - 1])
        for t, dim in zip(given, in_dims, strict=True)
    ]
    found, expected = (torch.vmap(f, in_dims)(*batched) for f in (OPS.linear, linear))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [5, 64])
def test_function_transforms(rows: int) -> None:
    x, weight, bias = arguments((rows,), (5, 3), True, torch.float64)

    def loss(function: Any) -> Any:
        return lambda w: function(x, w, bias).sin().sum()

    for transform in (torch.func.grad, torch.func.jacrev, torch.func.jacfwd, torch.func.hessian):
        found, expected = (transform(loss(f))(weight) for f in (OPS.linear, linear))
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@each_bias
@pytest.mark.parametrize("leading", [(5,), (64,), (8, 9)], ids=str)
def test_opcheck(leading: tuple[int, ...], bias: bool) -> None:
    given = arguments(leading, (5, 7), bias, torch.float64)
    torch.library.opcheck(OPS.linear.default, [None if t is None else leaf(t) for t in given])
    grad = random(*leading, 7, dtype=torch.float64, seed=4)
    for wanted in ((True, True, bias), (True, False, False), (False, True, bias)):
        torch.library.opcheck(OPS.linear_backward.default, (grad, *given[:2], wanted))


@pytest.mark.parametrize("rows", [5, 64])
def test_autocast(rows: int) -> None:
    given = arguments((rows,), (5, 7), True, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = (run(f, given, torch.float32) for f in (OPS.linear, linear))
    assert found["output"].dtype == torch.bfloat16
    assert found["gradient of weight"].dtype == torch.float32
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=lambda m, name=name: f"{name}: {m}")


BAD_ARGUMENTS: dict[str, Any] = {
    "narrow input": lambda x, w, b: (x[..., :-1], w, b),
    "wide input": lambda x, w, b: (torch.cat([x, x], -1), w, b),
    "scalar input": lambda x, w, b: (x.sum(), w, b),
    "weight of rank 3": lambda x, w, b: (x, w[None], b),
    "weight of rank 0": lambda x, w, b: (x, w.sum(), b),
    "weight of another dtype": lambda x, w, b: (x, w.float(), b),
    "weight of integers": lambda x, w, b: (x, w.long(), b),
    "short bias": lambda x, w, b: (x, w, b[:-1]),
    "long bias": lambda x, w, b: (x, w, torch.cat([b, b])),
    "bias of another dtype": lambda x, w, b: (x, w, b.float()),
}


@pytest.mark.parametrize("bad", BAD_ARGUMENTS)
@pytest.mark.parametrize("rows", [5, 64])
def test_errors_are_those_of_aten(rows: int, bad: str) -> None:
    given = BAD_ARGUMENTS[bad](*arguments((rows,), (5, 7), True, torch.float64))
    errors = []
    for function in (OPS.linear, linear):
        with pytest.raises((RuntimeError, IndexError, ValueError)) as caught:
            function(*given)
        errors.append(caught.value)
    assert type(errors[0]) is type(errors[1])
    assert str(errors[0]) == str(errors[1])


@pytest.mark.parametrize("rows", [5, 64])
def test_devices(rows: int) -> None:
    """ATen computes with a meta tensor's absent memory; here it is an error."""
    x, weight, bias = arguments((rows,), (5, 7), True, torch.float64)
    assert bias is not None
    with pytest.raises(RuntimeError, match="weight: expected device cpu, but got meta"):
        OPS.linear(x, weight.to("meta"), None)
    with pytest.raises(RuntimeError, match="bias: expected device cpu, but got meta"):
        OPS.linear(x, weight, bias.to("meta"))


BAD_GRADIENTS: dict[str, Any] = {
    "fewer rows of gradient": lambda g, x, w: (g[:-1], x, w),
    "fewer rows of input": lambda g, x, w: (g, x[:-1], w),
    "narrow gradient": lambda g, x, w: (g[:, :-1], x, w),
    "wide gradient": lambda g, x, w: (torch.cat([g, g], 1), x, w),
    "narrow input": lambda g, x, w: (g, x[:, :-1].contiguous(), w),
    "wide input": lambda g, x, w: (g, torch.cat([x, x], 1), w),
    "narrow weight": lambda g, x, w: (g, x, w[:, :-1].contiguous()),
    "low weight": lambda g, x, w: (g, x, w[:-1]),
    "vector of weights": lambda g, x, w: (g, x, w[0]),
    "gradient of rank 1": lambda g, x, w: (g[0], x, w),
    "gradient of rank 3": lambda g, x, w: (g[None], x[:-1], w),
    "gradient of another dtype": lambda g, x, w: (g.float(), x, w),
    "input of another dtype": lambda g, x, w: (g, x.float(), w),
    "weight of another dtype": lambda g, x, w: (g, x, w.float()),
    "no rows of gradient": lambda g, x, w: (g[:0], x, w),
    "no rows of input": lambda g, x, w: (g, x[:0], w),
}


@pytest.mark.parametrize("bad", BAD_GRADIENTS)
@pytest.mark.parametrize("rows", [5, 64])
def test_backward_refuses_what_does_not_fit(rows: int, bad: str) -> None:
    """No pointer is passed on for shapes that disagree (scripts/sanitize.sh would see it)."""
    x, weight, _ = arguments((rows,), (5, 7), False, torch.float64)
    given = BAD_GRADIENTS[bad](random(rows, 7, dtype=torch.float64, seed=4), x, weight)
    with pytest.raises((RuntimeError, IndexError)):
        OPS.linear_backward(*given, (True, True, True))
