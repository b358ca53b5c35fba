#!/usr/bin/env bash
# Table 1 with ten seeds on a GPU, in calls of nine minutes: call it again, on the same
# machine or another one, until it says that all runs are there.
#
#     bash experiments/gpu/table1.sh DATA OUT [EARLIER]
#
# DATA has MNIST's four IDX files. OUT gets results.csv, table.md, the figures and the log,
# however the call ends; EARLIER is a results.csv that an earlier call brought home, for a
# machine that has not seen the study yet. PYTHON is the interpreter, default python3; with
# CONFIG and SECONDS_A_CALL, a smaller study and shorter calls try this script on a CPU.
set -euo pipefail
if [ $# -lt 2 ] || [ $# -gt 3 ] || [ ! -d "$1" ]; then
  echo "usage: bash $0 DATA OUT [EARLIER]; DATA is the folder of MNIST's files" >&2
  exit 1
fi
data=$(realpath "$1") out=$(realpath -m "$2") earlier=${3:+$(realpath "$3")}
cd "$(dirname "$0")/../.."
work=runs/table1-gpu
python=${PYTHON:-python3}

mkdir -p "$work" "$out"
if [ -n "$earlier" ] && [ ! -e "$work/results.csv" ]; then
  cp "$earlier" "$work/results.csv"
fi
bring_home() {
  find "$work" -maxdepth 1 -type f \( -name 'results.csv' -o -name 'table.md' \
    -o -name 'environment.json' -o -name 'log.txt' -o -name '*.png' \) \
    -exec cp -t "$out" {} +
}
trap bring_home EXIT
export JAX_COMPILATION_CACHE_DIR=$PWD/runs/compiled
common=(--config "${CONFIG:-configs/mtl/table1.py}" --workdir "$work"
  --config.data.path="$data")
status=0
timeout "${SECONDS_A_CALL:-520}" "$python" -u -m mtl.study "${common[@]}" \
  2>&1 | tee -a "$work/log.txt" || status=$?
if [ "$status" = 124 ] && [ -s "$work/results.csv" ]; then
  "$python" -m mtl.study "${common[@]}" --report | tee -a "$work/log.txt" | tail -n 1
elif [ "$status" != 124 ]; then
  exit "$status"
fi
