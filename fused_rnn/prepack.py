"""`prepack`: weights packed once for inference on the CPU, instead of in every call."""

import warnings

import torch

from . import ops
from .cells import WEIGHTS, _RecurrentCell
from .recurrent_layer import RecurrentLayer


def prepack(model: torch.nn.Module) -> int:
    """Pack the weights of our layers and cells in a model once, for inference on the CPU.

    Otherwise every call on the CPU copies weight_ih and weight_hh into the order that its kernel
    reads them in, or with few rows reads them more slowly as they lie: much of the time of a cell's
    step or of a short sequence, little of a long one's. Results are the same up to rounding. The
    copies take as much memory as these weights, and last as long as the parameters. A `deepcopy`
    or a loaded model has none until it is packed itself.

    A weight that has changed since is packed in every call again, until the next `prepack`: after
    an optimizer's step, `load_state_dict`, an in-place operation, an assignment. A change that
    torch does not count, by `weight.data.copy_(...)` or through an array that shares the memory, is
    seen only if it changes one of four values that are compared: after others, call `prepack`
    again. No other thread may use the model while `prepack` runs.

    Args:
        model: Any module; it may itself be a recurrent layer or cell. Those of torch.nn are left
            alone, with a warning if nothing is packed: `convert` comes first.

    Returns:
        How many weights were packed: parameters on the CPU in float32 or float64. Others work as
        before, as do those that are computed (`torch.nn.utils.parametrize`), sharded (FSDP2) or
        made in inference mode, whose changes torch does not count.

    Raises:
        TypeError: `model` is not a module.
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model: expected a torch.nn.Module, but got {type(model).__name__}")
    count, others = 0, False
    for module in model.modules():
        if isinstance(module, RecurrentLayer):
            names = set(module._flat_weights_names)
        elif isinstance(module, _RecurrentCell):
            names = WEIGHTS
        else:
            others |= isinstance(module, torch.nn.RNNBase | torch.nn.RNNCellBase)
            continue
        for name, weight in module.named_parameters(recurse=False):
            if name in names and name.startswith(("weight_ih", "weight_hh")):
                count += ops.prepack(weight, module.hidden_size)
    if others and count == 0:
        warnings.warn(
            f"model: expected layers or cells of fused_rnn to prepack, but {type(model).__name__} "
            "has torch.nn's; fused_rnn.convert swaps them",
            stacklevel=2,
        )
    return count
