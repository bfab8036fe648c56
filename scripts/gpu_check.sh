#!/usr/bin/env bash
# Checks fused_rnn on a GPU: builds the kernels for it, runs all tests, then the tests marked gpu under
# compute-sanitizer, then the benchmarks against cuDNN. usage: scripts/gpu_check.sh [report folder]
# It needs nvcc and a GPU, and in the Python that PYTHON names (python3): torch with CUDA, setuptools,
# ninja and the test extra. It installs nothing: the build stays in this checkout.
# Every step runs, whatever failed before it; STEP_SECONDS (1800) ends one that hangs. The folder (of
# the date) gets a log a step, JSON and summary.md. Status: 0, 1 if a step failed, 2 without a GPU.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
limit=${STEP_SECONDS:-1800}

problem=$("$python" - <<'END' || echo "${python} does not run"
try:
    import torch
except ImportError:
    print("its Python has no torch")
else:
    if torch.version.cuda is None:
        print(f"torch {torch.__version__} is built without CUDA")
    elif not torch.cuda.is_available():
        print("torch sees no GPU")
END
)
if [[ -n $problem ]]; then
  echo "gpu_check.sh needs a GPU, but $problem." >&2
  exit 2
fi

report=${1:-gpu-report-$(date +%Y-%m-%d-%H%M%S)}
mkdir -p "$report"
report=$(cd "$report" && pwd)
summary=$report/summary.md
failed=0

# The checkout is what is imported, from any folder; its egg-info says its version.
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
unset FUSED_RNN_CUDA

row() { # name, result, seconds
  printf '| %s | %s | %s |\n' "$@" | tee -a "$summary"
}

# Runs a command with its output in NAME.log, and adds its row to the summary.
step() { # name, command...
  local name=$1 started=$SECONDS status=0
  shift
  timeout --kill-after=60 "$limit" "$@" >"$report/$name.log" 2>&1 || status=$?
  case $status in
    0) row "$name" passed $((SECONDS - started)) ;;
    124 | 137) row "$name" "FAILED: not done after $limit s" $((SECONDS - started)) ;;
    *) row "$name" "FAILED: status $status" $((SECONDS - started)) ;;
  esac
  if ((status)); then
    failed=1
    tail -n 15 "$report/$name.log" | sed 's/^/    /'
  fi
}

build() {
  "$python" setup.py egg_info build_ext --inplace
  "$python" -c 'import sys
from fused_rnn._C import build_info
if not build_info()["cuda"]:
    sys.exit("The CUDA kernels were not built, because " + build_info()["cuda_reason"] + ".")'
}

# Whether `python -m benchmarks` has this option.
benchmarks_have() { # option
  "$python" -m benchmarks run --help 2>/dev/null | grep -q -e "$1"
}

sanitizer() { # tool
  # Without the cache every tensor is an allocation of its own, so that its bounds are known. The
  # tools follow our kernels alone, but for initcheck, which must see who wrote what they read.
  local options=(--tool "$1" --error-exitcode 1)
  [[ $1 == initcheck ]] || options+=(--kernel-name kns=fused_rnn)
  PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer "${options[@]}" \
    "$python" -m pytest -p no:cacheprovider -m gpu -k sanitizer
}

export -f build sanitizer
export python

{
  printf '# GPU check of fused_rnn, %s\n\n' "$(date -u '+%Y-%m-%d %H:%M UTC')"
  "$python" -c 'import torch
gpu = torch.cuda.get_device_properties(0)
print(f"{gpu.name}, compute capability {gpu.major}.{gpu.minor}, torch {torch.__version__}\n")'
  printf '| step | result | seconds |\n|:--|:--|--:|\n'
} | tee "$summary"

if command -v nvidia-smi >/dev/null; then
  step nvidia-smi nvidia-smi
else
  row nvidia-smi "skipped: not on PATH" 0
fi
step build bash -euo pipefail -c build
step environment "$python" -m fused_rnn
step tests-gpu "$python" -m pytest -m gpu --junitxml="$report/tests-gpu.xml"
step tests-rest "$python" -m pytest -m 'not gpu' --junitxml="$report/tests-rest.xml"

for tool in memcheck racecheck synccheck initcheck; do
  if command -v compute-sanitizer >/dev/null; then
    step "sanitizer-$tool" bash -euo pipefail -c "sanitizer $tool"
  else
    row "sanitizer-$tool" "skipped: compute-sanitizer is not on PATH" 0
  fi
done

if benchmarks_have --device; then
  step benchmarks "$python" -m benchmarks run --device cuda --json "$report/benchmarks.json"
else
  row benchmarks "skipped: python -m benchmarks has no --device" 0
fi
# The shape that haste and FlashRNN publish: batch, steps, hidden.
if benchmarks_have --device && benchmarks_have --shape; then
  step benchmarks-published "$python" -m benchmarks run --device cuda --shape 16 1024 768 \
    --json "$report/benchmarks-published.json"
else
  row benchmarks-published "skipped: python -m benchmarks has no --device and --shape" 0
fi

echo
if ((failed)); then
  echo "A step failed; its log is in $report." | tee -a "$summary"
else
  echo "No step failed; the report is in $report." | tee -a "$summary"
fi
exit "$failed"
