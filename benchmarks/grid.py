"""The tables of benchmark points: family x cell x shape x (inference or training).

Input size equals hidden size. A point only describes work, it holds no tensor; `problem.py` turns
it into tensors and `contestants.py` into something to call.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

CELLS = ("rnn", "lstm", "gru")
FAMILIES = ("layer", "packed", "cell")
KINDS = (
    "inference",
    "training",
    "packed-inference",
    "packed-training",
    "cell-inference",
    "cell-training",
)
GATES = {"rnn": 1, "lstm": 4, "gru": 3}

# (batch, steps, hidden)
LAYER_SHAPES = (
    (1, 100, 64),
    (1, 100, 256),
    (1, 50, 1024),
    (8, 100, 128),
    (32, 100, 64),
    (32, 100, 128),
    (32, 100, 256),
    (32, 50, 512),
    (64, 50, 512),
    (64, 30, 1024),
    (128, 100, 256),
    (256, 50, 128),
)
# Few of these sizes are multiples of a tile or a vector.
ODD_SHAPES = (
    (1, 200, 130),
    (1, 50, 384),
    (2, 400, 96),
    (2, 50, 700),
    (5, 400, 96),
    (5, 100, 130),
    (17, 10, 130),
    (17, 60, 200),
    (33, 100, 130),
    (33, 50, 384),
    (48, 100, 96),
    (48, 20, 700),
)
# torch.nn's backward over a packed LSTM is quadratic in the steps (pytorch#149194).
LONG_PACKED_SHAPES = ((16, 1000, 32), (8, 2000, 64))
PACKED_SHAPES = tuple(shape for shape in LAYER_SHAPES if shape[0] > 1) + LONG_PACKED_SHAPES
CELL_SHAPES = tuple((batch, 1, hidden) for hidden in (64, 128, 256) for batch in (1, 8, 32))

# Time against length: packed, and the same batch padded.
LENGTH_SHAPES = tuple((16, steps, 32) for steps in (50, 100, 200, 400, 1000, 2000))

SHAPES = {"layer": LAYER_SHAPES, "packed": PACKED_SHAPES, "cell": CELL_SHAPES}
QUICK_SHAPES = {
    "layer": ((1, 100, 64), (8, 100, 128), (32, 100, 128)),
    "packed": ((32, 100, 64),),
    "cell": ((1, 1, 64), (32, 1, 256)),
}


@dataclass(frozen=True)
class Point:
    """One line of the table.

    `family` is "layer" (a whole sequence), "packed" (the same over a PackedSequence) or "cell"
    (one step of LSTMCell and its like); `training` adds the backward pass, with the gradients of
    all parameters, of the input and of the initial state.
    """

    family: str
    cell: str
    batch: int
    steps: int
    hidden: int
    training: bool

    @property
    def kind(self) -> str:
        mode = "training" if self.training else "inference"
        return mode if self.family == "layer" else f"{self.family}-{mode}"

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.batch, self.steps, self.hidden

    @property
    def shape_name(self) -> str:
        steps = "" if self.family == "cell" else f"-T{self.steps}"
        return f"B{self.batch}{steps}-H{self.hidden}"

    @property
    def id(self) -> str:
        return f"{self.kind}-{self.cell}-{self.shape_name}"

    @property
    def quick(self) -> bool:
        """Whether the reduced run includes the point."""
        return self.shape in QUICK_SHAPES[self.family]

    @property
    def long(self) -> bool:
        """Whether torch.nn is so slow that a mean has to leave the point out."""
        return self.family == "packed" and self.steps >= 1000

    @property
    def odd(self) -> bool:
        """Whether the shape is one of `ODD_SHAPES`."""
        return self.family == "layer" and self.shape in ODD_SHAPES

    @property
    def lengths(self) -> list[int]:
        """Sequence lengths, longest first: evenly from T down to T/5 where packed, else all T."""
        if self.family != "packed":
            return [self.steps] * self.batch
        shortest = self.steps // 5
        span = self.steps - shortest
        return [self.steps - span * row // (self.batch - 1) for row in range(self.batch)]

    @property
    def flops(self) -> int:
        """Floating-point operations of the matrix products; backward counts as two forwards."""
        rows = sum(self.lengths)
        forward = 2 * rows * GATES[self.cell] * self.hidden * (self.hidden + self.hidden)
        return 3 * forward if self.training else forward


def grid() -> list[Point]:
    return [
        Point(family, cell, *shape, training)
        for family, training, cell in itertools.product(FAMILIES, (False, True), CELLS)
        for shape in SHAPES[family]
    ]


def layers(shapes: Iterable[tuple[int, int, int]]) -> list[Point]:
    """Whole layers of these shapes."""
    pairs = itertools.product((False, True), CELLS)
    return [Point("layer", cell, *shape, training) for training, cell in pairs for shape in shapes]


def lengths() -> list[Point]:
    """Training over ever longer sequences, packed, and the same batch padded to the longest."""
    cases = itertools.product(CELLS, LENGTH_SHAPES, ("packed", "layer"))
    return [Point(family, cell, *shape, training=True) for cell, shape, family in cases]


def select(
    points: Iterable[Point], kinds: Iterable[str] = (), cells: Iterable[str] = ()
) -> list[Point]:
    """Those of some kinds (or families) and cells; nothing named means all."""
    kinds, cells = set(kinds), set(cells)
    return [
        point
        for point in points
        if (not kinds or kinds & {point.kind, point.family}) and (not cells or point.cell in cells)
    ]
