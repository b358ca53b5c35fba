#!/usr/bin/env bash
# Trains a study of system 1 with a Slurm array: each task trains a part of the runs.
#
#     sbatch --array=1-8 --export=ALL,CONFIG=configs/mtl/table1.py,WORKDIR=/data/table1 \
#         jobs/mtl_study_slurm.sh --config.data.path=/data/mnist
#
# Activate the environment first: the job calls plain `python`. WORKDIR lies on a file system that all tasks see. Flags at the end go to mtl.study. All tasks
# need the same kind of device; for GPUs, add --gpus-per-task=1 to sbatch. The same command resumes
# the array, and trains no finished run again. Each task ends with the table of all runs so far.
#SBATCH --job-name=mtl_study
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=12:00:00
#SBATCH --requeue
set -euo pipefail
: "${CONFIG:?give the config of the study: --export=ALL,CONFIG=...}"
: "${WORKDIR:?give the folder for the results: --export=ALL,WORKDIR=...}"

# exec: the signal before the end of the time reaches Python, which then saves the training.
exec python -m mtl.study --config "$CONFIG" --workdir "$WORKDIR" --shard auto "$@"
