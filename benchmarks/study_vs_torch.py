"""`mtl.study` beside PyTorch: runs of `exponential` an hour.

    python -m benchmarks.study_vs_torch [--runs 8] [--turns 5] [--out FILE.json]

The work is NN1 (784-50-10, tied) on 1,000 labelled and 49,000 unlabelled rows of random
numbers. Of the 5000 epochs of a run, 553 reconstruct (until exp(-t / 40) is below
1e-6), the others only classify; an epoch of all runs is measured of both kinds, and a
run's time is put together from them. Evaluation, every 50 epochs, is left out.

PyTorch trains the runs one by one: with autograd, with the backward pass by hand, and
that compiled by `torch.compile` (CUDA graphs on a GPU); and all in each step, by
`torch.func.vmap`. First they have to agree with each other; that ours does the same
work is what `benchmarks.mtl_vs_torch` checks. Contenders take turns; medians count.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypedDict

import numpy as np
from absl import flags

from benchmarks import measure
from benchmarks.mtl_contenders import (
    LABELLED,
    RATE,
    UNLABELLED,
    Problem,
    load_jax,
    load_torch,
    make_problem,
)
from benchmarks.mtl_vs_torch import find_device
from benchmarks.study_contenders import check, makers
from mtl.host import launch

EPOCHS, RECONSTRUCTING = 5000, 553
KINDS = {"reconstructs": (0.5, 0.5), "classifies": (0.0, 1.0)}


class Row(TypedDict):
    """Seconds an epoch and run of each kind; speed, and that over PyTorch's."""

    reconstructs: float
    classifies: float
    runs_an_hour: float
    times: float


class Figures(TypedDict):
    """The content of the JSON file."""

    machine: measure.Machine
    runs: int
    contenders: dict[str, Row]


def ours(problem: Problem, runs: int, kind: str) -> Iterator[object]:
    """Yields after an epoch of all runs."""
    from configs.mtl import table1
    from mtl.data.datasets import Dataset
    from mtl.data.readers import Images
    from mtl.study import grid
    from mtl.study.trainer import GroupTrainer

    c = table1.get_config()
    c.epochs, c.eval_every, c.schedule.sigma = 100_000, 1, 1e9
    c.schedule.cutoff = 0.0
    c.model.activation, c.reconstruct.scale = "tanh", 1.0
    # Labels are hidden by the study, so all rows have one.
    label = np.arange(len(problem.label), dtype=np.int32) % 10
    images = Images(problem.image, label)
    few = Images(problem.image[:8], label[:8])
    dataset = Dataset(images, few, few, (28, 28), 10)
    method = {"reconstructs": "exponential", "classifies": "baseline_matched"}[kind]
    each = [grid.Run((50,), LABELLED, UNLABELLED, method, seed) for seed in range(runs)]
    bundle = grid.RunGroup(grid.one_config(c, each[0]), each)
    with tempfile.TemporaryDirectory() as folder:
        yield from GroupTrainer(c, dataset).train(bundle, Path(folder) / kind)


def figures_of(runs: int, turns: int) -> Figures:
    """All the figures."""
    device = find_device()
    load_jax(device)
    gpu = load_torch().cuda.get_device_name() if device == "gpu" else None
    where = measure.machine(gpu, ("jax", "jaxlib", "torch"))
    check(make_problem(20, 30, batch=64, noisy=False), device)
    problem = make_problem(LABELLED, UNLABELLED)
    seconds: dict[str, dict[str, float]] = {}
    for kind, weights in KINDS.items():
        work: dict[str, Callable[[], object]] = {
            "ours": partial(next, ours(problem, runs, kind))
        }
        for name, make in makers(runs).items():
            work[name] = partial(make(problem, device).epoch, weights, RATE)
        for name, took in measure.seconds(work, turns).items():
            seconds.setdefault(name, {})[kind] = statistics.median(took) / runs
    speed = {name: 3600 / _run_seconds(row) for name, row in seconds.items()}
    best = max(s for name, s in speed.items() if name != "ours")
    rows: dict[str, Row] = {
        name: {
            "reconstructs": row["reconstructs"],
            "classifies": row["classifies"],
            "runs_an_hour": speed[name],
            "times": speed[name] / best,
        }
        for name, row in seconds.items()
    }
    return {"machine": where, "runs": runs, "contenders": rows}


def _run_seconds(row: dict[str, float]) -> float:
    """Seconds of a whole run, from those of an epoch of each kind."""
    others = EPOCHS - RECONSTRUCTING
    return RECONSTRUCTING * row["reconstructs"] + others * row["classifies"]


def table(figures: Figures) -> str:
    """The figures to be read."""
    head = "", "rec. ms", "cls. ms", "runs/h", "times"
    rows = [
        (name, 1e3 * r["reconstructs"], 1e3 * r["classifies"], r["runs_an_hour"],
         r["times"])
        for name, r in figures["contenders"].items()
    ]  # fmt: skip
    return (
        f"{measure.describe(figures['machine'])}\n\n"
        f"{measure.table(head, rows, ('.1f', '.1f', '.1f', '.2f'))}\n\n"
        f"{figures['runs']} runs; ms an epoch and run.\n"
        "times: as many runs an hour as the fastest PyTorch."
    )


def work(arguments: Sequence[str]) -> str:
    """Measures from command-line flags; writes the JSON file and returns the table."""
    launch.reject_extra_args(arguments)
    figures = figures_of(flags.FLAGS.runs, flags.FLAGS.turns)
    measure.write(figures)
    return table(figures)


if __name__ == "__main__":
    flags.DEFINE_integer("runs", 8, "Runs that are trained.")
    flags.DEFINE_integer("turns", 5, "Turns of each contender.")
    measure.define_out()
    launch.launch(work)
