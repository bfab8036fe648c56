"""The rows of the table, each a function from a layer to what was found and what is expected."""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.gradcheck import GradcheckError

from .layer import CELLS, Layer

Pair = tuple[Any, Any]  # nested tuples of tensors: found, expected
Function = Callable[[Layer], Pair]

BOTH = (torch.float64, torch.float32)
MOST_LETTERS = 75  # of an error's message


@dataclass(frozen=True)
class Row:
    """One capability; its function's docstring is its text in the table."""

    group: str
    title: str
    function: Function
    dtypes: tuple[torch.dtype, ...]
    packed: bool
    slow: bool  # it waits for a C++ compiler
    precision: torch.dtype | None  # of the arithmetic, where it is not the layer's dtype

    @property
    def text(self) -> str:
        return " ".join((self.function.__doc__ or "").split())

    def verdict(self, library: Any, cell: str, dtype: torch.dtype) -> str:
        """ "yes", "wrong numbers", or the first words of the error."""
        torch._dynamo.reset()
        layer = Layer(library, cell, dtype, self.packed)
        try:
            with warnings.catch_warnings():
                for message in QUIET:
                    warnings.filterwarnings("ignore", message)
                found, expected = self.function(layer)
        except GradcheckError:
            return "wrong numbers"
        except Exception as error:  # whatever it is, it is what a user would see
            return words(error)
        return "yes" if close(found, expected, self.precision or dtype) else "wrong numbers"

    def verdicts(self, library: Any) -> dict[tuple[str, torch.dtype], str]:
        """Over the cells and dtypes."""
        pairs = [(cell, dtype) for cell in CELLS for dtype in self.dtypes]
        return {pair: self.verdict(library, *pair) for pair in pairs}


ROWS: list[Row] = []
GROUPS = ("Derivatives", "Packed sequences", "vmap", "Compilation", "Tools")

QUIET = (
    "There is a performance drop because we have not yet implemented the batching rule",
    "Anomaly Detection has been enabled",
    "Error detected in",  # what anomaly mode is for
    "Attempted to insert a get_attr Node with no underlying reference",  # linearize
    ".*torch.jit.trace",
    ".isinstance.treespec, LeafSpec.. is deprecated",  # AOTInductor's own
    "Converting a tensor to a Python boolean might cause the trace",  # torch.nn's check of sizes
)


def row(
    group: str,
    title: str,
    *,
    dtypes: tuple[torch.dtype, ...] = BOTH,
    packed: bool = False,
    slow: bool = False,
    precision: torch.dtype | None = None,
) -> Callable[[Function], Function]:
    """Add a function to the table."""

    def add(function: Function) -> Function:
        ROWS.append(Row(group, title, function, dtypes, packed, slow, precision))
        return function

    return add


def close(found: Any, expected: Any, dtype: torch.dtype) -> bool:
    """Equal but for rounding, which leaves two thirds of the dtype's digits."""
    tolerance = torch.finfo(dtype).eps ** (2 / 3)
    try:
        torch.testing.assert_close(
            found, expected, rtol=tolerance, atol=tolerance, check_dtype=False
        )
    except AssertionError:
        return False
    return True


def words(error: Exception) -> str:
    """The error's type and first line, short, without the paths of this machine."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = re.sub(r"(?<!\w)/[\w./-]+/", "", lines[0] if lines else "")
    text = text if len(text) <= MOST_LETTERS else text[:MOST_LETTERS].rsplit(" ", 1)[0] + " ..."
    return f"{type(error).__name__}: {text}"
