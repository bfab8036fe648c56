"""Text: a line a point, the geometric means, two reports side by side, the table of the README."""

from __future__ import annotations

import math

from .grid import CELLS, KINDS, LENGTH_SHAPES
from .results import BEST, OURS, TORCH, Report, Row, caption, geometric_mean, means

ID_WIDTH = 36
NOISE = 0.03  # a peer that is faster by less may be no faster
COLUMNS = ("lstm", "gru", "rnn")


def header(contestants: list[str]) -> str:
    times = "".join(f"{name + ' us':>16}" for name in contestants)
    rates = f"{'GF/s':>8}{'% peak':>8}{'torch GF/s':>12}"
    best = f"{BEST:>22}" if len(contestants) > 2 else ""
    return f"{'point':<{ID_WIDTH}}{times}{rates}{'torch/ours':>12}{'at peak':>9}{best}"


def line(row: Row, contestants: list[str], threads: int) -> str:
    """Columns as in `header`; "-" where a contestant takes no part."""
    times = "".join(
        f"{1e6 * row.seconds[name]:>16.1f}" if name in row.seconds else f"{'-':>16}"
        for name in contestants
    )
    share = row.share_of_peak(threads)
    percent = "-" if math.isnan(share) else f"{100 * share:.1f}"
    limit = "-" if math.isnan(share) else f"{row.limit(threads):.2f}"
    rates = f"{row.gflops(OURS):>8.1f}{percent:>8}{row.gflops(TORCH):>12.1f}"
    best = ""
    if len(contestants) > 2:
        best = f"{row.best_peer:>15}{row.ratio(BEST):>7.2f}"
    return f"{row.point.id:<{ID_WIDTH}}{times}{rates}{row.ratio():>12.2f}{limit:>9}{best}"


def summary(report: Report) -> str:
    """Over torch and, where others took part, over the best of all."""
    threads = report.environment["threads"]
    lines = _means(report.rows, threads, TORCH) + _behind(report.rows, TORCH, 1.0)
    if contested := [row for row in report.rows if row.contested]:
        lines += ["", *_means(contested, threads, BEST), *_behind(contested, BEST, 1 - NOISE)]
    return "\n".join(lines)


def _means(rows: list[Row], threads: int, peer: str) -> list[str]:
    """Geometric means by kind and cell, with the slowest point of each and `Row.limit`."""
    lines = [f"geometric mean of {peer}/ours (smallest; points; at peak); long packed points apart"]
    table = means(rows, lambda row: row.ratio(peer))
    limits = means(rows, lambda row: row.limit(threads, peer))
    for kind in KINDS:
        entries = [
            f"{cell} {mean:5.2f} ({least:.2f}; {count}{_at_peak(limits[kind, cell][0])})"
            for cell in CELLS
            if (kind, cell) in table
            for mean, least, count in [table[kind, cell]]
        ]
        if entries:
            lines.append(f"{kind:<18}" + "   ".join(entries))
    return lines


def _at_peak(mean: float) -> str:
    return "" if math.isnan(mean) else f"; {mean:.2f}"


def _behind(rows: list[Row], peer: str, limit: float) -> list[str]:
    """The points whose ratio is below the limit, worst first."""
    behind = sorted((r for r in rows if r.ratio(peer) < limit), key=lambda row: row.ratio(peer))
    margin = "" if limit == 1 else f" by more than {1 - limit:.0%}"
    lines = [f"points behind {peer}{margin}: {len(behind)} of {len(rows)}"]
    for row in behind:
        name = f"  {row.best_peer}" if peer == BEST else ""
        lines.append(f"  {row.ratio(peer):.2f}  {row.point.id}{name}")
    return lines


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


def _cell(ratios: list[float]) -> str:
    """Geometric mean of the ratios (the smallest); of a single one itself."""
    if not ratios:
        return "-"
    if len(ratios) == 1:
        return f"{ratios[0]:.2f}"
    return f"{geometric_mean(ratios):.2f} ({min(ratios):.2f})"


def _table_row(title: str, rows: list[Row], peer: str) -> str:
    places = [(training, cell) for training in (False, True) for cell in COLUMNS]
    cells = [
        _cell([r.ratio(peer) for r in rows if (r.point.training, r.point.cell) == place])
        for place in places
    ]
    return f"| {title} | {' | '.join(cells)} |"


def _groups(rows: list[Row], *, by_shape: bool) -> dict[str, list[Row]]:
    """What each line of the table is a mean over, by its title."""
    layers = [row for row in rows if row.point.family == "layer"]
    if by_shape:
        shapes = dict.fromkeys(row.point.shape for row in layers)
        return {
            " x ".join(map(str, shape)): [row for row in layers if row.point.shape == shape]
            for shape in shapes
        }
    packed = [row for row in rows if row.point.family == "packed"]
    return {
        "whole layer": [
            row for row in layers if not row.point.odd and row.point.shape not in LENGTH_SHAPES
        ],
        "whole layer, odd shapes": [row for row in layers if row.point.odd],
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


def _variant(report: Report) -> str:
    """What sets its rows apart from others of the same points."""
    values = report.environment
    dtype, threads = values.get("dtype", "float32"), values["threads"]
    names = {
        "prepacked": values.get("prepacked", False),
        dtype: dtype != "float32",
        f"{threads} threads": threads != 1,
    }
    return "".join(f", {name}" for name, there in names.items() if there)


def table(*reports: Report, by_shape: bool = False) -> str:
    """Markdown: torch's time over ours; a row a kind, or a row a shape of the whole layers.

    Where others took part, a second row is over the best of all.
    """
    heads = [f"{mode} {cell.upper()}" for mode in ("inference", "training") for cell in COLUMNS]
    first = "batch x steps x hidden" if by_shape else "geometric mean (smallest)"
    lines = [f"| {first} | {' | '.join(heads)} |", "|:--|" + "--:|" * len(heads)]
    for suffix in sorted({_variant(report) for report in reports}):
        rows = [row for report in reports if _variant(report) == suffix for row in report.rows]
        for title, members in _groups(rows, by_shape=by_shape).items():
            if members:
                lines.append(_table_row(title + suffix, members, TORCH))
            if contested := [row for row in members if row.contested]:
                lines.append(_table_row(f"{title}{suffix}, over the {BEST}", contested, BEST))
    every = [row for report in reports for row in report.rows]
    peers = dict.fromkeys(name for row in every for name in row.seconds if name != OURS)
    best = f", or of the {BEST} (the fastest of {', '.join(peers)})," if len(peers) > 1 else ""
    captions = dict.fromkeys(
        caption({**report.environment, "prepacked": False}) for report in reports
    )
    return "\n".join(
        [
            *lines,
            "",
            f"Time of torch.nn{best} over ours (above 1: ours is faster); {'; '.join(captions)}.",
        ]
    )
