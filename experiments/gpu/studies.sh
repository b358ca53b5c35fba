#!/usr/bin/env bash
# Trains studies on one GPU at the same time, a process each, for some seconds.
#
#     bash experiments/gpu/studies.sh DATA OUT SECONDS STUDY[,STUDY...]...
#
# DATA has mnist/, MNIST's four IDX files, and 300w/, faces in the layout of 300-W. STUDY
# is one of the names below; studies with commas between them train one after the other. A
# study of system 1 may end in @l for its cells with l labels alone, so that several
# processes share it. OUT gets STUDY.csv and STUDY.log, and tables and figures of system 2,
# however the call ends. The same call again goes on, also on another machine if OUT still
# has the CSV files; runs that had not ended start again. The exit status is 1 if a study
# failed; one that ran out of time did not. Products are float32. PYTHON is the
# interpreter, default python3.
set -euo pipefail
if [ $# -lt 4 ] || [ ! -d "$1" ]; then
  echo "usage: bash $0 DATA OUT SECONDS STUDY..., DATA a folder" >&2
  exit 1
fi
data=$(realpath "$1") out=$(realpath -m "$2") seconds=$3
shift 3
cd "$(dirname "$0")/../.."
mkdir -p "$out" runs/gpu
# Each process takes the memory that it needs, not three quarters.
export XLA_PYTHON_CLIENT_PREALLOCATE=false
export JAX_COMPILATION_CACHE_DIR=$PWD/runs/compiled

settings_of() {
  case ${1%@*} in
    table1) echo mtl.study configs/mtl/table1.py ;;
    table1_rate_0.1)
      echo mtl.study configs/mtl/table1.py:cpu --config.optim.learning_rate=0.1 ;;
    weights)
      echo mtl.study configs/mtl/weights.py --config.study.seeds=10 \
        --config.study.seeds_per_program=10 ;;
    best_ladder100) echo mtl.study configs/mtl/best.py:ladder100 ;;
    best_ladder1000) echo mtl.study configs/mtl/best.py:ladder1000 ;;
    best_ladder100_other)
      echo mtl.study configs/mtl/best.py:ladder100 \
        '--config.ladder.costs=(2000.0,20.0,0.1)' ;;
    best_ladder1000_other)
      echo mtl.study configs/mtl/best.py:ladder1000 \
        '--config.ladder.costs=(1000.0,10.0,0.1)' ;;
    best_ladder100_full) echo mtl.study configs/mtl/best.py:ladder100_full ;;
    best_ladder1000_full) echo mtl.study configs/mtl/best.py:ladder1000_full ;;
    helen) echo structured.compare configs/structured/helen.py ;;
    helen_afw)
      echo structured.compare configs/structured/helen.py \
        "--config.data.unlabelled=('afw',)" ;;
    helen_quick) echo structured.compare configs/structured/helen.py:quick ;;
    helen_quick_afw)
      echo structured.compare configs/structured/helen.py:quick \
        "--config.data.unlabelled=('afw',)" ;;
    helen_cnn)
      echo structured.compare configs/structured/helen_cnn.py --variants=mlp,mlp_out ;;
    *) return 1 ;;
  esac
}

train() {
  local name=$1 work=runs/gpu/$1 settings module config own=() status=0
  read -ra settings <<< "$(settings_of "$name")"
  module=${settings[0]} config=${settings[1]}
  case $module in
    mtl.study) own=(--config.data.path="$data/mnist") ;;
    *) own=(--config.data.path="$data/300w") ;;
  esac
  if [[ $name == *@* ]]; then own+=("--config.study.labelled=(${name#*@},)"); fi
  if [ "$module" = mtl.study ] && [ ! -e "$work" ] && [ -s "$out/$name.csv" ]; then
    mkdir "$work" && cp "$out/$name.csv" "$work/results.csv"
  fi
  timeout "$left" "${PYTHON:-python3}" -u -m "$module" --config "$config" \
    --workdir "$work" --config.precision=highest "${own[@]}" "${settings[@]:2}" \
    > "$out/$name.log" 2>&1 || status=$?
  case $status in
    0) ;;
    124) echo "$name: out of time; call this again" ;;
    *) echo "error: $name failed; $out/$name.log says why" >&2 ;;
  esac
  if [ -s "$work/results.csv" ]; then cp "$work/results.csv" "$out/$name.csv"; fi
  if [ "$module" = structured.compare ] && [ -d "$work" ]; then
    find "$work" -type f \( -name '*.md' -o -name '*.png' -o -name '*.json' \
      -o -name '*.csv' -o -name '*.jsonl' \) -print0 |
      tar --null --files-from=- -czf "$out/$name.tar.gz"
  fi
  [ "$status" = 0 ] || [ "$status" = 124 ]
}

for name in ${*//,/ }; do
  if ! settings_of "$name" > /dev/null; then
    echo "error: there is no study $name; see $0" >&2
    exit 1
  fi
done
begun=$SECONDS
chains=()
for chain in "$@"; do
  (
    failed=0
    for name in ${chain//,/ }; do
      left=$((seconds - SECONDS + begun))
      if [ "$left" -gt 0 ]; then
        train "$name" || failed=1
      else
        echo "$name: not begun; call this again"
      fi
    done
    exit "$failed"
  ) &
  chains+=($!)
done
failed=0
for chain in "${chains[@]}"; do wait "$chain" || failed=1; done
find "$out" -name '*.csv' -exec wc -l {} +
exit "$failed"
