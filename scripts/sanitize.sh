#!/usr/bin/env bash
# Runs tests with fused_rnn._C compiled under AddressSanitizer and UndefinedBehaviorSanitizer (setup.py says
# without which checks).
# usage: scripts/sanitize.sh [pytest arguments]; default: bad inputs, and good ones of odd sizes, ragged
# and reverse, on every instruction set, by two threads where there is work for two; not of rnn_relu,
# which walks the memory that rnn_tanh walks. A quarter of an hour of one core, of which eleven minutes
# compile.
# It needs gcc, and torch, ninja and the test extra in the Python that PYTHON names (python3).
# Any report of a sanitizer ends the process, and so the run, with an error.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
folder=$PWD/build/sanitize

FUSED_RNN_CUDA=0 FUSED_RNN_SANITIZE=address,undefined "$python" setup.py --quiet \
  build --build-base "$folder" --build-lib "$folder/lib"

# Python itself is not compiled for it, so the runtimes come first; AddressSanitizer looks up the
# C++ library's __cxa_throw at start and fails where that library is loaded later.
preload=
for library in libasan.so libubsan.so libstdc++.so.6; do
  preload+="${preload:+:}$(realpath "$(gcc -print-file-name=$library)")"
done

# pytest must not capture stderr itself, or a report would be lost with the process that it ends;
# `python -m pytest` would put this folder, and with it the plain build, before the sanitized one.
scripts=$("$python" -c 'import sysconfig; print(sysconfig.get_path("scripts"))')

# Python frees little at exit: leaks are not what this looks for.
(($#)) || set -- tests/test_errors.py tests/test_errors_of_op.py tests/test_linear.py \
  tests/test_isa.py tests/test_bfloat16.py \
  -k "not opcheck and not lower_precision and not environment and not emulated and not rnn_relu \
    and not is_converted"
export FUSED_RNN_TEST_THREADS=${FUSED_RNN_TEST_THREADS:-2}
export OMP_WAIT_POLICY=passive  # threads that spin would take the cores from those that work
LD_PRELOAD=$preload ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
  PYTHONPATH=$folder/lib "$python" "$scripts/pytest" -p no:cacheprovider --capture=sys "$@"
