#!/usr/bin/env bash
# Remakes the pictures and the numbers of the course in docs/course/results, by full runs of its
# scripts: scripts/course.sh [CHAPTER...], all without a name. It takes up to two minutes a chapter.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
[[ $# -gt 0 ]] || set -- $("$python" -c 'from fused_rnn.course import CHAPTERS; print(*CHAPTERS)')
for chapter; do
  [[ -f examples/$chapter.py ]] || { echo "course.sh: no chapter $chapter" >&2; exit 2; }
done
for chapter; do
  started=$SECONDS
  printf '\n=== %s ===\n' "$chapter"
  "$python" "examples/$chapter.py" --out docs/course/results
  echo "$((SECONDS - started)) s"
done
