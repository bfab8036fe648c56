"""How the examples' pictures look."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

INK, OURS, PALE = "#1f2933", "#d1495b", "#9aa5b1"
COLOURS = ("#d1495b", "#2e6f95", "#edae49", "#66a182", "#775b9c", "#8d6b48")


def new_figure(width: float = 10, height: float = 5) -> Figure:
    """An empty figure; sizes in inches."""
    return Figure((width, height), dpi=120, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))


def tidy(axes: Axes, title: str, x: str, y: str) -> None:
    """Titles and labels, and no lines that say nothing."""
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)
    axes.tick_params(labelsize=8, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
