"""PyTorch's tracers and compilers; what they make runs at sizes and values they did not see."""

import io
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch.export import Dim
from torch.fx.experimental.proxy_tensor import make_fx

from .layer import Layer, Model, Point, flat, gradient, leaves, scalar
from .table import Pair, row

GROUP = "Compilation"
Sizes = tuple[tuple[int, int], ...]  # steps, batch

SIZES: Sizes = ((5, 4), (7, 6), (3, 9))  # the first is traced: unlike any size of the layer
FLOAT32 = (torch.float32,)
T = TypeVar("T")


def compiled(layer: Layer, backend: Any, **options: Any) -> Callable[..., Any]:
    made: Callable[..., Any] = torch.compile(
        layer.module, fullgraph=True, backend=backend, **options
    )
    return made


def first_and_rest(counter: CompileCounterWithBackend, calls: Iterable[T]) -> list[T]:
    """The results of calls of which the first alone compiles."""
    results = iter(calls)
    found, count = [next(results)], counter.frame_count
    found += results
    if count == 0 or counter.frame_count != count:
        raise RuntimeError(f"compiled {count} times, and {counter.frame_count - count} times more")
    return found


def trained(layer: Layer, call: Callable[..., Any]) -> Pair:
    x = layer.input()
    return layer.trained(x, call), layer.plain.trained(x)


@row(GROUP, "`torch.compile`, aot_eager")
def compile_aot_eager(layer: Layer) -> Pair:
    """`fullgraph=True`: outputs and all gradients."""
    return trained(layer, compiled(layer, "aot_eager"))


@row(GROUP, "`torch.compile`, `allow_rnn`")
def compile_allow_rnn(layer: Layer) -> Pair:
    """The same with `torch._dynamo.config.allow_rnn = True`, which is not the default."""
    with torch._dynamo.config.patch(allow_rnn=True):
        return trained(layer, compiled(layer, "aot_eager"))


@row(GROUP, "`torch.compile`, inductor", dtypes=FLOAT32, slow=True)
def compile_inductor(layer: Layer) -> Pair:
    """`fullgraph=True`: outputs and all gradients."""
    return trained(layer, compiled(layer, "inductor"))


@row(GROUP, "`torch.compile`, dynamic")
def compile_dynamic(layer: Layer) -> Pair:
    """`dynamic=True`, aot_eager: one graph for changing steps and batch, with all gradients."""
    counter = CompileCounterWithBackend("aot_eager")
    call = compiled(layer, counter, dynamic=True)
    found = (layer.trained(layer.input(*size), call) for size in SIZES)
    return first_and_rest(counter, found), [
        layer.plain.trained(layer.input(*size)) for size in SIZES
    ]


@row(GROUP, "`torch.compile`, training loop")
def compile_loop(layer: Layer) -> Pair:
    """The weights after each of three steps of SGD with momentum, aot_eager: one graph."""
    counter = CompileCounterWithBackend("aot_eager")
    call, x = compiled(layer, counter), layer.input()
    plain, weights = layer.plain, leaves(layer.plain.weights)

    def train(parameters: list[Any], outputs: Callable[[], Point]) -> Iterator[Point]:
        optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
        for _ in range(3):
            optimizer.zero_grad()
            scalar(outputs()).backward()
            optimizer.step()
            yield tuple(parameter.detach().clone() for parameter in parameters)

    found = train(list(layer.module.parameters()), lambda: flat(call(x)))
    expected = train(list(weights), lambda: plain.outputs(x.double(), *weights))
    return first_and_rest(counter, found), list(expected)


def exported(layer: Layer, *dynamic: str) -> torch.export.ExportedProgram:
    dims = {index: Dim(name) for index, name in enumerate(("steps", "batch")) if name in dynamic}
    return torch.export.export(layer.module, (layer.input(*SIZES[0]),), dynamic_shapes=(dims,))


def loaded(program: torch.export.ExportedProgram) -> Callable[..., Any]:
    """What comes back of a program that was saved."""
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    return torch.export.load(file).module()


def at_sizes(layer: Layer, call: Callable[..., Any], sizes: Sizes = SIZES) -> Pair:
    plain = layer.plain
    inputs = [layer.input(*size) for size in sizes]
    with torch.no_grad():
        found = [flat(call(x)) for x in inputs]
        return found, [plain.outputs(x.double(), *plain.weights) for x in inputs]


@row(GROUP, "`torch.export`, dynamic batch")
def export_batch(layer: Layer) -> Pair:
    """Saved, loaded, and run at other batches."""
    sizes = tuple((SIZES[0][0], batch) for _, batch in SIZES)
    return at_sizes(layer, loaded(exported(layer, "batch")), sizes)


@row(GROUP, "`torch.export`, dynamic steps and batch")
def export(layer: Layer) -> Pair:
    """Saved, loaded, and run at other steps and batches."""
    return at_sizes(layer, loaded(exported(layer, "steps", "batch")))


@row(GROUP, "AOTInductor", dtypes=FLOAT32, slow=True)
def aot_inductor(layer: Layer) -> Pair:
    """That program compiled into a package, which Python loads and runs at other sizes."""
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = str(Path(folder) / "layer.pt2")
        torch._inductor.aoti_compile_and_package(
            exported(layer, "steps", "batch"), package_path=path
        )
        return at_sizes(layer, torch._inductor.aoti_load_package(path))


@row(GROUP, "compiled autograd", dtypes=FLOAT32)
def compiled_autograd(layer: Layer) -> Pair:
    """An eager forward pass, its backward pass captured as one graph (aot_eager)."""
    counter = CompileCounterWithBackend("aot_eager")
    with torch._dynamo.compiled_autograd._enable(torch.compile(backend=counter, fullgraph=True)):
        (x,) = leaves((layer.input(),))
        outputs = flat(layer.module(x))
        scalar(outputs).backward()
    if counter.frame_count == 0:
        raise RuntimeError("nothing was compiled")
    gradients = (x.grad, *(parameter.grad for parameter in layer.module.parameters()))
    return (outputs, gradients), layer.plain.trained(layer.input())


@row(GROUP, "compiled autograd, double backward", dtypes=FLOAT32)
def compiled_double_backward(layer: Layer) -> Pair:
    """A gradient with `create_graph=True`, the backward pass of its sine captured as one graph."""

    def number(model: Model, point: Point) -> Tensor:
        return scalar(gradient(model.loss, point))

    point, plain = leaves(layer.point), leaves(layer.plain.point)
    value = number(layer, point)
    with torch._dynamo.compiled_autograd._enable(
        torch.compile(backend="aot_eager", fullgraph=True)
    ):
        value.backward()
    gradients = tuple(tensor.grad for tensor in point)
    return gradients, torch.autograd.grad(number(layer.plain, plain), plain)


@row(GROUP, "`make_fx`")
def fx(layer: Layer) -> Pair:
    """Of the gradient of everything; the graph runs with other values."""

    def gradients(*point: Tensor) -> Point:
        return gradient(layer.loss, leaves(point))

    other = tuple(2 * tensor for tensor in layer.point)
    doubled = leaves(tuple(2 * tensor for tensor in layer.plain.point))
    return make_fx(gradients)(*layer.point)(*other), gradient(layer.plain.loss, doubled)


@row(GROUP, "`torch.jit.trace`")
def jit_trace(layer: Layer) -> Pair:
    """The traced module runs with another input, outputs and all gradients."""
    traced = torch.jit.trace(layer.module, (layer.input(),))
    x = 2 * layer.input()
    return layer.trained(x, traced), layer.plain.trained(x)
