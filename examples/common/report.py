"""What every example leaves behind: a table on the screen, a picture, and its numbers as JSON.

`docs/course` shows NAME.png and quotes NAME.json, so that no figure on a page was typed by hand.
"""

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from matplotlib.figure import Figure

import fused_rnn

# The options that all examples have.
Seed = Annotated[int, typer.Option(help="Of Python's, NumPy's and PyTorch's random numbers.")]
Quick = Annotated[bool, typer.Option("--quick", help="A small run of half a minute at most.")]
Out = Annotated[Path, typer.Option(help="Folder for the picture and the numbers.")]

HERE = Path()

Row = Mapping[str, str | float]


def save(
    name: str,
    out: Path,
    figure: Figure,
    rows: Sequence[Row],
    numbers: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> None:
    """Prints `rows` as a table, and writes NAME.png and NAME.json to the folder `out`.

    `rows` are the results beside their baselines, all with the same columns. `numbers` are what a
    page quotes and a test asserts; `settings` are the options of the run, its seed among them.
    """
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / f"{name}.png")
    result = {
        "example": name,
        "settings": {key: str(value) for key, value in settings.items()},
        "versions": {
            "fused_rnn": fused_rnn.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "rows": [dict(row) for row in rows],
        "numbers": dict(numbers),
    }
    (out / f"{name}.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    print(table(rows))
    print(f"Saved {out / name}.png and .json")


def table(rows: Sequence[Row]) -> str:
    """The rows in aligned columns."""
    lines = [list(rows[0]), *([_text(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
