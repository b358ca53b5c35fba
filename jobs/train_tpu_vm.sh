#!/usr/bin/env bash
# Trains a run on a TPU VM, of one host or of many:
#
#     export NAME=train ZONE=us-central2-b TYPE=v4-16 VERSION=tpu-ubuntu2204-base
#     jobs/train_tpu_vm.sh create
#     jobs/train_tpu_vm.sh run mtl.main --config=mnist \
#         --config.data.path=/mnt/mnist --workdir=/mnt/runs/mnist
#     jobs/train_tpu_vm.sh delete
#
# `create` makes the VM and installs the last commit of this folder on all of its hosts, with Python
# 3.12, which older VMs lack. `run` starts the launcher on all of them; the same command resumes the
# run. The workdir is on a file system that all hosts have mounted, such as Filestore at /mnt. After
# a VM was taken away: `delete`, `create`, mount, `run`.
#
# Expected: on a TPU none has been measured; jobs/train_slurm.sh has the times of a GPU. To fill in after your
# first run:
#
#     TYPE                time        number (such as test error)
#     ________            ________    ________
#
set -euo pipefail
: "${NAME:?export NAME, the VM}" "${ZONE:?export ZONE of the VM}"

on_all_hosts() {
    gcloud compute tpus tpu-vm ssh "$NAME" --zone="$ZONE" --worker=all --command="$1"
}

case "${1:-}" in
create)
    : "${TYPE:?export TYPE, such as v4-16}" "${VERSION:?export VERSION of the software}"
    gcloud compute tpus tpu-vm create "$NAME" --zone="$ZONE" \
        --accelerator-type="$TYPE" --version="$VERSION"
    packed="$(mktemp)"
    git -C "$(dirname "$0")/.." archive --output="$packed" --format=tar HEAD
    gcloud compute tpus tpu-vm scp "$packed" "$NAME":mtl.tar --zone="$ZONE" --worker=all
    rm "$packed"
    on_all_hosts "mkdir -p mtl && tar -xf mtl.tar -C mtl && cd mtl \
        && python3 -m pip install --quiet uv && python3 -m uv venv --python 3.12 .venv \
        && python3 -m uv pip install --python .venv/bin/python '.[tpu]'"
    ;;
run)
    : "${3:?give a launcher and its flags: run mtl.main --config=... --workdir=...}"
    on_all_hosts "cd mtl && .venv/bin/python -m $(printf '%q ' "${@:2}") --hosts=auto"
    ;;
delete)
    gcloud compute tpus tpu-vm delete "$NAME" --zone="$ZONE" --quiet
    ;;
*)
    echo "give create, run or delete; the head of $0 has an example" >&2
    exit 2
    ;;
esac
