"""An epoch of `mtl.engine` beside the same epoch in eager PyTorch: time and memory.

    python -m benchmarks.mtl_vs_torch [--runs 8] [--epochs 7] [--out FILE.json]

The work is NN1 (784-50-10, tanh, tied decoder) on 1,000 labelled and 49,000 unlabelled
rows of random numbers, four in five of them 0: shuffle; in each batch of 600 a step on
the denoising cross-entropy of all the rows (a fifth of the inputs masked), then one on
the softmax cross-entropy of the labelled rows alone; and the sums of both losses.

First, without noise, every contender has to give the losses and gradients that the
others give, or nothing is measured. The contenders take turns, an epoch each; what
counts is the median. Memory is that of a process that does nothing else, on a CPU.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from typing import TypedDict

from absl import flags

from benchmarks import measure
from benchmarks.mtl_contenders import (
    LABELLED,
    RATE,
    UNLABELLED,
    WEIGHTS,
    check,
    check_noise,
    contenders,
    load_jax,
    load_torch,
    make_problem,
)
from mtl.host import launch


class Row(measure.Memory):
    """Seconds an epoch and run: their median, all of them, and PyTorch's over them."""

    seconds: float
    times: float
    all_seconds: list[float]


class Figures(TypedDict):
    """The content of the JSON file."""

    machine: measure.Machine
    runs: int
    contenders: dict[str, Row]


def find_device() -> str:
    """The GPU if both frameworks can use it, else the CPU."""
    if not load_torch().cuda.is_available():
        return "cpu"
    import jax

    return "gpu" if jax.default_backend() == "gpu" else "cpu"


def memory_of(name: str, runs: int) -> measure.Memory:
    """Peak of this process on the CPU, and what of it came after framework and data."""
    if name.startswith("ours"):
        load_jax("cpu")
        from mtl import methods  # noqa: F401
    else:
        load_torch()
    problem = make_problem(LABELLED, UNLABELLED)
    before = measure.peak_mib()
    contender = contenders(runs)[name](problem, "cpu")
    for _ in range(measure.WARM_UP):
        contender.epoch(WEIGHTS, RATE)
    return {"peak_mib": measure.peak_mib(), "increase_mib": measure.peak_mib() - before}


def memory(name: str, runs: int) -> measure.Memory:
    """`memory_of` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.mtl_vs_torch", "--only", name]
    command += ["--runs", str(runs)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def figures_of(runs: int, epochs: int) -> Figures:
    """All the figures."""
    device = find_device()
    gpu = load_torch().cuda.get_device_name() if device == "gpu" else None
    where = measure.machine(gpu, ("jax", "jaxlib", "torch"))
    makers = contenders(runs)
    check_noise(device)
    check(makers, device)
    check({k: v for k, v in makers.items() if k.startswith("torch")}, device, True)
    used = dict.fromkeys(makers, measure.NO_MEMORY)
    if device == "cpu":
        used = {name: memory(name, runs) for name in makers}
    problem = make_problem(LABELLED, UNLABELLED)
    made = {k: make(problem, device) for k, make in makers.items()}
    work = {k: partial(each.epoch, WEIGHTS, RATE) for k, each in made.items()}
    took = measure.seconds(work, epochs)
    median = {k: statistics.median(v) / made[k].runs for k, v in took.items()}
    best = min(v for k, v in median.items() if k.startswith("torch"))
    rows: dict[str, Row] = {
        k: {"seconds": v, "times": best / v, "all_seconds": took[k], **used[k]}
        for k, v in median.items()
    }
    return {"machine": where, "runs": runs, "contenders": rows}


def table(figures: Figures) -> str:
    """The figures to be read."""
    head = "", "s/epoch/run", "times", "MiB", "of it"
    rows = [
        (name, r["seconds"], r["times"], r["peak_mib"], r["increase_mib"])
        for name, r in figures["contenders"].items()
    ]
    return (
        f"{measure.describe(figures['machine'])}\n\n"
        f"{measure.table(head, rows, ('.4f', '.2f', '.0f', '.0f'))}\n\n"
        f"_...: {figures['runs']} runs in one program. times: as fast as the\n"
        "faster PyTorch. MiB: peak, and its part beyond framework and data."
    )


def work(arguments: Sequence[str]) -> str:
    """Measures from command-line flags; writes the JSON file and returns the table."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    if args.only:
        return json.dumps(memory_of(args.only, args.runs))
    figures = figures_of(args.runs, args.epochs)
    measure.write(figures)
    return table(figures)


if __name__ == "__main__":
    flags.DEFINE_integer("runs", 8, "Runs of the contenders with several.")
    flags.DEFINE_integer("epochs", 7, "Epochs that are measured.")
    flags.DEFINE_enum("only", None, list(contenders(1)), "Print its memory alone.")
    measure.define_out()
    launch.launch(work)
