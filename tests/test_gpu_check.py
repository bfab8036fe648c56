"""scripts/gpu_check.sh without a GPU: how it refuses, and its report with a stub for Python."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "scripts" / "gpu_check.sh"
# The Python of a box with a GPU, where the tests marked gpu fail and the published shape hangs.
PYTHON = """#!/bin/sh
case "$*" in
-) ;;
"-m pytest -m gpu "*) echo "1 failed"; exit 1 ;;
*--help) echo "--device --shape" ;;
*--shape*) sleep 60 ;;
*) echo "$@" ;;
esac
"""
SANITIZER = '#!/bin/sh\ncase "$2" in initcheck) exit 3 ;; *) echo "$@" ;; esac\n'


def run(report: Path, python: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "PYTHON": python, **environment}
    command = ["bash", str(SCRIPT), str(report)]
    return subprocess.run(command, env=variables, capture_output=True, text=True)


def make_script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so_in_one_sentence(tmp_path: Path) -> None:
    process = run(tmp_path / "report", sys.executable)
    assert process.returncode == 2
    assert process.stdout == ""
    assert process.stderr.startswith("gpu_check.sh needs a GPU, but torch ")
    assert process.stderr.endswith(".\n") and process.stderr.count("\n") == 1
    assert not (tmp_path / "report").exists()


def test_every_step_runs_and_is_reported(tmp_path: Path) -> None:
    report = tmp_path / "report"
    make_script(tmp_path / "python", PYTHON)
    make_script(tmp_path / "compute-sanitizer", SANITIZER)
    path = f"{tmp_path}:{os.environ['PATH']}"
    process = run(report, str(tmp_path / "python"), PATH=path, STEP_SECONDS="3")
    lines = report.joinpath("summary.md").read_text().splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    results = {row[0]: row[1] for row in rows[1:]}
    results.pop("nvidia-smi")
    assert results == {
        "build": "passed",
        "environment": "passed",
        "tests-gpu": "FAILED: status 1",
        "tests-rest": "passed",
        "sanitizer-memcheck": "passed",
        "sanitizer-racecheck": "passed",
        "sanitizer-synccheck": "passed",
        "sanitizer-initcheck": "FAILED: status 3",
        "benchmarks": "passed",
        "benchmarks-published": "FAILED: not done after 3 s",
    }
    assert all(row[2].isdigit() for row in rows[1:])
    assert process.returncode == 1
    assert lines[-1] == f"A step failed; its log is in {report}."
    assert report.joinpath("tests-gpu.log").read_text() == "1 failed\n"
    memcheck = report.joinpath("sanitizer-memcheck.log").read_text()
    assert "--tool memcheck --error-exitcode 1 --kernel-name kns=fused_rnn" in memcheck
    assert "-m gpu -k sanitizer" in memcheck
