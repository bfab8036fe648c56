"""torch.func over our layers, first order: the gradients of autograd, and vmap over modules."""

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, jacrev, vjp, vmap

import fused_rnn
from cases import Case, each_cell

# More rows than the fused projection starts at, and fewer.
each_size = pytest.mark.parametrize("steps", [4, 20])


def weights_of(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in module.named_parameters()}


@each_size
@each_cell
def test_grad_and_vjp(cell: str, steps: int) -> None:
    case = Case(cell, steps=steps)
    module, x = case.module(fused_rnn), case.input()

    def output(weights: dict[str, Tensor]) -> Tensor:
        return functional_call(module, weights, (x,))[0]

    expected = torch.autograd.grad(module(x)[0].square().sum(), list(module.parameters()))
    found = grad(lambda weights: output(weights).square().sum())(weights_of(module))
    torch.testing.assert_close(list(found.values()), list(expected))
    y, pullback = vjp(output, weights_of(module))
    torch.testing.assert_close(list(pullback(2 * y)[0].values()), list(expected))


@each_cell
def test_jacrev(cell: str) -> None:
    case = Case(cell, steps=2, batch=2, hidden_size=3)
    module, x = case.module(fused_rnn), case.input()
    found = jacrev(lambda x: module(x)[1][0])(x)
    expected = torch.autograd.functional.jacobian(lambda x: module(x)[1][0], x)
    torch.testing.assert_close(found, expected)


@each_size
@each_cell
def test_gradient_of_each_sample(cell: str, steps: int) -> None:
    case = Case(cell, steps=steps)
    module, x = case.module(fused_rnn), case.input()

    def loss(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(module, weights, (x,))[0].square().sum()

    weights = weights_of(module)
    found = vmap(grad(loss), (None, 1))(weights, x)
    for sample in range(case.batch):
        expected = grad(loss)(weights, x[:, sample])
        torch.testing.assert_close({n: g[sample] for n, g in found.items()}, expected)


@each_cell
def test_ensemble(cell: str) -> None:
    case = Case(cell)
    modules = [case.module(fused_rnn) for _ in range(3)]
    for module in modules[1:]:
        module.reset_parameters()
    weights, buffers = torch.func.stack_module_state(modules)
    x = case.input()
    outputs = vmap(lambda w: functional_call(modules[0], (w, buffers), (x,))[0])(weights)
    for output, module in zip(outputs, modules, strict=True):
        torch.testing.assert_close(output, module(x)[0])
