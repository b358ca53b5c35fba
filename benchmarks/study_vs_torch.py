"""The sweep of `mtl.study` beside PyTorch: runs of `exponential` an hour.

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

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

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

EPOCHS, RECONSTRUCTING = 5000, 553
KINDS = {"reconstructs": (0.5, 0.5), "classifies": (0.0, 1.0)}


def ours(problem: Problem, runs: int, kind: str) -> Iterator[Any]:
    """Yields after an epoch of all runs."""
    from configs.mtl import table1
    from mtl.data.datasets import Dataset
    from mtl.data.readers import Images
    from mtl.study import grid
    from mtl.study.sweep import Sweep

    c = table1.get_config()
    c.epochs, c.eval_every, c.schedule.sigma = 100_000, 1, 1e9
    c.schedule.cutoff = 0.0
    c.model.activation, c.reconstruct.scale = "tanh", 1.0
    # Labels are hidden by the sweep, so all rows have one.
    label = np.arange(len(problem.label), dtype=np.int32) % 10
    images = Images(problem.image, label)
    few = Images(problem.image[:8], label[:8])
    dataset = Dataset(images, few, few, (28, 28), 10)
    method = {"reconstructs": "exponential", "classifies": "baseline_matched"}[kind]
    each = [grid.Run((50,), LABELLED, UNLABELLED, method, seed) for seed in range(runs)]
    bundle = grid.RunGroup(grid.one_config(c, each[0]), each)
    with tempfile.TemporaryDirectory() as folder:
        yield from Sweep(c, dataset).train(bundle, Path(folder) / kind)


def figures_of(runs: int, turns: int) -> dict[str, Any]:
    """All the figures."""
    device = find_device()
    load_jax(device)
    gpu = load_torch().cuda.get_device_name() if device == "gpu" else None
    where = measure.machine(gpu, ("jax", "jaxlib", "torch"))
    check(make_problem(20, 30, batch=64, noisy=False), device)
    problem = make_problem(LABELLED, UNLABELLED)
    rows: dict[str, dict[str, float]] = {}
    for kind, weights in KINDS.items():
        work: dict[str, Callable[[], object]] = {
            "ours": partial(next, ours(problem, runs, kind))
        }
        for name, make in makers(runs).items():
            work[name] = partial(make(problem, device).epoch, weights, RATE)
        for name, took in measure.seconds(work, turns).items():
            rows.setdefault(name, {})[kind] = statistics.median(took) / runs
    for row in rows.values():
        others = EPOCHS - RECONSTRUCTING
        run = RECONSTRUCTING * row["reconstructs"] + others * row["classifies"]
        row["runs_an_hour"] = 3600 / run
    best = max(r["runs_an_hour"] for n, r in rows.items() if n != "ours")
    for row in rows.values():
        row["times"] = row["runs_an_hour"] / best
    return {"machine": where, "runs": runs, "contenders": rows}


def table(figures: dict[str, Any]) -> str:
    """The figures to be read."""
    lines = [", ".join(f"{k} {v}" for k, v in figures["machine"].items() if v), ""]
    lines.append(f"{'':16}{'rec. ms':>10}{'cls. ms':>10}{'runs/h':>10}{'times':>8}")
    for name, r in figures["contenders"].items():
        lines.append(
            f"{name:16}{1e3 * r['reconstructs']:10.1f}{1e3 * r['classifies']:10.1f}"
            f"{r['runs_an_hour']:10.1f}{r['times']:8.2f}"
        )
    lines += ["", f"{figures['runs']} runs; ms an epoch and run."]
    lines += ["times: as many runs an hour as the fastest PyTorch."]
    return "\n".join(lines)


def main() -> None:
    """Measures, prints the table and writes the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--out", type=Path)
    a = parser.parse_args()
    figures = figures_of(a.runs, a.turns)
    print(table(figures))
    if a.out:
        a.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
