"""Gradients that travel back through time: the networks, and the rate at which they shrink."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

import fused_rnn
from fused_rnn.diagnostics import gates, gradient_norms

FEATURES, HIDDEN, BATCH = 8, 64, 16
INPUT_SCALE = 0.1  # small, so that tanh and sigmoid begin where they are close to linear
SETTLED = 20  # steps next to the loss that a rate leaves out

RADII = (0.5, 0.9, 1.0, 1.1, 1.5, 2.0)
GATED = (
    ("lstm", "forget", "c", 0.0),
    ("lstm", "forget", "c", 1.0),
    ("lstm", "forget", "c", 5.0),
    ("gru", "update", "h", 0.0),
    ("gru", "update", "h", 1.0),
)

Layer = fused_rnn.RNN | fused_rnn.LSTM | fused_rnn.GRU


class Decay(NamedTuple):
    """How the gradient of a state changes on its way back from the last step, where the loss is."""

    name: str
    state: str  # "h" or "c"
    norms: Tensor  # [steps], as a share of that at the last step; geometric means over the batch
    rate: float  # the factor for a step back
    theory: float  # the factor that a formula gives
    bound: float | None  # what the factor cannot exceed, of an RNN
    gate: float | None  # the mean of the gate that lets the state through, of the others


def decays(steps: int) -> dict[str, Decay]:
    """For each network, under a key, a loss on its last state and the gradients back to step 0."""
    x = INPUT_SCALE * torch.randn(steps, BATCH, FEATURES, dtype=torch.float64)
    direction = torch.randn(HIDDEN, dtype=torch.float64) / HIDDEN**0.5
    found = {}
    for radius in RADII:
        rnn = fused_rnn.RNN(FEATURES, HIDDEN, dtype=torch.float64)
        set_radius(rnn, radius)
        slopes = 1 - gates(rnn, x)["h"][0] ** 2  # tanh' [steps, batch, hidden]
        theory = radius * _geometric_mean(slopes[:-SETTLED].square().mean(-1)) ** 0.5
        norms, rate = _decay(rnn, "h", x, direction)
        name = f"RNN, radius {radius:g}"
        found[_key("rnn", radius)] = Decay(name, "h", norms, rate, theory, radius, None)
    layer: fused_rnn.LSTM | fused_rnn.GRU
    for kind, gate, state, bias in GATED:
        layer = getattr(fused_rnn, kind.upper())(FEATURES, HIDDEN, dtype=torch.float64)
        set_second_gate(layer, bias)
        kept = _geometric_mean(gates(layer, x)[gate])
        norms, rate = _decay(layer, state, x, direction)
        name = f"{kind.upper()}, {gate} bias {bias:g}"
        theory = radius_at_rest(layer)
        found[_key(kind, bias)] = Decay(name, state, norms, rate, theory, None, kept)
    return found


def set_radius(rnn: nn.Module, radius: float) -> None:
    """Makes weight_hh a random orthogonal matrix times `radius`, which then is its spectral radius
    and its spectral norm."""
    nn.init.orthogonal_(rnn.get_parameter("weight_hh_l0"), gain=radius)


def set_second_gate(layer: fused_rnn.LSTM | fused_rnn.GRU, bias: float) -> None:
    """Sets the bias of an LSTM's forget gate or a GRU's update gate: b_hh; b_ih is 0."""
    units = slice(layer.hidden_size, 2 * layer.hidden_size)
    with torch.no_grad():
        layer.get_parameter("bias_hh_l0")[units] = bias
        layer.get_parameter("bias_ih_l0")[units] = 0


def radius_at_rest(layer: fused_rnn.LSTM | fused_rnn.GRU) -> float:
    """The spectral radius of a step's Jacobian, of all its states, at state 0 and input 0."""
    states = 2 if isinstance(layer, fused_rnn.LSTM) else 1
    x = torch.zeros(1, FEATURES, dtype=torch.float64)

    def step(state: Tensor) -> Tensor:
        parts = state.view(states, 1, HIDDEN)
        _, new = layer(x, tuple(parts) if states == 2 else parts[0])
        return torch.cat(new, -1) if states == 2 else new

    zero = torch.zeros(states * HIDDEN, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(step, zero).squeeze(0)
    return float(torch.linalg.eigvals(jacobian).abs().max())


def _decay(layer: Layer, state: str, x: Tensor, direction: Tensor) -> tuple[Tensor, float]:
    """The norms and the rate of `Decay`."""

    def loss(result: tuple[Tensor, object]) -> Tensor:
        return (result[0][-1] @ direction).sum()  # a sum: each sequence has a gradient of its own

    of_state = getattr(gradient_norms(layer, x, loss), state)[0]  # [steps, batch]
    norms = (of_state / of_state[-1]).log().mean(1).exp()
    back = len(norms) - 1 - SETTLED
    return norms, (norms[0] / norms[back]).item() ** (1 / back)


def _geometric_mean(values: Tensor) -> float:
    return math.exp(values.log().mean().item())


def _key(kind: str, number: float) -> str:
    return f"{kind}_{number:g}".replace(".", "_")
