#!/usr/bin/env python3
"""What of PyTorch's derivatives and transforms works on torch.nn's layers and on ours.

Runs every row of scripts/capabilities on both and writes docs/transforms.md. --check runs ours
alone, without the rows that wait for a C++ compiler unless --slow, and fails where that is worse
than the page says.
"""

import argparse
import platform
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch
from capabilities import GROUPS, ROWS, Row
from torch import nn

import fused_rnn

PAGE = Path(__file__).resolve().parents[1] / "docs" / "transforms.md"

Verdicts = dict[tuple[str, torch.dtype], str]

OPENING = """\
# Derivatives and transforms

Made by `scripts/transforms.py`; do not edit. Each cell is what came of running the row on a CPU:
RNN (tanh), LSTM and GRU, two layers in both directions, in float64 and in float32, or in the one of
them that the row is for. "yes" means that every output, state and derivative that the row asks for
agrees with `fused_rnn/reference.py`, a loop of PyTorch's own operators differentiated by reverse
mode in float64, to two thirds of the dtype's digits. "wrong numbers" means that it ran and they do
not; an error is quoted by its first words. Nothing here says how fast it is: the sizes are tiny.
"""

CLOSING = """\
## What to know

- **First order** is the hand-written kernels', forward and backward. `torch.func.grad` and `vjp`,
  checkpoints, hooks and compiled code run the same kernels.
- **Forward mode** is not: where an argument has a tangent, the recurrence runs unrolled, step by
  step, through ATen's operators, in the time and the memory of a loop in PyTorch. `jvp`, `jacfwd`,
  `linearize` and `hessian` are forward mode.
- **Double backward** has a kernel of its own on the CPU, which reads what
  forward left; elsewhere, and for the **third order**, the recurrence runs unrolled.
- **vmap** over data is one call of the kernels. Over weights, or for the weights' gradients of each
  sample, it is one call a sample.
- **torch.nn's LSTM in float32** is one operator of oneDNN on a CPU, without forward mode. In
  float64, and for RNN and GRU, torch.nn is made of operators that have every derivative.
- **torch.compile** refuses torch.nn's layers unless `torch._dynamo.config.allow_rnn` is set. Ours
  are one operator in the graph for each layer and direction, whatever the number of steps.
- **Dynamic sizes**: where two sizes are equal when PyTorch traces, it takes them for one. Trace
  with a batch that is not the number of features.
- **Autocast** on a CPU leaves torch.nn's GRU in float32; its numbers are right.
- **Packed sequences** compile to one graph with `torch._dynamo.config.capture_scalar_outputs` only
  (`tests/test_compile.py`).
- **`torch.jit.trace`** records the op that keeps what backward needs, asked for or not, so a traced
  layer takes more memory than an eager one in inference. It is legacy: export instead.
- `torch.jit.script` fails on ours. Nothing on this page ran on a GPU.
"""


def _names(some: Sequence[tuple[str, torch.dtype]], every: Verdicts) -> str:
    """Cells, and dtypes where a cell's other dtype is not meant."""
    names = []
    for cell in dict.fromkeys(cell for cell, _ in every):
        dtypes = [dtype for c, dtype in some if c == cell]
        if dtypes:
            whole = len(dtypes) == sum(c == cell for c, _ in every)
            names.append(cell if whole else f"{cell} in {str(dtypes[0]).removeprefix('torch.')}")
    return ", ".join(names)


def told(verdicts: Verdicts) -> str:
    """A cell of the table; errors that start alike are one."""
    alike: dict[str, list[tuple[str, torch.dtype]]] = {}
    for pair, verdict in verdicts.items():
        alike.setdefault(" ".join(verdict.split()[:4]), []).append(pair)
    good = alike.pop("yes", [])
    if not alike:
        return "yes"
    texts = []
    for pairs in alike.values():
        text = verdicts[pairs[0]].replace("|", "\\|").replace("`", "'")
        text = text if text == "wrong numbers" else f"`{text}`"
        texts.append(text if len(pairs) == len(verdicts) else f"{_names(pairs, verdicts)}: {text}")
    return ("yes, but " if good else "") + "; ".join(texts)


def line(row: Row, results: Sequence[str]) -> str:
    return f"| **{row.title}**: {row.text} | {' | '.join(results)} |"


def page(results: Mapping[str, Sequence[str]]) -> Iterator[str]:
    yield OPENING
    yield f"{date.today()}, torch {torch.__version__}, fused_rnn {fused_rnn.__version__}, Python"
    yield f"{platform.python_version()}, {platform.machine()}."
    for group in GROUPS:
        yield f"\n| {group} | torch.nn | fused_rnn |"
        yield "|:--|:--|:--|"
        yield from (line(row, results[row.title]) for row in ROWS if row.group == group)
    yield "\n" + CLOSING.rstrip()


def said(text: str) -> dict[str, str]:
    """What a page says of ours, by the titles of the rows."""
    return {m[1]: m[2] for m in re.finditer(r"^\| \*\*(.+?)\*\*: .* \| (.+?) \|$", text, re.M)}


def lost(text: str, rows: Sequence[Row], library: Any = fused_rnn) -> dict[str, str]:
    """The rows that work less than a page says, and what came of them."""
    of_page = {title: words for title, words in said(text).items() if words.startswith("yes")}
    found = {row.title: told(row.verdicts(library)) for row in rows if row.title in of_page}
    return {title: now for title, now in found.items() if now not in ("yes", of_page[title])}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="ours alone, against the page")
    parser.add_argument("--slow", action="store_true", help="with --check: every row")
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    torch.set_num_threads(1)  # the sizes are small
    warnings.simplefilter("ignore")  # torch.nn's
    if not arguments.check:
        results = {}
        for row in ROWS:
            results[row.title] = [told(row.verdicts(library)) for library in (nn, fused_rnn)]
            print(line(row, results[row.title]), flush=True)
        PAGE.write_text("\n".join(page(results)) + "\n")
        return 0
    rows = [row for row in ROWS if arguments.slow or not row.slow]
    missing = lost(PAGE.read_text(), rows)
    for title, result in missing.items():
        print(f"{title}: {result}")
    print(f"{len(rows)} rows, {len(missing)} lost")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
