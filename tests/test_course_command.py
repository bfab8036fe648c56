"""`python -m fused_rnn course`: lists the chapters, runs one, and stops as a reader expects."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import examples
import fused_rnn
from fused_rnn import course
from fused_rnn.__main__ import main

# A chapter that says what it was given, or waits with a process of its own until it is stopped.
SCRIPT = '''"""A chapter for tests."""
import subprocess, sys, time
if "wait" in sys.argv:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print(child.pid, flush=True)
    time.sleep(60)
print(sys.argv[1:], flush=True)
sys.exit(7)
'''


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def install(root: Path, place: str) -> Path:
    """Lays this package out under `root`, with SCRIPT as its chapters in the folder `place`."""
    scripts = root / place
    scripts.mkdir(parents=True)
    package = root / "fused_rnn"
    package.mkdir(exist_ok=True)
    for folder in fused_rnn.__path__:  # in a checkout the library is in another
        for path in Path(folder).iterdir():
            if path.name not in ("examples", "__pycache__") and not (package / path.name).exists():
                (package / path.name).symlink_to(path)
    for name in course.CHAPTERS:
        (scripts / f"{name}.py").write_text(SCRIPT)
    return root


def listen() -> None:
    """Heeds the signals that a suite in the background may have been started to ignore."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def start(root: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "fused_rnn", "course", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=root.parent,
        env=os.environ | {"PYTHONPATH": str(root)},
        start_new_session=True,
        preexec_fn=listen,
    )


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    """Writes the script of the first chapter, beside modules of its own; returns its name."""

    def write(script, **modules):
        (tmp_path / "common").mkdir()
        (tmp_path / "common" / "__init__.py").touch()
        for name, text in modules.items():
            (tmp_path / "common" / f"{name}.py").write_text(text)
        (tmp_path / f"{course.CHAPTERS[0]}.py").write_text(script)
        monkeypatch.setattr(course, "folder", lambda: tmp_path)
        return course.CHAPTERS[0]

    return write


def test_lists_the_chapters_with_their_summaries(capsys):
    assert main(["course"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for line, name in zip(lines, course.CHAPTERS, strict=False):
        first, _, summary = line.partition(" ")
        assert first == name and len(summary.strip()) > 20 and summary.endswith("."), line
    assert "python -m fused_rnn course gradients" in lines[-2]


@pytest.mark.slow
@pytest.mark.parametrize("name", course.CHAPTERS)
def test_help_of_a_chapter(name, tmp_path):
    examples.needs()
    process = subprocess.run(
        [sys.executable, course.folder() / f"{name}.py", "--help"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"COLUMNS": "100", "TERM": "dumb"},
    )
    assert process.returncode == 0, process.stderr
    for option in ("--seed", "--quick", "--out"):
        assert option in process.stdout
    assert list(tmp_path.iterdir()) == []


def test_guide_lists_the_chapters_in_order():
    guide = (examples.FOLDER / "README.md").read_text()
    listed = [line.split("`")[1] for line in guide.splitlines() if line.startswith("| `")]
    assert listed[: len(course.CHAPTERS)] == [f"{name}.py" for name in course.CHAPTERS]


@pytest.mark.parametrize("place", ["fused_rnn/examples", "examples"])
def test_passes_options_and_status(place, tmp_path):
    process = start(install(tmp_path / "site", place), "stream", "--quick", "--seed=3")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (7, "['--quick', '--seed=3']\n", "")


@pytest.mark.parametrize("status", [0, 2])
def test_status(status, chapter):
    assert main(["course", chapter(f"raise SystemExit({status})")]) == status


def test_status_of_a_script_that_a_signal_ended(chapter):
    name = chapter("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)")
    assert main(["course", name]) == 128 + signal.SIGSEGV


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_chapter_and_its_processes_without_a_traceback(number, tmp_path):
    process = start(install(tmp_path / "site", "examples"), "distributed", "wait")
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    child = int(line)
    process.send_signal(number)  # SIGINT is what the terminal sends at Ctrl-C
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (128 + number, "", "")
    for _ in range(100):
        if not is_running(child):
            return
        time.sleep(0.1)
    pytest.fail("the chapter's own process still runs")


def is_running(process: int) -> bool:
    """A process that has ended may stay as a zombie until something collects it."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_unknown_chapter(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["course", "sequence"])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1
    assert "'sequence'" in error and "seq2seq" in error.split("choose from")[1]


@pytest.mark.parametrize(
    ("script", "modules", "missing"),
    [
        ("import no_such_package.part", {}, "no_such_package"),
        ("def main():\n    from no_such_package import a, b", {}, "no_such_package"),
        ("from common import a", {"a": "import missing_2, missing_1"}, "missing_1, missing_2"),
    ],
)
def test_packages_that_are_not_installed(script, modules, missing, chapter, capsys):
    name = chapter(script, **modules)
    with pytest.raises(SystemExit) as stop:
        main(["course", name])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1
    assert f"{name} needs {missing}, not installed here: pip install '" in error
    assert "[examples]'" in error


def test_modules_that_a_chapter_does_not_import_are_not_needed(chapter):
    name = chapter("from common import report", report="import json", other="import no_such")
    assert main(["course", name]) == 0
