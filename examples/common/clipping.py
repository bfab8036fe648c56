"""Gradients of each sample by `vmap(grad)`, and the rules of training that clip."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

Weights = dict[str, Tensor]
Rule = Callable[[nn.Module, Tensor, Tensor], None]  # puts a batch's gradient into `.grad`


def each_clipped(
    model: nn.Module, windows: Tensor, targets: Tensor, bound: float = math.inf
) -> tuple[Weights, Tensor]:
    """The gradient of each sample's squared error, shrunk to the norm `bound` where it is longer.

    Of windows [batch, window] and targets [batch]: [batch, ...] for each weight, and the norms
    before, [batch].
    """

    def loss(weights: Weights, window: Tensor, target: Tensor) -> Tensor:
        forecast = functional_call(model, weights, (window.unsqueeze(0),))
        error: Tensor = (forecast - target).square().sum()
        return error

    def clipped(weights: Weights, window: Tensor, target: Tensor) -> tuple[Weights, Tensor]:
        gradient = grad(loss)(weights, window, target)
        norm = torch.cat([g.flatten() for g in gradient.values()]).norm()
        factor = (bound / norm).clamp(max=1)
        return {name: g * factor for name, g in gradient.items()}, norm

    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    gradients, norms = vmap(clipped, in_dims=(None, 0, 0))(weights, windows, targets)
    return gradients, norms


def norms_of(model: nn.Module, windows: Tensor, targets: Tensor) -> Tensor:
    """The norm of each sample's gradient, [count]; 256 at a time, since all gradients are held."""
    pairs = zip(windows.split(256), targets.split(256), strict=True)
    return torch.cat([each_clipped(model, *pair)[1] for pair in pairs])


def dp_sgd(bound: float, noise: float) -> Rule:
    """Abadi et al., 2016, algorithm 1: clip each gradient, add noise to the sum, divide."""

    def rule(model: nn.Module, windows: Tensor, targets: Tensor) -> None:
        gradients, _ = each_clipped(model, windows, targets, bound)
        for name, weight in model.named_parameters():
            total = gradients[name].sum(0)
            weight.grad = (total + noise * bound * torch.randn_like(total)) / len(targets)

    return rule


def squared(model: nn.Module, windows: Tensor, targets: Tensor) -> None:
    """The gradient of the mean squared error."""
    (model(windows) - targets).square().mean().backward()


def clipped_as_a_whole(bound: float) -> Rule:
    """The same, clipped."""

    def rule(model: nn.Module, windows: Tensor, targets: Tensor) -> None:
        squared(model, windows, targets)
        nn.utils.clip_grad_norm_(model.parameters(), bound)

    return rule


def huber(model: nn.Module, windows: Tensor, targets: Tensor) -> None:
    """The gradient of a loss that grows but linearly beyond an error of one half."""
    nn.functional.huber_loss(model(windows), targets, delta=0.5).backward()
