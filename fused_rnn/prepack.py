"""`prepack`: weights laid out once for inference on the CPU, instead of in every call."""

import torch

from . import ops
from .cells import _RecurrentCell
from .recurrent_layer import RecurrentLayer

MATRICES = ("weight_ih", "weight_hh")


def prepack(model: torch.nn.Module) -> int:
    """Lay out the weights of every recurrent layer and cell in a model for the CPU, once.

    A call on the CPU otherwise copies weight_ih and weight_hh into the order that its kernel reads
    them in, which takes about as long as a step of a batch of 32: much of a cell's time, little of
    a long sequence's. Results are the same up to rounding. The copies double the memory of these
    weights, and stay with the parameters until those are gone or are packed again.

    A weight that changes is seen by its version, and from then on laid out in every call again:
    after an optimizer's step, `load_state_dict`, an in-place operation or an assignment. What
    torch itself does not see, a change through `weight.data` or an array that shares its memory,
    needs another call of `prepack`.

    Args:
        model: Any module; it may itself be a recurrent layer or cell.

    Returns:
        How many weights were laid out: parameters on the CPU. Others, and weights that are computed
        (`torch.nn.utils.parametrize`), work as before.

    Raises:
        TypeError: `model` is not a module.
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model: expected a torch.nn.Module, but got {type(model).__name__}")
    count = 0
    for module in model.modules():
        if not isinstance(module, RecurrentLayer | _RecurrentCell):
            continue
        for name, weight in module.named_parameters(recurse=False):
            if name.startswith(MATRICES) and weight.device.type == "cpu":
                ops.prepack(weight, module.hidden_size)
                count += 1
    return count
