"""The derivative of a backward pass, ours beside torch.nn's: `python -m benchmarks.second`.

The gradients of the layer's gradients along fixed random directions, by the input, every weight and
the incoming gradient; and a backward pass of each, to say how many of them that takes. The penalty
is all of a step that needs it: forward, backward with create_graph, and that derivative.

The limit is what torch/ours would be with the products alone that the derivative needs, 12 times a
step's one, at the peak of the processor's multiply-adds. Ours makes 13 of them.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

import fused_rnn
from fused_rnn import _C

from .timing import fastest_half

GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
PRODUCTS, NEEDED = 13, 12


def passes(layer: nn.Module, x: Tensor, along: list[Tensor]) -> tuple[Callable[[], float], ...]:
    """A backward pass, its derivative and the penalty: functions that run it and return seconds."""
    leaves = [x, *layer.parameters()]
    grad = torch.randn(*x.shape[:2], layer.hidden_size, requires_grad=True)

    def seconds(outputs: object, inputs: list[Tensor], grads: object) -> float:
        start = time.perf_counter()
        torch.autograd.grad(outputs, inputs, grads)
        return time.perf_counter() - start

    def first() -> float:
        return seconds(layer(x)[0], leaves, grad.detach())

    def second() -> float:
        gradients = torch.autograd.grad(layer(x)[0], leaves, grad, create_graph=True)
        return seconds(gradients, [*leaves, grad], along)

    def penalty() -> float:
        start = time.perf_counter()
        second()
        return time.perf_counter() - start

    return first, second, penalty


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--shape", nargs=3, type=int, default=(32, 100, 128), metavar=("B", "T", "H")
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    batch, steps, hidden = options.shape
    print(
        f"torch {torch.__version__}, {options.threads} thread(s), B {batch}, T {steps}, H {hidden}"
    )
    peak = options.threads * _C.peak_gflops()
    for cell, gates in GATES.items():
        x = torch.randn(steps, batch, hidden, requires_grad=True)
        layers = [getattr(library, cell)(hidden, hidden) for library in (fused_rnn, nn)]
        along = [torch.randn_like(tensor) for tensor in (x, *layers[0].parameters())]
        runs = [run for layer in layers for run in passes(layer, x, along)]
        times = list(zip(*([run() for run in runs] for _ in range(options.rounds)), strict=True))
        first, ours, penalty, _, theirs, their_penalty = (fastest_half(list(of)) for of in times)
        product = 2e-9 * batch * steps * gates * hidden**2 / peak  # seconds at the peak
        print(
            f"{cell:5} ours {1e3 * ours:7.1f} ms ({PRODUCTS * product / ours:.0%} of peak), "
            f"torch.nn {1e3 * theirs:7.1f} ms: torch/ours {theirs / ours:.2f}, "
            f"penalty {their_penalty / penalty:.2f}; ours over a backward pass {ours / first:.2f}; "
            f"the limit of torch/ours {theirs / (NEEDED * product):.2f}"
        )


if __name__ == "__main__":
    main()
