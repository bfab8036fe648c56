"""The one table of cases, and what a case is made into: modules, inputs, initial states.

Sizes are odd on purpose: one unit, one sequence, fewer units than a SIMD vector, one more than it,
no steps, no sequences. A test file states one property and runs it over the table.
"""

from dataclasses import dataclass, fields
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

CELLS = ("rnn_tanh", "rnn_relu", "lstm", "gru")
GATES = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Case:
    """A layer stack and the shape of its input; `lengths` make the input a `PackedSequence`."""

    cell: str
    input_size: int = 5
    hidden_size: int = 7
    num_layers: int = 1
    bidirectional: bool = False
    bias: bool = True
    batch_first: bool = False
    proj_size: int = 0
    steps: int = 9
    batch: int = 5
    lengths: tuple[int, ...] | None = None

    def __str__(self) -> str:
        """The cell and what differs from the defaults, such as gru-hidden_size=1-steps=2."""
        values = {f.name: (getattr(self, f.name), f.default) for f in fields(self)[1:]}
        changed = [f"{name}={_text(v)}" for name, (v, default) in values.items() if v != default]
        return "-".join([self.cell, *changed])

    @property
    def states(self) -> int:
        """The first dimension of an initial state."""
        return self.num_layers * (2 if self.bidirectional else 1)

    @property
    def out_size(self) -> int:
        """The features of the state h."""
        return self.proj_size or self.hidden_size

    @property
    def rows(self) -> int:
        """The steps of all sequences together."""
        return self.steps * self.batch if self.lengths is None else sum(self.lengths)

    @property
    def options(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "bidirectional")
        options = {name: getattr(self, name) for name in names}
        if self.proj_size:
            options["proj_size"] = self.proj_size
        if self.cell.startswith("rnn"):
            options["nonlinearity"] = self.cell.removeprefix("rnn_")
        return options

    def module(self, library: Any, dtype: torch.dtype = torch.float64, **options: Any) -> Any:
        """The layers, of `fused_rnn` or of `torch.nn`, with the same weights in both."""
        cls = getattr(library, self.cell.split("_")[0].upper())
        torch.manual_seed(1)  # in float32, so that all dtypes start from the same values
        return cls(**{**self.options, **options}).to(dtype)

    def input(self, dtype: torch.dtype = torch.float64) -> Tensor | PackedSequence:
        """A random input: dense, or packed if the case has lengths."""
        x = random(self.steps, self.batch, self.input_size, dtype=dtype, seed=2)
        if self.lengths is not None:
            lengths = torch.tensor(self.lengths)
            descending = lengths.sort(descending=True).values
            return pack_padded_sequence(x, lengths, enforce_sorted=torch.equal(lengths, descending))
        return x.transpose(0, 1).contiguous() if self.batch_first else x

    def state(self, dtype: torch.dtype = torch.float64) -> Tensor | tuple[Tensor, Tensor]:
        """A random initial state."""
        h = random(self.states, self.batch, self.out_size, dtype=dtype, seed=3)
        if self.cell != "lstm":
            return h
        return h, random(self.states, self.batch, self.hidden_size, dtype=dtype, seed=4)

    def recurrence(self, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
        """The arguments of `functional.recurrence` for the first layer."""
        xg = random(*self._leading, self._gates, dtype=dtype, seed=5)
        return {"xg": xg, **self._loop(dtype)}

    def layer(self, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
        """The arguments of `functional.layer` for the first layer."""
        tensors = {
            "input": random(*self._leading, self.input_size, dtype=dtype, seed=11),
            "weight_ih": random(self._gates, self.input_size, dtype=dtype, seed=12)
            / self.input_size**0.5,
        }
        if self.bias:
            tensors["bias_ih"] = random(self._gates, dtype=dtype, seed=13)
        return {**tensors, **self._loop(dtype)}

    @property
    def _gates(self) -> int:
        return GATES[self.cell] * self.hidden_size

    @property
    def _leading(self) -> tuple[int, ...]:
        return (self.steps, self.batch) if self.lengths is None else (self.rows,)

    def _loop(self, dtype: torch.dtype) -> dict[str, Any]:
        """What `recurrence` and `layer` take alike."""
        gates, batch_sizes = self._gates, None
        if self.lengths is not None:
            batch_sizes = torch.tensor(
                [sum(length > t for length in self.lengths) for t in range(max(self.lengths))]
            )
        tensors = {
            "h_0": random(self.batch, self.out_size, dtype=dtype, seed=6),
            "weight_hh": random(gates, self.out_size, dtype=dtype, seed=7) / self.hidden_size**0.5,
        }
        if self.cell == "lstm":
            tensors["c_0"] = random(self.batch, self.hidden_size, dtype=dtype, seed=8)
        if self.bias:
            tensors["bias_hh"] = random(gates, dtype=dtype, seed=9)
        if self.proj_size:
            shape = (self.proj_size, self.hidden_size)
            tensors["weight_hr"] = random(*shape, dtype=dtype, seed=10) / self.hidden_size**0.5
        return {"cell": self.cell, "batch_sizes": batch_sizes, **tensors}


def random(*shape: int, dtype: torch.dtype, seed: int) -> Tensor:
    """Normal values that depend on the shape and the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def _text(value: object) -> str:
    return "_".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _ragged(cell: str, *lengths: int, **options: Any) -> Case:
    return Case(cell, steps=max(lengths), batch=len(lengths), lengths=lengths, **options)


def _cases(cell: str) -> list[Case]:
    cases = [
        Case(cell),
        # Sizes.
        Case(cell, input_size=1, hidden_size=1, steps=1, batch=1),
        Case(cell, hidden_size=1, steps=2, batch=17),
        Case(cell, hidden_size=16, steps=2, batch=2),
        Case(cell, hidden_size=33, batch=1),
        Case(cell, hidden_size=40, batch=17),
        Case(cell, steps=0),
        Case(cell, batch=0),
        # Options.
        Case(cell, bias=False),
        Case(cell, batch_first=True),
        Case(cell, bidirectional=True),
        Case(cell, bidirectional=True, num_layers=2, batch_first=True, hidden_size=16),
        Case(cell, bidirectional=True, num_layers=3, bias=False, steps=2),
        Case(cell, bidirectional=True, num_layers=2, steps=0),
        # Ragged, sorted or not.
        _ragged(cell, 9, 5, 5, 2, 1),
        _ragged(cell, 2, 9, 1, 9, 4, hidden_size=16),
        _ragged(cell, 1, hidden_size=33),
        _ragged(cell, 3, 3, 3, bias=False),
        _ragged(cell, *range(1, 18), hidden_size=40, bidirectional=True),
        _ragged(cell, 1, 2, 4, bidirectional=True, num_layers=2, batch_first=True),
    ]
    if cell == "lstm":
        cases += [
            Case(cell, proj_size=3),
            Case(cell, proj_size=1, hidden_size=2, batch=1, bias=False),
            Case(cell, proj_size=16, hidden_size=33, bidirectional=True, num_layers=2, batch=17),
            _ragged(cell, 2, 9, 1, 9, 4, proj_size=3, bidirectional=True, num_layers=2),
        ]
    return cases


def _block_cases(cell: str) -> list[Case]:
    """More rows than the 256 that a block of a weight's gradient holds (csrc/cpu/outer-inl.h)."""
    hidden_size = 166 // GATES[cell]
    return [
        case
        for proj_size in ((0, 17) if cell == "lstm" else (0,))
        for case in (
            Case(cell, hidden_size=hidden_size, proj_size=proj_size, steps=160, batch=6),
            _ragged(cell, 160, 120, 120, 90, 40, 1, hidden_size=hidden_size, proj_size=proj_size),
        )
    ]


CASES = [case for cell in CELLS for case in _cases(cell)]

# Of these a reference, a loop in Python, takes a tenth of a second: for properties of blocks alone.
# The last three sum over more than the 1,024 terms of a block of csrc/cpu/tile-inl.h.
BLOCK_CASES = [case for cell in CELLS for case in _block_cases(cell)] + [
    Case("lstm", hidden_size=270, steps=3, batch=17),
    Case("gru", input_size=1030, steps=4, batch=17),
    _ragged("lstm", *range(1, 18), hidden_size=270, proj_size=33),
]

# Where the CPU has AMX, the state's weights as they lie: the input ahead in two blocks, in one, the
# last panel with fewer units.
IN_PLACE_CASES = [
    Case("gru", hidden_size=400, steps=30, batch=3),
    Case("rnn_tanh", input_size=20, hidden_size=656, steps=25, batch=1),
    _ragged("lstm", 3, 26, hidden_size=803, proj_size=128),
]

# A case for every plan of csrc/cpu/regime-inl.h: few rows in one step or several, and one more;
# rows of one step that fill vectors' lanes, or do not; few steps backward; few sequences, the input
# ahead in one block or in two; weights beyond the L3 cache.
REGIME_CASES = [
    *(Case(cell, hidden_size=41, steps=1, batch=batch) for cell in CELLS for batch in (7, 8)),
    *(Case(cell, hidden_size=203, steps=1, batch=batch) for cell in CELLS for batch in (24, 25)),
    *(Case(cell, hidden_size=41, steps=1, batch=batch) for cell in CELLS for batch in (5, 15, 29)),
    *(Case(cell, hidden_size=130, steps=1, batch=16, bias=False) for cell in CELLS),
    Case("lstm", input_size=70, hidden_size=80, steps=1, batch=60, proj_size=17),
    Case("lstm", input_size=70, hidden_size=80, steps=1, batch=15, proj_size=17),
    *(Case(cell, hidden_size=80, steps=8, batch=9) for cell in CELLS),
    *(Case(cell, hidden_size=41, steps=3, batch=2) for cell in CELLS),
    *(Case("gru", hidden_size=200, steps=4, batch=4, bias=bias) for bias in (True, False)),
    _ragged("lstm", 1, 5, 3, hidden_size=300, proj_size=200),
    *(
        Case(cell, hidden_size=hidden_size, steps=steps, batch=batch)
        for cell in CELLS
        for hidden_size, steps, batch in ((70, 80, 3), (70, 20, 2), (71, 600, 1))
    ),
    Case("lstm", hidden_size=270, steps=40, batch=1, proj_size=70),
    *(Case("lstm", hidden_size=300, steps=70, batch=batch) for batch in (1, 2)),
    _ragged("gru", 9, 40, 70, hidden_size=300),
    _ragged("lstm", 9, 40, 70, hidden_size=270, proj_size=70),
    Case("lstm", hidden_size=32, steps=20, batch=3),
    Case("lstm", input_size=900, hidden_size=700, steps=3, batch=5),
    Case("lstm", input_size=900, hidden_size=700, steps=20, batch=5),
    *IN_PLACE_CASES,
    # Backward, weights as they lie, in parts of k, the last panel narrower: by sequences, by units.
    Case("gru", hidden_size=336, steps=3, batch=9),
    _ragged("lstm", 2, 1, 2, hidden_size=320, proj_size=208),
    # Short sums of a weight's gradient that is too wide for tiles to follow its rows.
    Case("rnn_tanh", input_size=1100, hidden_size=20, steps=4, batch=15),
    # On AVX2, by one thread: the input ahead in two blocks, in one, and a step a block; panels that
    # tiles ask for, backward too (450 is no multiple of 8: the weights are packed there).
    _ragged("lstm", *range(1, 10), *9 * [9], input_size=130, hidden_size=130),
    Case("gru", input_size=200, hidden_size=200, steps=5, batch=17),
    Case("rnn_tanh", input_size=300, hidden_size=300, steps=2, batch=120),
    Case("lstm", input_size=30, hidden_size=450, steps=3, batch=13),
    # On AVX-512 as well; and, where the CPU has AMX, by units on two threads.
    Case("lstm", input_size=340, hidden_size=340, steps=5, batch=5),
    Case("lstm", input_size=200, hidden_size=300, proj_size=200, steps=9, batch=6),
]

# torch.nn refuses a sequence of no steps.
STEPPING_CASES = [case for case in CASES if case.steps > 0]


each_cell = pytest.mark.parametrize("cell", CELLS)


def over(cases: list[Case]) -> pytest.MarkDecorator:
    """Run a test over cases, each under its readable name."""
    return pytest.mark.parametrize("case", cases, ids=str)
