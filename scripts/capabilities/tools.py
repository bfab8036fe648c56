"""What else PyTorch does around a forward and a backward pass."""

import copy
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from .layer import FEATURES, Layer, flat, leaves, scalar
from .table import Pair, row

GROUP = "Tools"
FLOAT32 = (torch.float32,)


def trained(layer: Layer, call: Callable[..., Any] | None = None) -> Pair:
    return layer.trained(layer.input(), call), layer.plain.trained(layer.input())


@row(GROUP, "autocast", dtypes=FLOAT32, precision=torch.bfloat16)
def autocast(layer: Layer) -> Pair:
    """bfloat16 on the CPU: outputs in bfloat16, gradients of float32 weights in float32."""
    with torch.autocast("cpu", torch.bfloat16):
        outputs, gradients = layer.trained(layer.input())
    if outputs[0].dtype != torch.bfloat16:
        raise RuntimeError(f"outputs in {outputs[0].dtype}")
    if any(gradient.dtype != torch.float32 for gradient in gradients):
        raise RuntimeError("gradients not in float32")
    return (outputs, gradients), layer.plain.trained(layer.input())


@row(GROUP, "`GradScaler`", dtypes=FLOAT32)
def grad_scaler(layer: Layer) -> Pair:
    """A step of SGD by the scaler of the CPU; the weights after it."""
    parameters = list(layer.module.parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(scalar(flat(layer.module(layer.input())))).backward()
    scaler.step(optimizer)
    gradients = layer.plain.trained(layer.input())[1][1:]
    weights = zip(layer.plain.weights, gradients, strict=True)
    return parameters, [weight - 0.1 * gradient for weight, gradient in weights]


@row(GROUP, "checkpoint")
def checkpointed(layer: Layer) -> Pair:
    """`torch.utils.checkpoint` with `use_reentrant=False`."""
    return trained(layer, lambda x: checkpoint(layer.module, x, use_reentrant=False))


@row(GROUP, "checkpoint, reentrant")
def checkpointed_reentrant(layer: Layer) -> Pair:
    """`use_reentrant=True`, of a function that returns a flat tuple, as that mode demands."""
    (x,) = leaves((layer.input(),))
    outputs = checkpoint(lambda x: flat(layer.module(x)), x, use_reentrant=True)
    scalar(outputs).backward()
    gradients = (x.grad, *(parameter.grad for parameter in layer.module.parameters()))
    return (outputs, gradients), layer.plain.trained(layer.input())


@row(GROUP, "`saved_tensors_hooks`")
def hooks(layer: Layer) -> Pair:
    """What backward needs goes through NumPy arrays and comes back."""
    packed = []

    def pack(tensor: Tensor) -> Any:
        packed.append(tensor.numel())
        return tensor.detach().numpy().copy()

    with saved_tensors_hooks(pack, torch.from_numpy):
        found = layer.trained(layer.input())
    if sum(packed) < sum(weight.numel() for weight in layer.weights):
        raise RuntimeError(f"only {sum(packed)} values went through the hooks")
    return found, layer.plain.trained(layer.input())


@row(GROUP, "`save_on_cpu`")
def saved_on_cpu(layer: Layer) -> Pair:
    """The hooks that PyTorch brings."""
    with save_on_cpu():
        return trained(layer)


@row(GROUP, "anomaly mode")
def anomaly_mode(layer: Layer) -> Pair:
    """`detect_anomaly`: it stops at a backward pass that returns NaN, and lets numbers pass."""
    with torch.autograd.detect_anomaly():
        found = layer.trained(layer.input())
        broken = layer.scaled(float("nan"))[0]
        try:
            broken(layer.input())[0].sum().backward()
        except RuntimeError as error:
            if "returned nan values" not in str(error):
                raise
        else:
            raise RuntimeError("no anomaly was detected")
    return found, layer.plain.trained(layer.input())


class Seen(TorchDispatchMode):
    """Keeps every tensor that an operator returns."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tensors: list[Tensor] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        results = func(*args, **(kwargs or {}))
        leaves = torch.utils._pytree.tree_leaves(results)
        self.tensors += [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        return results


@row(GROUP, "`TorchDispatchMode`")
def dispatch_mode(layer: Layer) -> Pair:
    """The mode sees the calls: among what they return are the states of each direction."""
    with Seen() as mode:
        results = flat(layer.module(layer.input()))
    expected = layer.plain.outputs(*layer.plain.point)
    directions = expected[0].chunk(2, -1)
    found = []
    for output in directions:
        alike = [tensor for tensor in mode.tensors if tensor.shape == output.shape]
        if not alike:
            raise RuntimeError("no call returned a tensor of a direction's shape")
        found.append(min(alike, key=lambda tensor: (tensor.double() - output).norm().item()))
    return (*found, *results), (*directions, *expected)


@row(GROUP, "`deepcopy` and pickle")
def copies(layer: Layer) -> Pair:
    """A copy and a pickled copy, made after a backward pass, with their gradients."""
    x = layer.input()
    scalar(flat(layer.module(x))).backward()
    made = (copy.deepcopy(layer.module), pickle.loads(pickle.dumps(layer.module)))
    found = [
        (flat(outputs), torch.autograd.grad(scalar(flat(outputs)), list(module.parameters())))
        for module, outputs in ((module, module(x)) for module in made)
    ]
    outputs, gradients = layer.plain.trained(x)
    return found, [(outputs, gradients[1:])] * 2


@row(GROUP, "no steps")
def no_steps(layer: Layer) -> Pair:
    """Of a sequence of length 0: an empty output, the initial states, and their gradients."""
    state = layer.outputs(*layer.point)[1].detach()
    (h_0, c_0) = leaves((state + 1, state + 2))
    given = (h_0, c_0) if layer.cell == "LSTM" else h_0
    x = layer.input().new_empty(0, state.shape[1], FEATURES)
    output, *states = flat(layer.module(x, given))
    initial = (h_0, c_0)[: len(states)]
    found = (*states, *torch.autograd.grad(scalar(tuple(states)), initial))
    return (output, *found), (
        output.detach().new_empty(0, state.shape[1], 2 * state.shape[2]),
        *(tensor.detach().double() for tensor in initial),
        *(tensor.detach().double().cos() for tensor in initial),
    )
