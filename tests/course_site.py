"""Builds the course's site, and says where it cannot be built."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from fused_rnn.course import CHAPTERS

SOURCE = Path(__file__).parents[1] / "docs" / "course"
LANGUAGES = ("en", "ko")
PAGES = [f"{language}/{name}" for language in LANGUAGES for name in ("index", *CHAPTERS)]


def needs(*modules: str) -> None:
    """Skips the test where the extra `[docs]` is not installed."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            skip(f"{module} is not installed: pip install '.[docs]'")


def skip(reason: str) -> NoReturn:
    """Skips the test, but fails it where FUSED_RNN_REQUIRE_BROWSER is set, as CI sets it."""
    if os.environ.get("FUSED_RNN_REQUIRE_BROWSER"):
        pytest.fail(reason)
    pytest.skip(reason)


def build(source: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """`sphinx-build -W`: a warning is an error, and all of them are listed."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", source, site]
    return subprocess.run(command, capture_output=True, text=True)
