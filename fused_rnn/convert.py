"""`convert` and `revert`: torch.nn's recurrent modules become ours and back, in place.

A module is swapped by assigning its `__class__`. Our classes hold exactly the attributes of
torch.nn's, so the object stays and with it whatever refers to it: parameters, hooks, the training
flag, every parent that shares it, an optimizer's state, even a model that *is* one layer.
"""

import torch
from torch.nn.utils.parametrize import is_parametrized

from . import cells, modules, ops

_OURS: dict[type, type] = {
    torch.nn.RNN: modules.RNN,
    torch.nn.LSTM: modules.LSTM,
    torch.nn.GRU: modules.GRU,
    torch.nn.RNNCell: cells.RNNCell,
    torch.nn.LSTMCell: cells.LSTMCell,
    torch.nn.GRUCell: cells.GRUCell,
}
_THEIRS = {ours: theirs for theirs, ours in _OURS.items()}


class Conversion(int):
    """The number of modules that were changed; an int that also tells what was left alone.

    Attributes:
        skipped: For each recurrent module that could not be changed, its name in the model (""
            is the model itself) and the reason.
    """

    skipped: dict[str, str]

    def __new__(cls, count: int, skipped: dict[str, str] | None = None) -> "Conversion":
        conversion = super().__new__(cls, count)
        conversion.skipped = dict(skipped or {})
        return conversion

    def __repr__(self) -> str:
        return f"Conversion({int(self)}, skipped={self.skipped})"

    __str__ = int.__repr__


def convert(model: torch.nn.Module) -> Conversion:
    """Make every torch.nn recurrent layer and cell in a model one of ours, in place.

    Only the exact types are changed: a subclass may have a forward of its own. A module that has
    parametrizations (`torch.nn.utils.parametrize`) keeps them.

    Args:
        model: Any module; it may itself be a recurrent layer.

    Returns:
        How many modules were changed; its `skipped` tells which could not be and why.

    Raises:
        TypeError: `model` is not a module.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LSTM(4, 5))
        >>> fused_rnn.convert(model)
        Conversion(1, skipped={})
    """
    return _swap(model, _OURS)


def revert(model: torch.nn.Module) -> Conversion:
    """Make every recurrent layer and cell of ours in a model torch.nn's again, in place.

    Args:
        model: Any module; it may itself be a recurrent layer.

    Returns:
        How many modules were changed; its `skipped` tells which could not be and why.

    Raises:
        TypeError: `model` is not a module.
    """
    return _swap(model, _THEIRS)


def _swap(model: torch.nn.Module, classes: dict[type, type]) -> Conversion:
    """Change every module of a class in `classes` to the class it is mapped to."""
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model: expected a torch.nn.Module, but got {type(model).__name__}")
    count = 0
    skipped = {}
    for name, module in model.named_modules():
        source = _unparametrized_class(module)
        if source in classes:
            reason = _reason_to_keep(module, classes[source])
        else:
            reason = _reason_out_of_reach(module, classes)
        if reason is not None:
            skipped[name] = reason
        elif source in classes:
            _assign_class(module, classes[source])
            count += 1
    return Conversion(count, skipped)


def _unparametrized_class(module: torch.nn.Module) -> type:
    """The class of a module, looking through the subclass that parametrize makes for it."""
    cls = type(module)
    return cls.__bases__[0] if is_parametrized(module) else cls


def _assign_class(module: torch.nn.Module, target: type) -> None:
    """Make a module an instance of `target`, keeping its parametrizations."""
    if is_parametrized(module):
        # The subclass is rebuilt, not rebased: copies of the module share it.
        cls = type(module)
        own = {k: v for k, v in vars(cls).items() if k not in ("__dict__", "__weakref__")}
        target = type(f"Parametrized{target.__name__}", (target,), own)
    module.__class__ = target


def _reason_to_keep(module: torch.nn.Module, target: type) -> str | None:
    """Why a module of an exact type must stay as it is, or None."""
    if "forward" in vars(module):
        return "its forward is replaced on the instance"
    if target in _THEIRS:
        tensors = [*module.parameters(), *filter(torch.is_tensor, vars(module).values())]
        for tensor in tensors:
            if tensor.device.type not in ops.device_types():
                return f"there are no kernels for its device, {tensor.device}"
            if tensor.dtype not in ops.DTYPES:
                return f"there are no kernels for its dtype, {tensor.dtype}"
    return None


def _reason_out_of_reach(module: torch.nn.Module, classes: dict[type, type]) -> str | None:
    """Why a module that is recurrent but of no exact type stays, or None if it is not recurrent."""
    names = [source.__name__ for source in classes]
    if isinstance(module, torch.jit.ScriptModule):
        return "it is compiled by TorchScript" if module.original_name in names else None
    cls = type(module)
    if isinstance(module, tuple(classes)):
        return f"{cls.__qualname__} is a subclass, which may have a forward of its own"
    if cls.__module__.startswith("torch.ao.nn.") and cls.__name__ in names:
        return "it is quantized"
    return None
