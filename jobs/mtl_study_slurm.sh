#!/usr/bin/env bash
# Trains a study of system 1, or a sweep of any system, with a Slurm array: each task trains a part
# of the runs.
#
#     sbatch --array=1-8 --export=ALL,CONFIG=table1,WORKDIR=/data/table1 \
#         jobs/mtl_study_slurm.sh --config.data.path=/data/mnist
#     sbatch --array=1-8 --export=ALL,MODULE=structured.sweep,CONFIG=digits,WORKDIR=/data/sweep \
#         jobs/mtl_study_slurm.sh --grid optim.learning_rate=0.01,0.1 --seeds 0,1,2
#
# Activate the environment first: the job calls plain `python`. MODULE is mtl.study, mtl.sweep,
# structured.sweep or l3spot.sweep; flags at the end go to it. WORKDIR lies on a file system that all
# tasks see. All tasks need the same kind of device; for GPUs, add --gpus-per-task=1 to sbatch. The
# same command resumes the array, and trains no finished run again. Each task ends with the table of
# all runs so far.
#
# Expected a task, of runs of Table 1 with 5,000 epochs, 1,000 labelled and 49,000 unlabelled images
# (`exponential`): 667 an hour on one NVIDIA H200, eight in a program (2026-11-26), and 35 on two cores of an
# AMD EPYC (2026-11-25, with an option of XLA that is gone and saved a tenth; benchmarks/README.md).
# docs/results/table1.md has the errors to expect. As an array of Slurm, none has been measured. To fill in
# after your first one:
#
#     tasks, device       runs        time        number (such as test error)
#     ________            ________    ________    ________
#
#SBATCH --job-name=mtl_study
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=12:00:00
#SBATCH --requeue
set -euo pipefail
: "${CONFIG:?give the config of the runs: --export=ALL,CONFIG=...}"
: "${WORKDIR:?give the folder for the results: --export=ALL,WORKDIR=...}"

# exec: the signal before the end of the time reaches Python, which then saves the training.
exec python -m "${MODULE:-mtl.study}" --config "$CONFIG" --workdir "$WORKDIR" --shard auto "$@"
