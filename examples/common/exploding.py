"""An RNN whose gradients explode, trained with and without clipping."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

import fused_rnn
from fused_rnn.forecast.training import Forecaster, Windows

from .through_time import HIDDEN, set_radius

RADIUS = 1.5
LEARNING_RATE = 0.1
BATCH = 32


class Training(NamedTuple):
    """What a short training came to."""

    losses: list[float]  # up to the last that is finite
    largest_norm: float  # of a gradient, before it was clipped


def train(windows: Windows, targets: Tensor, limit: float, steps: int, seed: int) -> Training:
    """Trains by plain gradient descent, the gradient's norm clipped to `limit`; stops where the
    loss or the gradient is no longer finite."""
    torch.manual_seed(seed)
    model = Forecaster(fused_rnn, "rnn", HIDDEN, 1, False)
    set_radius(model.recurrent, RADIUS)
    optimiser = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    losses: list[float] = []
    largest = 0.0
    for _ in range(steps):
        x, y = windows.batch(targets[torch.randint(len(targets), (BATCH,))])
        loss = (model(x) - y).square().mean()
        optimiser.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), limit).item()
        if not (math.isfinite(loss.item()) and math.isfinite(norm)):
            break
        optimiser.step()
        losses.append(loss.item())
        largest = max(largest, norm)
    return Training(losses, largest)
