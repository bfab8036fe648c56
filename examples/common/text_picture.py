"""The picture of the chapter on text: a ragged batch, accuracies, attention over characters."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

from .picture import COLOURS, INK, OURS, PALE, new_figure, tidy
from .text import Vocabulary

LONGEST = (8, 12, 20, 40)  # characters of a bin's texts; the last bin has no end
HEAT = LinearSegmentedColormap.from_list("heat", ["#ffffff", OURS])


class Attended(NamedTuple):
    """A text, the weight of each of its characters, its language and the guessed one."""

    text: str
    weights: list[float]
    language: str
    guess: str


def picture(
    batch: Sequence[str],
    vocabulary: Vocabulary,
    right: Mapping[str, Tensor],
    lengths: Tensor,
    attended: Sequence[Attended],
) -> Figure:
    """`right` says of each model which texts it named right, `lengths` their lengths: [count]."""
    figure = new_figure(13, 6)
    grid = figure.add_gridspec(2, 2, width_ratios=(1, 1.9))
    _batch(figure.add_subplot(grid[0, 0]), batch, vocabulary)
    _accuracies(figure.add_subplot(grid[1, 0]), right, lengths)
    _attention(figure.add_subplot(grid[:, 1]), attended)
    return figure


def _batch(axes: Axes, batch: Sequence[str], vocabulary: Vocabulary) -> None:
    """A row a text, longest first; under each column how many texts have it."""
    texts = sorted(batch, key=len, reverse=True)
    sizes = pack_sequence([vocabulary.encode(text) for text in texts]).batch_sizes.tolist()
    for row, text in enumerate(texts):
        for column in range(len(sizes)):
            real = column < len(text)
            axes.text(
                column,
                row,
                text[column] if real else "0",
                ha="center",
                va="center",
                fontsize=9,
                color=INK if real else PALE,
                bbox=None if real else {"boxstyle": "square,pad=0.2", "fc": "#eef0f2", "lw": 0},
            )
    for column, size in enumerate(sizes):
        axes.text(column, len(texts) + 0.3, str(size), ha="center", fontsize=9, color=OURS)
    axes.text(-1, len(texts) + 0.3, "batch_sizes", ha="right", fontsize=9, color=OURS)
    axes.set(xlim=(-0.6, len(sizes) - 0.4), ylim=(len(texts) + 0.6, -0.7))
    title = f"Padded: {len(texts)} x {len(sizes)} cells; packed: {sum(sizes)} rows"
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.axis("off")


def _accuracies(axes: Axes, right: Mapping[str, Tensor], lengths: Tensor) -> None:
    bins = torch.bucketize(lengths, torch.tensor(LONGEST))
    names = [f"{a + 1}-{b}" for a, b in pairwise((2, *LONGEST))] + [f"{LONGEST[-1] + 1}-"]
    for colour, (name, correct) in zip(COLOURS, right.items(), strict=False):
        values = [100 * correct[bins == index].float().mean().item() for index in range(len(names))]
        axes.plot(names, values, "o-", color=colour, label=name, linewidth=1.5, markersize=4)
    tidy(axes, "Accuracy by length, test part", "characters", "%")
    axes.legend(fontsize=8, frameon=False)


def _attention(axes: Axes, attended: Sequence[Attended]) -> None:
    """A row a text; the redder a character, the larger its weight beside the row's largest."""
    for row, (text, weights, _, _) in enumerate(attended):
        largest = max(weights)
        for column, (character, weight) in enumerate(zip(text, weights, strict=True)):
            corner = (column - 0.5, row - 0.42)
            axes.add_patch(Rectangle(corner, 1, 0.84, color=HEAT(0.9 * weight / largest), lw=0))
            axes.text(column, row, character, ha="center", va="center", fontsize=9, color=INK)
    names = [
        a.language if a.guess == a.language else f"{a.language} (said {a.guess})" for a in attended
    ]
    axes.set_yticks(range(len(attended)), names, fontsize=9)
    longest = max(len(text.text) for text in attended)
    axes.set(xlim=(-0.6, longest - 0.4), ylim=(len(attended) - 0.4, -0.6))
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_title("Attention: how much each character gave", loc="left", fontsize=10, color=INK)
