"""The pictures of a report: heat maps of the ratios and GF/s against the size of the work; or the
time of packed training against the length of the sequences."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from .grid import CELLS, KINDS, lengths
from .results import BEST, OURS, TORCH, Report, Row, caption

TITLES = {
    "inference": "Layer, inference",
    "training": "Layer, training (forward + backward)",
    "packed-inference": "Packed, inference",
    "packed-training": "Packed, training",
    "cell-inference": "One cell step, inference",
    "cell-training": "One cell step, forward + backward",
}
COLORS = {"rnn": "#0072b2", "lstm": "#d55e00", "gru": "#009e73"}  # told apart by the colour-blind
RATIO_MAP = "RdBu"  # red: torch is faster, white: equal, blue: ours is faster
RATIO_LIMIT = 8.0  # the map saturates at this ratio and its inverse
INK = "#222222"


def _heat_map(axes: Any, report: Report, kind: str) -> Any:
    """Rows are cells, columns shapes; each field says the best peer's time over ours."""
    rows = [row for row in report.rows if row.point.kind == kind]
    shapes = list(dict.fromkeys(row.point.shape for row in rows))
    ratios = np.full((len(CELLS), len(shapes)), np.nan)
    for row in rows:
        ratios[CELLS.index(row.point.cell), shapes.index(row.point.shape)] = row.ratio(BEST)
    norm = LogNorm(1 / RATIO_LIMIT, RATIO_LIMIT)
    colors = matplotlib.colormaps[RATIO_MAP].with_extremes(bad="#eeeeee")
    image = axes.imshow(ratios, cmap=colors, norm=norm, aspect="auto")
    for (y, x), ratio in np.ndenumerate(ratios):
        if np.isfinite(ratio):
            dark = abs(np.log(ratio)) > 0.62 * np.log(RATIO_LIMIT)
            text = f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2f}"
            axes.text(x, y, text, ha="center", va="center", size=9, color="w" if dark else INK)
    names = [f"{b}\n{t}\n{h}" if "cell" not in kind else f"{b}\n{h}" for b, t, h in shapes]
    axes.set_xticks(range(len(shapes)), names, size=8)
    axes.set_yticks(range(len(CELLS)), [cell.upper() for cell in CELLS], size=9)
    axes.annotate(
        "B\nT\nH" if "cell" not in kind else "B\nH",
        (0, 0),
        (-7, -3.5),  # as far below the axes as the tick labels are
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="top",
        size=8,
        color="#888888",
    )
    axes.set_xticks(np.arange(len(shapes) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(CELLS) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    title = TITLES[kind] + (f", over the {BEST}" if any(row.contested for row in rows) else "")
    axes.set_title(title, loc="left", size=11, weight="bold", color=INK)
    return image


def _rates(axes: Any, report: Report, kind: str) -> None:
    """GF/s of ours (filled) and torch.nn (open), joined, against the work of a call.

    A dashed line is what the threads could reach.
    """
    peaks = [row.peak for row in report.rows if row.peak and row.point.kind == kind]
    if peaks:
        threads = report.environment["threads"]
        peak = threads * statistics.median(peaks)
        axes.axhline(peak, color="#888888", linewidth=1, linestyle="--")
        axes.annotate(
            f"peak of {threads} thread{'s' if threads > 1 else ''}: {peak:.0f}",
            (1, peak),
            (0, 3),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            size=8,
            color="#666666",
        )
    for cell in CELLS:
        rows = report.of(kind, cell)
        if not rows:
            continue
        size = [row.point.flops / 1e9 for row in rows]
        ours = [row.gflops(OURS) for row in rows]
        theirs = [row.gflops(TORCH) for row in rows]
        color = COLORS[cell]
        axes.vlines(size, theirs, ours, color=color, linewidth=1, alpha=0.5)
        axes.scatter(size, theirs, s=26, facecolors="white", edgecolors=color, zorder=3)
        axes.scatter(size, ours, s=30, color=color, zorder=4, label=f"{cell.upper()}")
    axes.set_xscale("log")
    axes.set_ylim(0, 1.12 * axes.get_ylim()[1])  # room for the legend
    axes.set_xlabel("GFLOP a call", size=9)
    axes.set_ylabel("GF/s", size=9)
    axes.tick_params(labelsize=8)
    axes.grid(color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{TITLES[kind]}: GF/s", loc="left", size=11, weight="bold", color=INK)
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        for name, face in (("ours", "#555555"), ("torch.nn", "white")):
            handles.append(axes.scatter([], [], s=30, facecolors=face, edgecolors="#555555"))
            labels.append(name)
        axes.legend(handles, labels, frameon=False, fontsize=8, loc="upper left", ncols=5)


def draw(report: Report, path: Path) -> None:
    """Write the picture; the format follows the file's ending."""
    measured = {row.point.kind for row in report.rows}
    pairs = [KINDS[i : i + 2] for i in range(0, len(KINDS), 2)]  # inference beside training
    bands = [pair for pair in pairs if measured & set(pair)]
    rated = bool(measured & {"inference", "training"})
    heights = [1.0] * len(bands) + [2.2] * rated
    figure = Figure(figsize=(15, 1.6 + 2.1 * sum(heights)), layout="constrained")
    grid = figure.add_gridspec(len(heights), 2, height_ratios=heights)
    maps, image = [], None
    for y, band in enumerate(bands):
        for x, kind in enumerate(band):
            if kind not in measured:
                continue
            maps.append(figure.add_subplot(grid[y, x]))
            image = _heat_map(maps[-1], report, kind)
    for x, kind in enumerate(KINDS[:2] if rated else ()):
        _rates(figure.add_subplot(grid[len(bands), x]), report, kind)
    if image is not None:
        ticks = [1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8]
        bar = figure.colorbar(image, ax=maps, extend="both", fraction=0.03, pad=0.012, aspect=40)
        bar.set_ticks(ticks, labels=["1/8", "1/4", "1/2", "1", "2", "4", "8"])
        bar.minorticks_off()
        contested = any(row.contested for row in report.rows)
        rival = f"{BEST}'s" if contested else "torch.nn's"
        bar.set_label(f"{rival} time / ours   (blue: ours is faster)", size=9)
        bar.outline.set_visible(False)
    peers = ", ".join(name for name in report.contestants if name != OURS)
    title = f"fused_rnn against {peers}\n{caption(report.environment)}"
    figure.suptitle(title, size=12, color=INK)
    figure.savefig(path, dpi=130)


# The work, who does it, and how it is drawn, in the order of the legend.
LENGTH_LINES = (
    ("packed", TORCH, "torch.nn, packed", {"color": "#d55e00", "marker": "o", "mfc": "white"}),
    ("layer", TORCH, "torch.nn, padded to T", {"color": "#888888", "marker": "s", "mfc": "white"}),
    ("packed", OURS, "fused_rnn, packed", {"color": "#0072b2", "marker": "o"}),
)


def draw_lengths(report: Report, path: Path) -> None:
    """A panel a cell: the time of a training step against the longest sequence, both in logarithms.

    Raises:
        ValueError: where the report has no such points.
    """
    rows = [row for row in report.rows if row.point in lengths()]
    cells = [cell for cell in ("lstm", "gru", "rnn") if any(row.point.cell == cell for row in rows)]
    if not cells:
        raise ValueError("the report has no points of `run --lengths`")
    figure = Figure(figsize=(4 * len(cells), 3.9), layout="constrained")
    panels = figure.subplots(1, len(cells), sharey=True, squeeze=False)[0]
    for axes, cell in zip(panels, cells, strict=True):
        _times(axes, [row for row in rows if row.point.cell == cell])
        axes.set_title(cell.upper(), loc="left", size=11, weight="bold", color=INK)
    panels[0].set_ylabel("forward + backward, ms", size=9)
    panels[0].legend(frameon=False, fontsize=8, loc="upper left")
    batch, _, hidden = rows[0].point.shape
    title = f"Training over {batch} sequences of T/5 to T steps, {hidden} units"
    figure.suptitle(f"{title}\n{caption(report.environment)}", size=10, color=INK)
    figure.savefig(path, dpi=130)


def _times(axes: Any, rows: list[Row]) -> None:
    for family, name, label, style in LENGTH_LINES:
        members = [row for row in rows if row.point.family == family]
        times = [1e3 * row.seconds[name] for row in members]
        axes.plot([row.point.steps for row in members], times, label=label, ms=5, **style)
    steps = list(dict.fromkeys(row.point.steps for row in rows))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(steps, steps)
    axes.minorticks_off()
    axes.yaxis.set_major_formatter("{x:g}")
    axes.tick_params(labelsize=8)
    axes.grid(color="#e6e6e6", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("longest sequence T, steps", size=9)
