#!/usr/bin/env bash
# Runs tests/test_schedules.py, of the CUDA kernels, with the emulator built in one of its modes:
# plain, asan or race.
# usage: scripts/emulated.sh MODE [more pytest arguments]
# It needs g++, and torch, ninja and the test extra in the Python that PYTHON names (python3).
set -euo pipefail
cd "$(dirname "$0")/.."

mode=${1:?usage: scripts/emulated.sh plain|asan|race [more pytest arguments]}
shift

exec "${PYTHON:-python3}" -c 'import os, sys
sys.path.append("tests")
from emulator import build
pytest = [sys.executable, "-m", "pytest", *sys.argv[2:]]
os.execve(sys.executable, pytest, build.environment(sys.argv[1]))
' "$mode" -p no:cacheprovider --capture=sys tests/test_schedules.py "$@"
