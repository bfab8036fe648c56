"""docs/transforms.md: what it says works does, row by row, and no row passes by merely running."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import fused_rnn

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
sys.path.append(str(SCRIPTS))

import transforms  # noqa: E402
from capabilities import ROWS, Row  # noqa: E402

PAGE = transforms.PAGE.read_text()
ORDERS = {  # of the lowest derivative that the row asks for, where it is not the first
    "double backward": 2,
    "third order": 3,
    "forward over reverse": 2,
    "`torch.func.hessian`": 2,
    "`jacrev` over `jacrev`": 2,
}
DERIVATIVES = [row for row in ROWS if row.group in ("Derivatives", "Packed sequences")]


def over(rows: list[Row]) -> pytest.MarkDecorator:
    marks = {True: [pytest.mark.slow], False: []}
    parameters = [pytest.param(row, marks=marks[row.slow], id=row.title) for row in rows]
    return pytest.mark.parametrize("row", parameters)


class ChangedGRU(fused_rnn.GRU):
    """A GRU of ours whose results are changed."""

    change: Callable[[Tensor], Tensor]

    def forward(self, input: Any, hx: Any = None) -> Any:
        output, h_n = super().forward(input, hx)
        change = type(self).change
        if isinstance(output, Tensor):
            return change(output), change(h_n)
        return output._replace(data=change(output.data)), change(h_n)


def library(change: Callable[[Tensor], Tensor]) -> SimpleNamespace:
    ChangedGRU.change = staticmethod(change)
    return SimpleNamespace(GRU=ChangedGRU)


def skip_unless_it_works(row: Row) -> None:
    if not (said := transforms.said(PAGE)[row.title]).startswith("yes"):
        pytest.skip(f"docs/transforms.md says: {said}")


@over(ROWS)
def test_row(row: Row) -> None:
    skip_unless_it_works(row)
    assert transforms.lost(PAGE, [row]) == {}


@over(ROWS)
def test_wrong_outputs_are_noticed(row: Row) -> None:
    if transforms.said(PAGE)[row.title] != "yes":
        pytest.skip("not every cell works")
    wrong = library(lambda output: 1.25 * output)
    assert row.verdict(wrong, "GRU", row.dtypes[0]) == "wrong numbers"


@over(DERIVATIVES)
def test_wrong_derivatives_are_noticed(row: Row) -> None:
    """Of outputs that are right, and so is every derivative of a lower order."""
    skip_unless_it_works(row)
    order = ORDERS.get(row.title.removeprefix("packed, "), 1)
    wrong = library(lambda output: output + (output - output.detach()) ** order)
    for dtype in row.dtypes:
        assert row.verdict(wrong, "GRU", dtype) == "wrong numbers"


def test_errors_are_quoted() -> None:
    def refuse(output: Tensor) -> Tensor:
        raise ValueError("no such thing, said /a/folder/file.py\nand more")

    verdict = ROWS[0].verdict(library(refuse), "GRU", torch.float64)
    assert verdict == "ValueError: no such thing, said file.py"


def test_the_page_has_the_rows() -> None:
    for row in ROWS:
        assert f"| **{row.title}**: {row.text} |" in PAGE
        assert row.text.endswith(".")
    assert list(transforms.said(PAGE)) == [row.title for row in ROWS]


def test_a_lost_row_is_told() -> None:
    """--check against a page that promises more."""
    row = ROWS[0]
    page = transforms.line(row, ["no", "yes"])
    refusing = SimpleNamespace(RNN=fused_rnn.RNN, GRU=fused_rnn.GRU, LSTM=fused_rnn.LSTM)
    assert transforms.lost(page, [row], refusing) == {}
    refusing.GRU = library(lambda output: 2 * output).GRU
    assert transforms.lost(page, [row], refusing) == {row.title: "yes, but GRU: wrong numbers"}
    assert transforms.lost(transforms.line(row, ["yes", "no"]), [row], refusing) == {}
