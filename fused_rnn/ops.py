"""The operators of the compiled library; nothing else in the package, but their batching rules,
touches `torch.ops.fused_rnn`.

Importing `_C` registers them. The overload is looked up once: a call through the packet costs more.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def _check_build() -> None:
    """Refuse an extension for another torch in words; loading it could fail on a symbol."""
    try:
        from ._built_for import TORCH_VERSION
    except ModuleNotFoundError as error:
        raise ImportError(
            "fused_rnn is not compiled: run `pip install .` in its source folder"
        ) from error
    if TORCH_VERSION.split(".")[:2] != torch.__version__.split(".")[:2]:
        raise ImportError(
            f"fused_rnn was compiled for torch {TORCH_VERSION}, but torch {torch.__version__} is "
            "installed: install fused_rnn again, with `pip install --no-cache-dir`"
        )


_check_build()

from . import _C  # noqa: E402
from . import batching as batching  # noqa: E402

CELLS = _C.cells()

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

Recurrence = Callable[
    [
        Tensor,  # xg
        Tensor,  # h_0
        Tensor | None,  # c_0
        Tensor,  # weight_hh
        Tensor | None,  # bias_hh
        Tensor | None,  # weight_hr
        Tensor | None,  # batch_sizes
        str,  # cell
        bool,  # reverse
    ],
    tuple[Tensor, Tensor, Any],  # output, h_n, c_n: None where the cell has no c
]

Layer = Callable[
    [
        Tensor,  # input
        Tensor,  # weight_ih
        Tensor | None,  # bias_ih
        Tensor,  # h_0, and on as Recurrence
        Tensor | None,
        Tensor,
        Tensor | None,
        Tensor | None,
        Tensor | None,
        str,
        bool,
    ],
    tuple[Tensor, Tensor, Any],
]

recurrence: Recurrence = torch.ops.fused_rnn.recurrence.default
_layer = torch.ops.fused_rnn.layer.default
# Past torch.ops: `step`, and `functional.stack` of dense input without dropout. None where an
# argument is not a plain tensor, or is what torch.nn's checks refuse.
plain_step = _C.step
plain_stack = _C.stack
prepack = _C.prepack


def layer(
    input: Tensor,
    weight_ih: Tensor,
    bias_ih: Tensor | None,
    h_0: Tensor,
    c_0: Tensor | None,
    weight_hh: Tensor,
    bias_hh: Tensor | None,
    weight_hr: Tensor | None,
    batch_sizes: Tensor | None,
    cell: str,
    reverse: bool,
) -> tuple[Tensor, Tensor, Any]:
    """The op; past torch.ops and its conversions where that will do."""
    states = (h_0, c_0, weight_hh, bias_hh, weight_hr)
    arguments = (input, weight_ih, bias_ih, *states, batch_sizes, cell, reverse)
    if not torch.compiler.is_compiling():
        past = _C.layer(*arguments)
        if past is not None:
            return past
    result: tuple[Tensor, Tensor, Any] = _layer(*arguments)
    return result


def step(
    input: Tensor,
    weight_ih: Tensor,
    bias_ih: Tensor | None,
    h: Tensor,
    c: Tensor | None,
    weight_hh: Tensor,
    bias_hh: Tensor | None,
    cell: str,
) -> tuple[Tensor, Any]:
    """The state `(h, c)` after one step of `layer` for input [batch, features]."""
    if not torch.compiler.is_compiling():
        result = plain_step(input, weight_ih, bias_ih, h, c, weight_hh, bias_hh, cell)
        if result is not None:
            return result
    _, h, c = _layer(input, weight_ih, bias_ih, h, c, weight_hh, bias_hh, None, None, cell, False)
    return h, c


def device_types() -> tuple[str, ...]:
    """The types of the devices that have kernels in this build."""
    return ("cpu", "meta", "cuda") if _C.build_info()["cuda"] else ("cpu", "meta")
