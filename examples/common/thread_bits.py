"""Which layers give the same bits on one thread and on two: forward and every gradient."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

import fused_rnn

THREADS = (1, 2)

Case = tuple[Callable[[], nn.Module], tuple[int, ...]]  # a layer and the shape of its input

CASES: dict[str, Case] = {
    "fused_rnn_lstm": (lambda: fused_rnn.LSTM(64, 128, 2), (50, 64, 64)),
    "fused_rnn_gru": (lambda: fused_rnn.GRU(64, 128, 2), (50, 64, 64)),
    "fused_rnn_rnn": (lambda: fused_rnn.RNN(64, 128, 2), (50, 64, 64)),
    "torch_nn_lstm": (lambda: nn.LSTM(64, 128, 2), (50, 64, 64)),
    "torch_nn_gru": (lambda: nn.GRU(64, 128, 2), (50, 64, 64)),
    "dropout": (lambda: nn.Dropout(), (6400, 256)),
    "linear_128_1": (lambda: nn.Linear(128, 1), (64, 128)),
    "linear_256_10": (lambda: nn.Linear(256, 10), (6400, 256)),
    "layer_norm": (lambda: nn.LayerNorm(256), (6400, 256)),
    "conv1d": (lambda: nn.Conv1d(32, 64, 5), (64, 32, 100)),
}


def measure() -> dict[str, float]:
    """The largest difference, relative to the largest entry of its tensor, by layer."""
    before = torch.get_num_threads()
    try:
        return {name: _spread(*case) for name, case in CASES.items()}
    finally:
        torch.set_num_threads(before)


def _spread(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> float:
    pairs = zip(*(_results(make, shape, threads) for threads in THREADS), strict=True)
    return max(float((a - b).abs().max() / a.abs().max()) for a, b in pairs)


def _results(make: Callable[[], nn.Module], shape: tuple[int, ...], threads: int) -> list[Tensor]:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    layer, x = make(), torch.randn(shape, requires_grad=True)
    result = layer(x)
    output: Tensor = result[0] if isinstance(result, tuple) else result
    (output * torch.randn_like(output)).sum().backward()
    inputs = [x, *layer.parameters()]
    return [output.detach(), *(p.grad for p in inputs if p.grad is not None)]
