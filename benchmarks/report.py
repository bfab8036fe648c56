"""Text: a line a point, the geometric means, two reports side by side, the table of the README."""

from __future__ import annotations

from .grid import CELLS, KINDS, LAYER_SHAPES
from .results import OURS, TORCH, Report, Row, caption, geometric_mean, means

ID_WIDTH = 36
COLUMNS = ("lstm", "gru", "rnn")


def header(contestants: list[str]) -> str:
    times = "".join(f"{name + ' us':>16}" for name in contestants)
    rates = f"{'GF/s':>8}{'torch GF/s':>12}"
    best = f"{'best peer':>22}" if len(contestants) > 2 else ""
    return f"{'point':<{ID_WIDTH}}{times}{rates}{'torch/ours':>12}{best}"


def line(row: Row, contestants: list[str]) -> str:
    """Columns as in `header`; "-" where a contestant takes no part."""
    times = "".join(
        f"{1e6 * row.seconds[name]:>16.1f}" if name in row.seconds else f"{'-':>16}"
        for name in contestants
    )
    rates = f"{row.gflops(OURS):>8.1f}{row.gflops(TORCH):>12.1f}"
    best = ""
    if len(contestants) > 2:
        best = f"{row.best_peer:>15}{row.ratio(row.best_peer):>7.2f}"
    return f"{row.point.id:<{ID_WIDTH}}{times}{rates}{row.ratio():>12.2f}{best}"


def summary(report: Report) -> str:
    """Geometric means by kind and cell, with the slowest point of each."""
    lines = ["geometric mean of torch/ours (smallest; points); long packed points apart"]
    table = means(report)
    for kind in KINDS:
        entries = [
            f"{cell} {mean:5.2f} ({least:.2f}; {count})"
            for cell in CELLS
            if (kind, cell) in table
            for mean, least, count in [table[kind, cell]]
        ]
        if entries:
            lines.append(f"{kind:<18}" + "   ".join(entries))
    behind = sorted((row for row in report.rows if row.ratio() < 1), key=Row.ratio)
    lines.append(f"points behind torch: {len(behind)} of {len(report.rows)}")
    lines += [f"  {row.ratio():.2f}  {row.point.id}" for row in behind]
    return "\n".join(lines)


def compare(before: Report, after: Report) -> str:
    """Our times in two reports; the points of both, and how many only one has."""
    old = {row.point.id: row for row in before.rows}
    pairs = [(old[row.point.id], row) for row in after.rows if row.point.id in old]
    lines = [f"A: {caption(before.environment)}", f"B: {caption(after.environment)}"]
    lines.append(
        f"{'point':<{ID_WIDTH}}{'A us':>14}{'B us':>14}{'A/B':>8}{'torch/A':>10}{'torch/B':>10}"
    )
    for a, b in pairs:
        seconds_a, seconds_b = a.seconds[OURS], b.seconds[OURS]
        lines.append(
            f"{a.point.id:<{ID_WIDTH}}{1e6 * seconds_a:>14.1f}{1e6 * seconds_b:>14.1f}"
            f"{seconds_a / seconds_b:>8.2f}{a.ratio():>10.2f}{b.ratio():>10.2f}"
        )
    lines.append("geometric mean of A/B")
    for kind in KINDS:
        ratios = [a.seconds[OURS] / b.seconds[OURS] for a, b in pairs if a.point.kind == kind]
        if ratios:
            lines.append(f"{kind:<{ID_WIDTH}}{geometric_mean(ratios):>36.2f}")
    alone = len(before.rows) + len(after.rows) - 2 * len(pairs)
    if alone:
        lines.append(f"points that only one report has: {alone}")
    return "\n".join(lines)


def _cell(rows: list[Row]) -> str:
    """Geometric mean of the ratios (the smallest); of a single row its ratio."""
    ratios = [row.ratio() for row in rows]
    if not ratios:
        return "-"
    if len(ratios) == 1:
        return f"{ratios[0]:.2f}"
    return f"{geometric_mean(ratios):.2f} ({min(ratios):.2f})"


def _table_row(title: str, rows: list[Row]) -> str:
    cells = [
        _cell([row for row in rows if row.point.training is training and row.point.cell == cell])
        for training in (False, True)
        for cell in COLUMNS
    ]
    return f"| {title} | {' | '.join(cells)} |"


def table(report: Report, *, by_shape: bool = False) -> str:
    """Markdown: torch's time over ours; a row a kind, or a row a shape of the whole layers."""
    heads = [f"{mode} {cell.upper()}" for mode in ("inference", "training") for cell in COLUMNS]
    first = "batch x steps x hidden" if by_shape else "geometric mean (smallest)"
    lines = [f"| {first} | {' | '.join(heads)} |", "|:--|" + "--:|" * len(heads)]
    rows = report.rows
    layers = [row for row in rows if row.point.family == "layer"]
    if by_shape:
        for shape in LAYER_SHAPES:
            of_shape = [row for row in layers if row.point.shape == shape]
            if of_shape:
                lines.append(_table_row(" x ".join(map(str, shape)), of_shape))
    else:
        packed = [row for row in rows if row.point.family == "packed"]
        groups = {
            "whole layer": layers,
            "packed sequences": [row for row in packed if not row.point.long],
            **{
                f"packed, {row.point.batch} sequences of up to {row.point.steps} steps": [
                    other for other in packed if other.point.shape == row.point.shape
                ]
                for row in packed
                if row.point.long
            },
            "one step of a cell": [row for row in rows if row.point.family == "cell"],
        }
        lines += [_table_row(title, members) for title, members in groups.items() if members]
    lines += [
        "",
        f"Time of torch.nn over ours (above 1: ours is faster); {caption(report.environment)}.",
    ]
    return "\n".join(lines)
