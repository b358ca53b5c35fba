"""Where the time of an epoch goes: XLA's own steps, by their share.

    python -m benchmarks.mtl_profile [--how vmap] [--runs 8]

Milliseconds an epoch and run, of NN1's epoch of `mtl_vs_torch`. A step is named after
what XLA fused into it; those that only hold other steps (loops, branches) are left out.
Tracing slows the small ones down; steps that run on two threads at once count twice.
"""

import argparse
import collections
import glob
import gzip
import json
import tempfile

from benchmarks.mtl_contenders import (
    LABELLED,
    RATE,
    UNLABELLED,
    WEIGHTS,
    Ours,
    make_problem,
)

HOLDERS = ("$", "ThunkExecutor", "while", "cond", "call", "Slinky", "wrapped_while")


def profile(ours: Ours) -> collections.Counter:
    """Microseconds by step, of one epoch after a warm-up."""
    import jax

    ours.epoch(WEIGHTS, RATE)
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, create_perfetto_trace=True):
            ours.epoch(WEIGHTS, RATE)
        (path,) = glob.glob(f"{folder}/**/perfetto_trace.json.gz", recursive=True)
        with gzip.open(path) as file:
            events = json.load(file)["traceEvents"]
    took: collections.Counter = collections.Counter()
    for event in events:
        if event.get("ph") == "X" and not event["name"].startswith(HOLDERS):
            took[event["name"]] += event["dur"]
    return took


def main() -> None:
    """Prints the steps, the longest first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--how", choices=("", "vmap", "map"), default="")
    parser.add_argument("--runs", type=int, default=8)
    a = parser.parse_args()
    ours = Ours(make_problem(LABELLED, UNLABELLED), "cpu", a.runs, a.how)
    took = profile(ours)
    for name, spent in took.most_common(18):
        print(f"{spent / 1e3 / ours.runs:8.1f}  {name}")
    print(f"{sum(took.values()) / 1e3 / ours.runs:8.1f}  all")


if __name__ == "__main__":
    main()
