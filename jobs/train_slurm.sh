#!/usr/bin/env bash
# Trains a run with Slurm, on one GPU, on all GPUs of a node, or on those of several nodes:
#
#     sbatch --gres=gpu:1 jobs/train_slurm.sh mtl.main FLAGS
#     sbatch --gres=gpu:4 jobs/train_slurm.sh mtl.main FLAGS
#     sbatch --gres=gpu:4 --nodes=2 jobs/train_slurm.sh mtl.main FLAGS
#
# FLAGS are those of mtl.main, structured.main or l3spot.main, such as --config=mnist
# --config.data.path=/data/mnist --workdir=/data/runs/mnist. Activate the environment first: the job
# calls plain `python`. Each node has one task, which has all GPUs there. If the number of all GPUs
# does not divide the config's batch_size, each node uses one GPU; the number of nodes must divide it.
# The workdir is on a file system that all nodes see. The same command resumes the run, and so does
# the job itself: two minutes before its time is over, it saves after the epoch at hand, and queues
# itself again. If that epoch takes longer, the job is killed and stays out of the queue; the same
# command then resumes from the last checkpoint. Raise --signal=USR1@SECONDS, or lower
# config.data.chunk_rows of a run on shards.
#
# Expected on one NVIDIA H200: an epoch of system 2 at the paper's size takes 22 ms, its 1,000 epochs 22 s; an epoch
# of system 1 that reconstructs 50,000 images takes 11 ms (2026-11-26, benchmarks/README.md). Compilation and
# evaluation come on top; docs/results has the errors to expect. More devices and a job of Slurm: none
# has been measured. To fill in after your first run:
#
#     GPUs                time        number (such as test error)
#     1 of one node       ________    ________
#     4 of one node       ________    ________
#     4 of two nodes      ________    ________
#
#SBATCH --job-name=train
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=12:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
: "${2:?give a launcher and its flags: mtl.main --config=... --workdir=...}"

# --kill-on-bad-exit: if a task dies, those that wait for it end as well.
status=0
srun --kill-on-bad-exit=1 python -m "$@" --hosts=auto || status=$?
# 75: a signal ended the training, after it had saved.
if [ "$status" -eq 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
