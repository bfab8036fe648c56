"""Model-agnostic meta-learning (Finn et al., 2017): the loss after a step, as a function of the
weights before it."""

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from .oscillators import Tasks
from .timing import timed

Weights = dict[str, Tensor]
Tensors = tuple[Tensor, ...]


def weights_of(model: nn.Module) -> Weights:
    """The weights by name."""
    return dict(model.named_parameters())


def error(model: nn.Module, weights: Weights, pushes: Tensor, positions: Tensor) -> Tensor:
    """The mean squared error of the model with these weights in its place."""
    found = functional_call(model, weights, (pushes,))
    loss: Tensor = (found - positions).square().mean()
    return loss


def adapted(
    model: nn.Module, weights: Weights, pushes: Tensor, positions: Tensor, rate: float, exact: bool
) -> Weights:
    """The weights after one step of gradient descent; `exact`: as a function of those before."""
    loss = error(model, weights, pushes, positions)
    gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=exact)
    return {n: w - rate * g for (n, w), g in zip(weights.items(), gradients, strict=True)}


def meta_loss(model: nn.Module, tasks: Tasks, rate: float, exact: bool) -> Tensor:
    """The mean error, over tasks, after a step on each task's own data."""
    weights = weights_of(model)
    losses = []
    for pushes, positions, *query in zip(*tasks, strict=True):
        own = adapted(model, weights, pushes, positions, rate, exact)
        losses.append(error(model, own, *query))
    return torch.stack(losses).mean()


def over_tasks(model: nn.Module, tasks: Tasks, rate: float) -> Tensor:
    """`meta_loss` with all tasks at once by `vmap`."""

    def of_one(weights: Weights, support: Tensors, query: Tensors) -> Tensor:
        gradients = grad(lambda weights: error(model, weights, *support))(weights)
        own = {name: weight - rate * gradients[name] for name, weight in weights.items()}
        return error(model, own, *query)

    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    losses: Tensor = vmap(of_one, in_dims=(None, 0, 0))(weights, tasks[:2], tasks[2:])
    return losses.mean()


def meta_gradient(model: nn.Module, tasks: Tasks, rate: float) -> tuple[Tensor, float]:
    """The gradient through the adaptation, flat, and the best seconds of three."""

    def gradients() -> tuple[Tensor, ...]:
        loss = meta_loss(model, tasks, rate, exact=True)
        return torch.autograd.grad(loss, list(model.parameters()))

    found, seconds = timed(gradients)
    return torch.cat([gradient.flatten() for gradient in found]), seconds
