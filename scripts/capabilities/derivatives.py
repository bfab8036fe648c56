"""Derivatives of every order, by autograd and by torch.func, over the input and all weights."""

from collections.abc import Callable

import torch
import torch.autograd.forward_ad as fwAD
from torch import Tensor
from torch.func import (
    functional_call,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    vjp,
)

from .layer import Layer, Model, Point, flat, gradient, leaves, scalar
from .table import Pair, row

GROUP = "Derivatives"
PICKED = (0, 2)  # the input and weight_hh_l0, where all pairs of weights would take long


def picked(model: Model) -> tuple[Callable[..., Tensor], Point]:
    """The loss as a function of a part of the point, and that part."""
    point = model.point

    def loss(*part: Tensor) -> Tensor:
        given = dict(zip(PICKED, part, strict=True))
        return model.loss(*(given.get(index, value) for index, value in enumerate(point)))

    return loss, tuple(point[index] for index in PICKED)


def along(model: Model, order: int) -> tuple[Point, ...]:
    """The gradients of orders 1 to `order`, each of the one before times the direction."""
    point, found = leaves(model.point), []

    def derivative(function: Callable[..., Tensor], *at: Tensor) -> Tensor:
        pairs = zip(gradient(function, at), model.direction, strict=True)
        return torch.stack([(g * d).sum() for g, d in pairs]).sum()

    function = model.loss
    for _ in range(order):
        found.append(gradient(function, point))
        function = (lambda last: lambda *at: derivative(last, *at))(function)
    return tuple(found)


def expected_jacobian(layer: Layer) -> tuple[Point, ...]:
    jacobian: tuple[Point, ...] = torch.autograd.functional.jacobian(
        layer.plain.outputs, layer.plain.point
    )
    return jacobian


def expected_hessian(layer: Layer) -> tuple[Point, ...]:
    result: tuple[Point, ...] = torch.autograd.functional.hessian(*picked(layer.plain))
    return result


def expected_tangents(layer: Layer) -> Point:
    """The Jacobian times the direction, by two reverse passes."""
    plain = layer.plain
    tangents: Point = torch.autograd.functional.jvp(plain.outputs, plain.point, plain.direction)[1]
    return tangents


def everything(layer: Layer) -> tuple[int, ...]:
    return tuple(range(len(layer.point)))


@row(GROUP, "first order")
def first_order(layer: Layer) -> Pair:
    """`backward` to the input and every weight; in float64 `gradcheck` too."""
    if layer.dtype == torch.float64:
        torch.autograd.gradcheck(layer.outputs, leaves(layer.point), fast_mode=True)
    return along(layer, 1), along(layer.plain, 1)


@row(GROUP, "double backward")
def double_backward(layer: Layer) -> Pair:
    """A gradient with `create_graph=True` differentiated again; in float64 `gradgradcheck` too."""
    if layer.dtype == torch.float64:
        torch.autograd.gradgradcheck(layer.outputs, leaves(layer.point), fast_mode=True)
    return along(layer, 2), along(layer.plain, 2)


@row(GROUP, "third order")
def third_order(layer: Layer) -> Pair:
    """The same once more."""
    return along(layer, 3), along(layer.plain, 3)


@row(GROUP, "forward mode")
def forward_mode(layer: Layer) -> Pair:
    """`fwAD.make_dual` of the input and every weight; the tangents of all outputs."""
    with fwAD.dual_level():
        pairs = zip(layer.point, layer.direction, strict=True)
        outputs = layer.outputs(*(fwAD.make_dual(*pair) for pair in pairs))
        found = tuple(fwAD.unpack_dual(output).tangent for output in outputs)
    return found, expected_tangents(layer)


@row(GROUP, "forward over reverse")
def forward_over_reverse(layer: Layer) -> Pair:
    """A Hessian times a vector: the tangents of the gradients of dual numbers."""
    with fwAD.dual_level():
        pairs = zip(leaves(layer.point), layer.direction, strict=True)
        duals = tuple(fwAD.make_dual(*pair) for pair in pairs)
        found = tuple(fwAD.unpack_dual(g).tangent for g in gradient(layer.loss, duals))
    return found, along(layer.plain, 2)[1]


@row(GROUP, "`torch.func.grad`")
def func_grad(layer: Layer) -> Pair:
    """Over the input and every weight."""
    return grad(layer.loss, everything(layer))(*layer.point), along(layer.plain, 1)[0]


@row(GROUP, "`torch.func.vjp`")
def func_vjp(layer: Layer) -> Pair:
    """All outputs pulled back at once."""
    outputs, pullback = vjp(layer.outputs, *layer.point)[:2]
    found = pullback(tuple(output.cos() for output in outputs))
    return found, along(layer.plain, 1)[0]


@row(GROUP, "`torch.func.jvp`")
def func_jvp(layer: Layer) -> Pair:
    """All outputs pushed forward along one direction."""
    return jvp(layer.outputs, layer.point, layer.direction)[1], expected_tangents(layer)


@row(GROUP, "`torch.func.linearize`")
def func_linearize(layer: Layer) -> Pair:
    """The linear function at a point, applied to a direction."""
    pushforward = linearize(layer.outputs, *layer.point)[1]
    return pushforward(*layer.direction), expected_tangents(layer)


@row(GROUP, "`torch.func.jacrev`")
def func_jacrev(layer: Layer) -> Pair:
    """The Jacobian of all outputs, row by row."""
    found = jacrev(layer.outputs, everything(layer))(*layer.point)
    return found, expected_jacobian(layer)


@row(GROUP, "`torch.func.jacfwd`")
def func_jacfwd(layer: Layer) -> Pair:
    """The Jacobian of all outputs, column by column."""
    found = jacfwd(layer.outputs, everything(layer))(*layer.point)
    return found, expected_jacobian(layer)


@row(GROUP, "`torch.func.hessian`")
def func_hessian(layer: Layer) -> Pair:
    """Forward over reverse, over the input and a recurrent weight."""
    return hessian(layer.loss, PICKED)(*layer.point), expected_hessian(layer)


@row(GROUP, "`jacrev` over `jacrev`")
def func_jacrev_twice(layer: Layer) -> Pair:
    """The same Hessian, reverse over reverse."""
    found = jacrev(jacrev(layer.loss, PICKED), PICKED)(*layer.point)
    return found, expected_hessian(layer)


@row(GROUP, "`torch.func.functional_call`")
def func_functional_call(layer: Layer) -> Pair:
    """Twice the module's weights in its place, and gradients through them."""
    weights = {n: (2 * p).detach().requires_grad_() for n, p in layer.module.named_parameters()}
    loss = scalar(flat(functional_call(layer.module, weights, (layer.input(),))))
    x, *plain = layer.plain.point
    doubled = leaves((x, *(2 * weight for weight in plain)))
    expected = gradient(layer.plain.loss, doubled)[1:]
    return torch.autograd.grad(loss, list(weights.values())), expected


@row(GROUP, "batched gradients")
def batched_gradients(layer: Layer) -> Pair:
    """`torch.autograd.grad` with `is_grads_batched=True`, two gradients of the output at once."""

    def gradients(model: Model, batched: bool) -> Point:
        point = leaves(model.point)
        output = model.outputs(*point)[0]
        vectors = torch.stack([output.detach().cos(), output.detach() + 1])
        if batched:
            return torch.autograd.grad(output, point, vectors, is_grads_batched=True)
        each = [torch.autograd.grad(output, point, v, retain_graph=True) for v in vectors]
        return tuple(torch.stack(pair) for pair in zip(*each, strict=True))

    return gradients(layer, True), gradients(layer.plain, False)


for _name, _function in (
    ("first order", first_order),
    ("double backward", double_backward),
    ("third order", third_order),
    ("forward mode", forward_mode),
    ("forward over reverse", forward_over_reverse),
    ("`torch.func.grad`", func_grad),
    ("`torch.func.jvp`", func_jvp),
    ("`torch.func.hessian`", func_hessian),
):
    row("Packed sequences", f"packed, {_name}", packed=True)(_function)
