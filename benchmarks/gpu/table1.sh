#!/usr/bin/env bash
# Table 1 with ten seeds on a GPU, in calls of nine minutes: call it again, on the same
# machine or another one, until it says that all runs are there.
#
#     bash benchmarks/gpu/table1.sh DATA OUT [EARLIER]
#
# DATA has MNIST's four IDX files. OUT gets results.csv, table.md, the figures and the log;
# EARLIER is a results.csv that an earlier call brought home, for a machine that has not
# seen the study yet. PYTHON is the interpreter, default python3.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=$1 out=$2 earlier=${3:-}
work=runs/table1-gpu
python=${PYTHON:-python3}

mkdir -p "$work" "$out"
if [ -n "$earlier" ] && [ ! -e "$work/results.csv" ]; then
  cp "$earlier" "$work/results.csv"
fi
export JAX_COMPILATION_CACHE_DIR=$PWD/runs/compiled
common=(--config configs/mtl/table1.py --workdir "$work" --config.data.path="$data")
status=0
timeout 520 "$python" -u -m mtl.study "${common[@]}" \
  2>&1 | tee -a "$work/log.txt" || status=$?
if [ "$status" != 0 ] && [ "$status" != 124 ]; then
  exit "$status"
fi
[ "$status" = 0 ] ||
  "$python" -m mtl.study "${common[@]}" --report | tee -a "$work/log.txt" | tail -n 1
cp "$work"/{results.csv,table.md,environment.json,log.txt} "$work"/*.png "$out"
