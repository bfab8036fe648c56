"""The gates of an LSTM along a series, and how far they move within a day."""

from torch import Tensor

import fused_rnn
from fused_rnn import diagnostics

GATES = ("input", "forget", "output")
DAY = 24


def gates_along(lstm: fused_rnn.LSTM, values: Tensor, warm_up: int) -> dict[str, Tensor]:
    """The gates [steps, hidden] along values [warm_up + steps], after the state has warmed up."""
    found = diagnostics.gates(lstm, values[:, None])
    return {name: found[name][0, warm_up:] for name in GATES}


def swings(gate: Tensor) -> Tensor:
    """How far the gate [steps, hidden] of each unit moves with the hour of the day, [hidden]: the
    largest of its means by hour less the smallest."""
    days = len(gate) // DAY
    by_hour = gate[: days * DAY].view(days, DAY, -1).mean(0)
    return by_hour.amax(0) - by_hour.amin(0)
