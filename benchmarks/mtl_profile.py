"""Where the time of an epoch goes: XLA's own steps, by their share.

    python -m benchmarks.mtl_profile [--how vmap] [--runs 8]

Milliseconds an epoch and run, of NN1's epoch of `mtl_vs_torch`. A step is named after
what XLA fused into it; those that only hold other steps (loops, branches) are left out.
Tracing slows the small ones down; steps that run on two threads at once count twice.
"""

import collections
import glob
import gzip
import json
import tempfile
from collections.abc import Sequence

from absl import flags

from benchmarks.mtl_contenders import (
    LABELLED,
    RATE,
    UNLABELLED,
    WEIGHTS,
    Ours,
    make_problem,
)
from mtl.host import launch

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


def work(arguments: Sequence[str]) -> str:
    """Measures from command-line flags; returns the steps, the longest first."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    ours = Ours(make_problem(LABELLED, UNLABELLED), "cpu", args.runs, args.how)
    took = profile(ours)
    rows = [*took.most_common(18), ("all", sum(took.values()))]
    return "\n".join(f"{spent / 1e3 / ours.runs:8.1f}  {name}" for name, spent in rows)


if __name__ == "__main__":
    flags.DEFINE_enum("how", "", ["", "vmap", "map"], "How several runs are trained.")
    flags.DEFINE_integer("runs", 8, "The number of runs, for --how.")
    launch.launch(work)
