"""What is compared, and the one rule of how close is close enough."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

Results = dict[str, Tensor]


def leaf(tensor: Tensor) -> Tensor:
    """The same values, with the same strides, as a tensor that collects a gradient."""
    return tensor.detach().requires_grad_()


def floating(arguments: dict[str, Any]) -> dict[str, Tensor]:
    """The arguments that may have a gradient."""
    found = {n: a for n, a in arguments.items() if isinstance(a, Tensor)}
    return {name: tensor for name, tensor in found.items() if tensor.is_floating_point()}


def tensors_in(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """The floating tensors in nested tuples, named by their place."""
    if isinstance(value, PackedSequence):
        yield f"{name}.data", value.data
    elif isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value):
            yield from tensors_in(item, f"{name}[{index}]")


def leaves_of(value: Any) -> Any:
    """The same structure with leaves for its tensors."""
    if isinstance(value, PackedSequence):
        return PackedSequence(leaf(value.data), *value[1:])
    if isinstance(value, Tensor):
        return leaf(value)
    return value if value is None else tuple(leaves_of(item) for item in value)


def gradients(outputs: Results, inputs: Results) -> Results:
    """The gradients of a fixed random linear function of the outputs; zero where none flows."""
    generator = torch.Generator().manual_seed(11)
    pairs = [
        (o, torch.randn(o.shape, generator=generator, dtype=torch.float64).to(o))
        for o in outputs.values()
    ]
    tracked = [pair for pair in pairs if pair[0].requires_grad]
    tracked_outputs, weights = zip(*tracked, strict=True)
    leaves = list(inputs.values())
    untouched = [tensor.detach().clone() for tensor in (*leaves, *weights)]
    found = torch.autograd.grad(
        tracked_outputs, leaves, weights, retain_graph=True, materialize_grads=True
    )
    for tensor, value in zip((*leaves, *weights), untouched, strict=True):
        assert torch.equal(tensor, value), "an argument or a gradient was written to"
    return {f"gradient of {name}": g for name, g in zip(inputs, found, strict=True)}


def run_module(module: torch.nn.Module, input: Any, hx: Any = None) -> Results:
    """The outputs of a module and the gradients of its input, state and parameters, by name."""
    input, hx = leaves_of(input), leaves_of(hx)
    outputs = dict(tensors_in(module(input, hx), "output"))
    inputs = dict(tensors_in((input, hx), "argument"))
    inputs |= {name: p for name, p in module.named_parameters() if p.requires_grad}
    return {**{n: o.detach() for n, o in outputs.items()}, **gradients(outputs, inputs)}


def smooth(cell: str, results: Results) -> Results:
    """What may be compared below float64: where rounding moves a value of relu across 0, its
    derivative jumps and a gradient is another one."""
    if cell != "rnn_relu":
        return results
    return {name: value for name, value in results.items() if not name.startswith("gradient")}


def assert_same(ours: Results, theirs: Results) -> None:
    """Equality in float64: the same sums in another order, and exp and tanh to a few ULP."""
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        torch.testing.assert_close(
            ours[name], expected, rtol=1e-12, atol=1e-12, msg=lambda m, name=name: f"{name}: {m}"
        )


def largest(values: Tensor) -> float:
    return values.abs().max().item()


def root_mean_square(values: Tensor) -> float:
    return values.square().mean().sqrt().item()


FEW = 64  # values whose mean square is luck as well


def assert_as_accurate(ours: Results, theirs: Results, exact: Results) -> None:
    """The tolerance rule for every dtype below float64; no number depends on the case.

    `exact` is PyTorch's result in float64 from the same values, `theirs` its result at the dtype.
    What PyTorch's own arithmetic loses is the measure of what a dtype can do. In the root mean
    square our error may be twice theirs plus one rounding. The largest error is one number's luck
    with each of us, and in float32 theirs depends on the CPU's own library, which multiplies and
    makes tanh: there ours may be four times theirs plus eight roundings of the largest value, in
    less precise dtypes twice plus four, since theirs may be zero by chance and a sum in another
    order rounds otherwise.
    """
    assert ours.keys() == theirs.keys() == exact.keys()
    for name, reference in exact.items():
        assert ours[name].dtype == theirs[name].dtype, name
        assert ours[name].shape == theirs[name].shape, name
        if reference.numel() == 0:
            continue
        eps = torch.finfo(ours[name].dtype).eps
        errors, their_errors = (found[name].double() - reference for found in (ours, theirs))
        few, single = reference.numel() < FEW, ours[name].dtype == torch.float32
        for kind, size, times, roundings in (
            ("largest", largest, *((4, 8) if single else (2, 4))),
            ("root mean square", root_mean_square, 2, 4 if few else 1),
        ):
            error = size(errors)
            allowed = times * size(their_errors) + roundings * eps * size(reference)
            assert error <= allowed, f"{name}: {kind} error {error:.3g}, allowed {allowed:.3g}"
