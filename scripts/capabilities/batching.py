"""torch.func.vmap over inputs, over weights, over derivatives, and over itself."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import functional_call, grad, hessian, stack_module_state, vmap

from .layer import Layer, Model, Point, flat, gradient, leaves
from .table import Pair, row

GROUP = "vmap"
FACTORS = (1.0, 0.5, -1.0)  # of the weights of an ensemble


def inputs(model: Model) -> Tensor:
    return torch.stack([model.input(), 2 * model.input(), -model.input()])


def stacked(results: list[Point]) -> Point:
    return tuple(torch.stack(parts) for parts in zip(*results, strict=True))


def ensemble(layer: Layer) -> tuple[Callable[..., Point], dict[str, Tensor]]:
    """A function of one module's weights and an input, and the weights of all modules."""
    modules = layer.scaled(*FACTORS)
    weights, _ = stack_module_state(modules)

    def outputs(weights: dict[str, Tensor], x: Tensor) -> Point:
        return flat(functional_call(modules[0], weights, (x,)))

    return outputs, {name: weight.detach() for name, weight in weights.items()}


def expected_of(layer: Layer, x: Tensor) -> Point:
    """The outputs of every module of the ensemble."""
    plain = layer.plain
    weights = [[factor * weight for weight in plain.weights] for factor in FACTORS]
    return stacked([plain.outputs(x, *each) for each in weights])


def over_input(layer: Layer, dim: int = 0) -> tuple[int | None, ...]:
    """`in_dims` of a point whose input alone is batched."""
    return (dim, *(None for _ in layer.weights))


@row(GROUP, "over inputs")
def over_inputs(layer: Layer) -> Pair:
    """Three batches with the same weights."""
    found = vmap(layer.outputs, over_input(layer))(inputs(layer), *layer.weights)
    plain = layer.plain
    return found, stacked([plain.outputs(x, *plain.weights) for x in inputs(plain)])


@row(GROUP, "over weights")
def over_weights(layer: Layer) -> Pair:
    """An ensemble of three by `stack_module_state`, over one batch."""
    outputs, weights = ensemble(layer)
    return vmap(outputs, (0, None))(weights, layer.input()), expected_of(layer, layer.plain.input())


@row(GROUP, "nested")
def nested(layer: Layer) -> Pair:
    """An ensemble of three, each over three batches."""
    outputs, weights = ensemble(layer)
    found = vmap(vmap(outputs, (None, 0)), (0, None))(weights, inputs(layer))
    expected = stacked([expected_of(layer, x) for x in inputs(layer.plain)])
    return found, tuple(results.transpose(0, 1) for results in expected)


def samples(model: Model) -> list[Point]:
    """The point with each sequence of its input alone, as a batch of one."""
    return [(x, *model.weights) for x in model.input().split(1, dim=1)]


@row(GROUP, "gradients of each sample")
def gradients_of_samples(layer: Layer) -> Pair:
    """`vmap(grad)`: of every weight, for each sequence; each is an input without a batch."""
    every = tuple(range(1, len(layer.point)))
    found = vmap(grad(layer.loss, every), over_input(layer, dim=1))(*layer.point)
    plain = layer.plain
    return found, stacked([gradient(plain.loss, leaves(at))[1:] for at in samples(plain)])


@row(GROUP, "gradients of each sample, as batches of one")
def gradients_of_batches_of_one(layer: Layer) -> Pair:
    """The same where each input keeps a batch of one."""
    every = tuple(range(1, len(layer.point)))
    batches = torch.stack(layer.input().split(1, dim=1))
    found = vmap(grad(layer.loss, every), over_input(layer))(batches, *layer.weights)
    plain = layer.plain
    return found, stacked([gradient(plain.loss, leaves(at))[1:] for at in samples(plain)])


@row(GROUP, "Hessian of each sample")
def hessians_of_samples(layer: Layer) -> Pair:
    """`vmap(hessian)`: of each sequence's input."""
    found = vmap(hessian(layer.loss), over_input(layer, dim=1))(*layer.point)
    plain = layer.plain
    each = [
        torch.autograd.functional.hessian(lambda x, w=weights: plain.loss(x, *w), x)
        for x, *weights in samples(plain)
    ]
    return found, torch.stack(each).squeeze((2, 5))
