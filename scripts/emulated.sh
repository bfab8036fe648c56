#!/usr/bin/env bash
# Runs tests/test_schedules.py, of the CUDA kernels, with the emulator built in one of its modes:
# plain, asan or race.
# usage: scripts/emulated.sh MODE [more pytest arguments]
# It needs g++, and torch, ninja and the test extra in the Python that PYTHON names (python3).
set -euo pipefail
cd "$(dirname "$0")/.."

export FUSED_RNN_EMULATED=${1:?usage: scripts/emulated.sh plain|asan|race [more pytest arguments]}
shift
python=${PYTHON:-python3}

if [[ $FUSED_RNN_EMULATED == asan ]]; then
  # Python itself is not compiled for it, so the runtimes come first (scripts/sanitize.sh).
  for library in libasan.so libubsan.so libstdc++.so.6; do
    LD_PRELOAD=${LD_PRELOAD:+$LD_PRELOAD:}$(realpath "$(gcc -print-file-name=$library)")
  done
  export LD_PRELOAD ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
fi
"$python" -m pytest -p no:cacheprovider --capture=sys tests/test_schedules.py "$@"
