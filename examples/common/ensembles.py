"""Networks of one kind as one, by `vmap` over their stacked weights."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from .gaussian import Gaussian
from .timing import timed

Weights = dict[str, Tensor]


class Ensemble:
    """Networks of one kind whose weights are stacked, [members, ...] each."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        self.network = members[0]
        self.weights: Weights
        self.weights, _ = stack_module_state(members)

    def forecast(self, windows: Tensor) -> Gaussian:
        """Every member's, [members, count, horizon], for the same windows [count, window]."""

        def of_one(weights: Weights) -> Any:
            return functional_call(self.network, weights, (windows,))

        return Gaussian(*vmap(of_one)(self.weights))

    def losses(self, windows: Tensor, days: Tensor) -> Tensor:
        """Each member's on samples of its own, [members, batch, ...]: [members]."""

        def of_one(weights: Weights, windows: Tensor, days: Tensor) -> Tensor:
            forecast: Gaussian = functional_call(self.network, weights, (windows,))
            return forecast.negative_log_likelihood(days).mean()

        losses: Tensor = vmap(of_one)(self.weights, windows, days)
        return losses


def against_a_loop(ensemble: Ensemble, windows: Tensor, days: Tensor) -> dict[str, float]:
    """The gradients through `vmap` beside a backward pass a member; samples as in `losses`."""

    def at_once() -> tuple[Tensor, ...]:
        losses = ensemble.losses(windows, days)
        return torch.autograd.grad(losses.sum(), list(ensemble.weights.values()))

    def of_one(member: int) -> tuple[Tensor, ...]:
        own = {n: w[member].detach().requires_grad_() for n, w in ensemble.weights.items()}
        forecast: Gaussian = functional_call(ensemble.network, own, (windows[member],))
        loss = forecast.negative_log_likelihood(days[member]).mean()
        return torch.autograd.grad(loss, list(own.values()))

    found, vmap_seconds = timed(at_once)
    looped, loop_seconds = timed(lambda: [of_one(member) for member in range(len(windows))])
    pairs = zip(found, zip(*looped, strict=True), strict=True)
    difference = max((one - torch.stack(each)).abs().max().item() for one, each in pairs)
    largest = max(gradient.abs().max().item() for gradient in found)
    return {
        "difference": difference / largest,
        "vmap_seconds": vmap_seconds,
        "loop_seconds": loop_seconds,
    }
