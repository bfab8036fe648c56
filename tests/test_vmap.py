"""vmap over the ops is the loop over samples: alone, over every transform and under it.

PyTorch's own loop, which an op without a rule falls back to, is forbidden here.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.utils._pytree import tree_leaves, tree_map

from cases import CELLS, Case, each_cell, over, random
from fused_rnn import functional
from test_memory import Recorder
from test_reference import both_directions, each_op

Tensors = dict[str, Tensor]
Dims = dict[str, int | None]
Function = Callable[[Tensors], Any]

SAMPLES = 3

CASES = [
    Case(cell, input_size=2, hidden_size=3, steps=3, batch=3, lengths=lengths)
    for cell in CELLS
    for lengths in (None, (3, 2, 2))
] + [
    Case("lstm", hidden_size=3, proj_size=2, steps=2, batch=1, bias=False),
    Case("lstm", hidden_size=3, proj_size=2, steps=3, batch=3, lengths=(3, 3, 1)),
    Case("gru", hidden_size=3, steps=2, batch=1, bias=False),
    Case("gru", hidden_size=3, steps=0, batch=2),
    Case("rnn_tanh", hidden_size=3, steps=2, batch=0),
]

# Which arguments, of those that an op and a case have, differ between samples.
WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
VARYING = {
    "data": ("xg", "input", "h_0", "c_0"),
    "input": ("xg", "input"),
    "h_0": ("h_0",),
    "weights": WEIGHTS,
    "weight_ih": ("weight_ih",),
    "weight_hh": ("weight_hh", "xg", "input"),
    "biases": ("bias_ih", "bias_hh", "h_0"),
}


def problem(
    case: Case, op: str, varying: str = "data", reverse: bool = False
) -> tuple[Function, Tensors, Dims]:
    """The op as a function of its floating tensors, these, and where those that vary have samples:
    first, last or between."""
    arguments = getattr(case, op)()
    tensors: Tensors = {}
    dims: Dims = {}
    for name, value in arguments.items():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            continue
        tensors[name], dims[name] = value, None
        if name in VARYING[varying]:
            dims[name] = dim = len(tensors) % (value.dim() + 1)
            tensors[name] = torch.stack([value, value.sin(), value.cos()], dim)

    def function(given: Tensors) -> tuple[Tensor, ...]:
        results = getattr(functional, op)(**{**arguments, **given}, reverse=reverse)
        return tuple(result for result in results if result is not None)

    return function, tensors, dims


def looped(function: Function, dims: Dims) -> Function:
    """vmap by a loop."""

    def call(given: Tensors) -> Any:
        samples = [
            function({n: t if dims[n] is None else t.select(dims[n], i) for n, t in given.items()})
            for i in range(SAMPLES)
        ]
        return tree_map(lambda *results: torch.stack(results), *samples)

    return call


def scalar(function: Function) -> Callable[[Tensors], Tensor]:
    """A function of all results whose derivatives of every order depend on its arguments."""
    return lambda given: torch.stack([r.sin().sum() for r in tree_leaves(function(given))]).sum()


def directed(function: Function) -> Function:
    return lambda given: jvp(function, (given,), ({n: t.cos() for n, t in given.items()},))


TRANSFORMS: dict[str, Callable[[Function], Function]] = {
    "none": lambda function: function,
    "grad": lambda function: grad(scalar(function)),
    "jvp": directed,
    "grad of grad": lambda function: grad(scalar(grad(scalar(function)))),
    "jvp of grad": lambda function: directed(grad(scalar(function))),
    "grad of jvp": lambda function: grad(scalar(directed(function))),
    "jacrev": jacrev,
    "jacfwd": jacfwd,
    "hessian": lambda function: hessian(scalar(function)),
}

each_problem = pytest.mark.parametrize(
    ("case", "transform"), [(case, name) for case in CASES for name in TRANSFORMS], ids=str
)


@pytest.fixture(autouse=True)
def _no_fallback() -> Iterator[None]:
    functorch = torch._C._functorch
    functorch._set_vmap_fallback_enabled(False)
    yield
    functorch._set_vmap_fallback_enabled(True)


def assert_close(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@both_directions
@each_op
@pytest.mark.parametrize("varying", VARYING)
@over(CASES)
def test_value_and_gradient(case: Case, varying: str, op: str, reverse: bool) -> None:
    if (op, varying) == ("recurrence", "weight_ih"):
        pytest.skip("the recurrence has no weight_ih")
    function, tensors, dims = problem(case, op, varying, reverse)
    batched, loop = vmap(function, (dims,)), looped(function, dims)
    assert_close(batched(tensors), loop(tensors))
    assert_close(grad(scalar(batched))(tensors), grad(scalar(loop))(tensors))
    of_each = grad(scalar(function))
    assert_close(vmap(of_each, (dims,))(tensors), looped(of_each, dims)(tensors))


@pytest.mark.parametrize("varying", ["data", "weight_hh"])
@each_problem
def test_over_every_transform(case: Case, transform: str, varying: str) -> None:
    function, tensors, dims = problem(case, "layer", varying)
    function = TRANSFORMS[transform](function)
    assert_close(vmap(function, (dims,))(tensors), looped(function, dims)(tensors))


@pytest.mark.parametrize("varying", ["data", "weight_hh"])
@each_problem
def test_under_every_transform(case: Case, transform: str, varying: str) -> None:
    function, tensors, dims = problem(case, "layer", varying)
    found = TRANSFORMS[transform](vmap(function, (dims,)))(tensors)
    assert_close(found, TRANSFORMS[transform](looped(function, dims))(tensors))


@pytest.mark.parametrize("varying", ["data", "weight_ih", "biases"])
@over([case for case in CASES if case.lengths is None])
def test_gradient_of_one_argument(case: Case, varying: str) -> None:
    """Of which no other gradient is wanted, and the gradient of that by all arguments."""
    function, tensors, dims = problem(case, "layer", varying)
    for name in tensors:

        def of_each(given: Tensors, name: str = name) -> Tensor:
            return grad(lambda one: scalar(function)({**given, name: one}))(given[name])

        batched, loop = vmap(of_each, (dims,)), looped(of_each, dims)
        assert_close(batched(tensors), loop(tensors))
        assert_close(grad(scalar(batched))(tensors), grad(scalar(loop))(tensors))


@pytest.mark.parametrize("inner", ["data", "h_0", "weights"])
@pytest.mark.parametrize("outer", ["data", "input", "weight_hh"])
@each_op
@over(CASES)
def test_nested(case: Case, op: str, outer: str, inner: str) -> None:
    """Two levels, which the same tensors or others are batched at, and a gradient between them."""
    function, tensors, dims = problem(case, op, inner)
    _, _, names = problem(case, op, outer)
    outer_dims = {name: None if dim is None else 0 for name, dim in names.items()}
    for name, dim in outer_dims.items():
        if dim is not None:
            tensors[name] = torch.stack([tensors[name], tensors[name].cos(), tensors[name].sin()])
    found = vmap(grad(scalar(vmap(function, (dims,)))), (outer_dims,))(tensors)
    expected = looped(grad(scalar(looped(function, dims))), outer_dims)(tensors)
    assert_close(found, expected)


def kernels(function: Callable[..., Any], given: Any) -> list[str]:
    """The ops that a call runs, but for those of the projection."""
    with Recorder() as recorder:
        function(given)
    return [name for name in recorder.names if not name.startswith("linear")]


@pytest.mark.parametrize("lengths", [None, (9, 5, 5, 2, 1)], ids=["dense", "ragged"])
@each_op
@each_cell
def test_samples_of_data_reach_the_kernels_as_one(
    cell: str, op: str, lengths: tuple[int, ...] | None
) -> None:
    case = Case(cell, lengths=lengths)
    function, tensors, dims = problem(case, op)
    weights = {name: tensors[name] for name, dim in dims.items() if dim is None}
    data = {name: tensors[name] for name, dim in dims.items() if dim is not None}
    data_dims = {name: dims[name] for name in data}

    def of_data(given: Tensors) -> Tensor:
        return scalar(function)({**given, **weights})

    def of_weights(given: Tensors) -> Tensor:
        return scalar(vmap(lambda data: function({**data, **given}), (data_dims,)))(data)

    assert kernels(vmap(of_data, (data_dims,)), data) == ["recurrence"]
    for gradient, given in (
        (vmap(grad(of_data), (data_dims,)), data),
        (grad(of_weights), weights),
    ):
        assert kernels(gradient, given) == ["recurrence_train", "recurrence_backward"]


@each_op
@each_cell
def test_jacobian_takes_one_backward(cell: str, op: str) -> None:
    arguments, function = getattr(Case(cell), op)(), getattr(functional, op)
    h_0 = arguments.pop("h_0")
    jacobian = jacrev(lambda h: function(h_0=h, **arguments)[0])
    assert kernels(jacobian, h_0) == [f"{op}_train", "recurrence_backward"]


@each_op
@each_cell
def test_no_samples(cell: str, op: str) -> None:
    for lengths in (None, (9, 5, 5, 2, 1)):
        function, tensors, dims = problem(Case(cell, lengths=lengths), op)
        of_each = grad(scalar(function))
        expected = looped(of_each, dims)(tensors)
        none = {n: t if dims[n] is None else t.narrow(dims[n], 0, 0) for n, t in tensors.items()}
        found = vmap(of_each, (dims,))(none)
        assert_close(found, {name: g[:0] for name, g in expected.items()})


def test_samples_share_batch_sizes() -> None:
    arguments = Case("lstm", lengths=(3, 2), steps=3, batch=2).recurrence()
    sizes = arguments.pop("batch_sizes")
    with pytest.raises(RuntimeError, match="batch_sizes: expected one tensor for all samples"):
        vmap(lambda b: functional.recurrence(batch_sizes=b, **arguments)[0])(sizes.expand(4, -1))


@pytest.mark.parametrize("shape", [(), (7,), (5, 6), (4, 7), (1, 5, 7)], ids=str)
def test_a_wrong_shape_is_named(shape: tuple[int, ...]) -> None:
    arguments = Case("gru").recurrence()
    del arguments["h_0"]
    h_0 = torch.zeros(SAMPLES, *shape, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="h_0: expected"):
        vmap(lambda h: functional.recurrence(h_0=h, **arguments)[0])(h_0)


@each_cell
def test_compiled(cell: str) -> None:
    function, tensors, dims = problem(Case(cell), "layer")
    of_each = vmap(grad(scalar(function)), (dims,))
    compiled = torch.compile(of_each, fullgraph=True, backend="aot_eager")
    assert_close(compiled(tensors), of_each(tensors))


def test_one_of_the_gradients_of_a_gradient() -> None:
    """vmap over the direction of one weight's gradient alone."""
    layer = Case("gru").layer()
    input, weight = layer.pop("input"), layer.pop("weight_ih")

    def gradients(input: Tensor, weight: Tensor) -> Any:
        function = lambda i, w: functional.layer(input=i, weight_ih=w, **layer)[0]  # noqa: E731
        output, pull = vjp(function, input, weight)
        return pull(output)

    _, pull = vjp(gradients, input, weight)
    along = random(3, *weight.shape, dtype=torch.float64, seed=30)
    found = vmap(lambda one: pull((input, one)))(along)
    for sample, one in enumerate(along):
        assert_close([g[sample] for g in found], list(pull((input, one))))
