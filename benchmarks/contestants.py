"""Who competes: each contestant turns a problem into a callable that does the work once.

A contestant is a small class with a `name` and `build(problem) -> Run`; one that cannot take part
raises `Unavailable` with the reason, which is printed. Peers other than torch.nn are in `peers.py`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

import fused_rnn

from .problem import Problem, class_name, flatten
from .timing import Run


class Unavailable(Exception):
    """Why a contestant takes no part in a point, or in any."""


class Contestant(Protocol):
    @property
    def name(self) -> str: ...

    def build(self, problem: Problem) -> Run:
        """A callable without arguments; its result is the module's, nested as in torch.nn.

        Raises:
            Unavailable: where the contestant cannot do this problem.
        """
        ...


class Modules:
    """The modules of torch.nn, or of a package that offers the same classes."""

    def __init__(self, name: str, package: ModuleType, *, prepack: bool = False) -> None:
        self.name = name
        self.package = package
        self.prepack = prepack

    def build(self, problem: Problem) -> Run:
        hidden = problem.point.hidden
        module = getattr(self.package, class_name(problem.point))(hidden, hidden)
        # assign: the very same parameters, so that no contestant has warmer weights
        module.load_state_dict(problem.module.state_dict(keep_vars=True), assign=True)
        if self.prepack:
            fused_rnn.prepack(module)
        return _training(module, problem) if problem.point.training else _inference(module, problem)


def _inference(module: nn.Module, problem: Problem) -> Run:
    input, state = problem.input, problem.state

    def run() -> Any:
        return module(input, state)

    return run


def _training(module: nn.Module, problem: Problem) -> Run:
    input, state, gradient = problem.input, problem.state, problem.gradient
    leaves = problem.leaves

    def run() -> Any:
        for leaf in leaves:
            leaf.grad = None
        result = module(input, state)
        output = result if isinstance(result, Tensor) else result[0]  # GRUCell: a tensor
        (output if isinstance(output, Tensor) else output.data).backward(gradient)
        return result

    return run


def evaluate(run: Run, problem: Problem) -> list[Tensor]:
    """All results of one call: outputs, final states and, in training, every gradient."""
    if not problem.point.training:
        with torch.inference_mode():
            return [tensor.clone() for tensor in flatten(run())]
    results = [tensor.detach() for tensor in flatten(run())]
    for leaf in problem.leaves:
        results.append(torch.full((), torch.nan) if leaf.grad is None else leaf.grad.clone())
    return results


OURS = Modules("fused_rnn", fused_rnn)
PREPACKED = Modules("fused_rnn", fused_rnn, prepack=True)
TORCH = Modules("torch", nn)
