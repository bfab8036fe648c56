"""`python -m fused_rnn course`: the chapters of the course, each a script of `examples/`."""

import ast
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CHAPTERS = (
    "gradients",
    "forecast",
    "seq2seq",
    "text",
    "reproduce",
    "stream",
    "distributed",
    "per_sample_gradients",
    "meta_learning",
    "ensemble",
    "onnx_forecast",
)


def folder() -> Path:
    """Where the scripts lie: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / "examples"
    return installed if installed.is_dir() else package.parent / "examples"


def contents() -> str:
    """A line a chapter: its name and the first line of its script."""
    width = max(map(len, CHAPTERS))
    return "\n".join(f"{name:{width}}  {_summary(name)}" for name in CHAPTERS)


def run(chapter: str, options: Sequence[str]) -> int:
    """Runs a chapter's script with its own options; returns its exit status."""
    return subprocess.run([sys.executable, folder() / f"{chapter}.py", *options]).returncode


def _summary(chapter: str) -> str:
    script = ast.parse((folder() / f"{chapter}.py").read_text())
    return (ast.get_docstring(script) or "").partition("\n")[0]
