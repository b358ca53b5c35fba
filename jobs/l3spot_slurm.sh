#!/usr/bin/env bash
# Finds L3 in an archive with a Slurm array: each task works on a part of the scans.
#
#     sbatch --array=1-16 --export=ALL,SCANS=/data/scans,RESULTS=/data/l3 jobs/l3spot_slurm.sh
#
# RESULTS lies on a file system that all tasks see. The same command resumes the array: scans
# that have a result keep it. A task ends as FAILED if one of its scans failed; the results of
# the others are written. The last task writes the table of all; while some run,
# `python -m l3spot.merge --results RESULTS` writes that of the results so far.
#
# Expected: scans / tasks x 1.7 s, such as 18 minutes for 10,000 scans in 16 tasks. 1.7 s a scan is
# that of two cores of an AMD EPYC on 2026-11-27: 100 drawn scans of 120 to 600 slices in 169 s, 80 of
# them with L3 found and 20 without it in view (benchmarks/README.md, "An archive of scans"). Eight
# cores, as below, a shared file system, and a Slurm array have not been measured:
#
#     tasks x cores       scans       time        found, not in view, failed
#     ________            ________    ________    ________
#
#SBATCH --job-name=l3spot
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=12:00:00
#SBATCH --requeue
set -euo pipefail
: "${SCANS:?give the folder or the list of scans: --export=ALL,SCANS=...}"
: "${RESULTS:?give the folder for the results: --export=ALL,RESULTS=...}"

# exec: the signal before the end of the time reaches Python, which then drops the scan in hand.
exec python -m l3spot.predict --scans "$SCANS" --out "$RESULTS" --shard auto
