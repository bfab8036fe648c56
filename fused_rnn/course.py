"""`python -m fused_rnn course`: the chapters of the course, each a script of `examples/`."""

import ast
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from modulefinder import ModuleFinder
from pathlib import Path
from typing import NoReturn

from .forecast import UserError

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
    """A line a chapter, its name and the first line of its script; and how to run one."""
    width = max(map(len, CHAPTERS))
    lines = [f"{name:{width}}  {_summary(name)}" for name in CHAPTERS]
    lines += ["", f"Run one: python -m fused_rnn course {CHAPTERS[0]}"]
    lines += ["--quick makes it a small run of half a minute at most, --help lists all options."]
    return "\n".join(lines)


def run(chapter: str, options: Sequence[str]) -> int:
    """Runs a chapter's script with its own options; returns its exit status.

    A process of its own, since a script may start others that import it. They are all in one
    session: what ends this process, such as the terminal's Ctrl-C, reaches it alone, and it ends
    them.
    """
    script = folder() / f"{chapter}.py"
    if missing := _missing(script):
        raise UserError(
            f"{chapter} needs {', '.join(missing)}, not installed here: "
            f"pip install '{_project()}[examples]'"
        )
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, _exit)
    process = subprocess.Popen([sys.executable, script, *options], start_new_session=True)
    try:
        status = process.wait()
    except KeyboardInterrupt:
        return 130
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
    return status if status >= 0 else 128 - status  # as a shell states a signal


def _exit(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def _summary(chapter: str) -> str:
    script = ast.parse((folder() / f"{chapter}.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(script) or "").partition("\n")[0]


def _missing(script: Path) -> list[str]:
    """The packages that the script and its own modules import and that are not installed."""
    finder = ModuleFinder([str(script.parent)])
    finder.run_script(str(script))
    packages = {name.partition(".")[0] for name in finder.any_missing()}
    return sorted(name for name in packages if importlib.util.find_spec(name) is None)


def _project() -> str:
    """What pip calls this package: its name where it is installed, the folder in a checkout."""
    here = folder().parent
    return "fused_rnn" if here == Path(__file__).parent else str(here)
