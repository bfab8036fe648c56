"""Runs an example as a reader does, and reads the numbers that it leaves."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "examples"


def needs(*modules: str) -> None:
    """Skips the test module where the extra `[examples]` is not installed."""
    for module in ("typer", "matplotlib", "tqdm", *modules):
        pytest.importorskip(module, reason=f"{module} is not installed: pip install '.[examples]'")


def run(name: str, folder: Path, *options: str) -> dict[str, Any]:
    """What `python examples/NAME.py --quick` wrote to NAME.json: rows, numbers, settings."""
    command = [sys.executable, FOLDER / f"{name}.py", "--quick", f"--out={folder}", *options]
    process = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert process.returncode == 0, process.stderr
    assert (folder / f"{name}.png").stat().st_size > 10_000
    result: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return result
