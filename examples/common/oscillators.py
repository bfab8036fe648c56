"""A family of tasks: masses on springs, pushed at random, no two of them alike.

The position y after pushes u is the sum over k of h[k] u[t - k], where the response to one push is
h[k] = a 0.8^k cos(w k + p). Amplitude a, frequency w and phase p are the task's own: whoever sees
the pushes alone cannot know them.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Tasks(NamedTuple):
    """Pushes and positions, [tasks, sequences, steps] each: to adapt to, and to be judged by."""

    support_pushes: Tensor
    support_positions: Tensor
    query_pushes: Tensor
    query_positions: Tensor


def draw(tasks: int, sequences: int, steps: int, generator: torch.Generator) -> Tasks:
    """So many tasks, with so many sequences to adapt to and as many others to be judged by."""

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(tasks, 1).uniform_(low, high, generator=generator)

    amplitude, frequency, phase = uniform(0.5, 1.5), uniform(0.2, 1.2), uniform(0, 2 * math.pi)
    k = torch.arange(steps)
    response = amplitude * 0.8**k * torch.cos(frequency * k + phase)  # [tasks, steps]
    pushes = torch.randn(tasks, 2 * sequences, steps, generator=generator)
    lag = k.unsqueeze(1) - k  # [to step, from step]
    positions = pushes @ (response[:, lag.clamp(min=0)] * (lag >= 0)).mT
    return Tasks(
        pushes[:, :sequences],
        positions[:, :sequences],
        pushes[:, sequences:],
        positions[:, sequences:],
    )
