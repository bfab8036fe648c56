"""The picture of a report: heat maps of the ratios, and GF/s against the size of the work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from .grid import CELLS, KINDS
from .results import OURS, TORCH, Report, caption

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
    """Rows are cells, columns shapes; each field says torch's time over ours."""
    rows = [row for row in report.rows if row.point.kind == kind]
    shapes = list(dict.fromkeys(row.point.shape for row in rows))
    ratios = np.full((len(CELLS), len(shapes)), np.nan)
    for row in rows:
        ratios[CELLS.index(row.point.cell), shapes.index(row.point.shape)] = row.ratio()
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
    axes.set_title(TITLES[kind], loc="left", size=11, weight="bold", color=INK)
    return image


def _rates(axes: Any, report: Report, kind: str) -> None:
    """GF/s of ours (filled) and torch.nn (open), joined, against the work of a call."""
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
    axes.set_ylim(bottom=0)
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
        axes.legend(handles, labels, frameon=False, fontsize=8, loc="upper left")


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
        bar.set_label("torch.nn's time / ours   (blue: ours is faster)", size=9)
        bar.outline.set_visible(False)
    title = "fused_rnn against torch.nn\n" + caption(report.environment)
    figure.suptitle(title, size=12, color=INK)
    figure.savefig(path, dpi=130)
