"""An epoch of system 2 in `mtl.engine` beside the same epoch in PyTorch.

    python -m benchmarks.structured_vs_torch [--epochs 7] [--rows 783] [--quick]
        [--out FILE.json]

The work is `mlp_in_out` with the paper's network (2500-1025-512-64-136, both
auto-encoders tied, a fifth of x masked) on pairs of random numbers: shuffle; in each
batch of 10 a step on J_in, one on J_out and one on J_s, each with momentum 0.9 and a
velocity of its own; and the sums of the losses. The sweep is each variant with three
seeds: 12 runs, for the mean shape trains nothing. They start from the same weights.

First, without noise and with one order of rows, every contender has to give the losses,
parameters and velocities that the others give after two epochs, or nothing is measured.
The contenders take turns; medians count. Memory is that of a process of its own.

At batch 10 a step reads and writes much and computes little. Counting the matrices
alone, a step on J_in reads W three times (code, reconstruction, gradient of the code),
then reads and writes W and its velocity: 7 times W, if no gradient is stored. A step on
J_s needs 6 times each matrix, 5 for the first, since its input has no gradient. "GB/s"
is these least bytes over the time: if it is far below the machine's bandwidth, the
contender reads or writes more than it must, or waits for something else. All of a run
is 35 MB, so a large third-level cache holds it, and then this is the cache's bandwidth.
"""

import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from benchmarks import measure
from benchmarks.mtl_contenders import load_jax
from benchmarks.mtl_vs_torch import find_device
from benchmarks.structured_contenders import LEVEL, RATE, Autograd, ByHand, load_torch
from benchmarks.structured_cuda import Graphs
from benchmarks.structured_jax import Ours
from benchmarks.structured_problem import VARIANTS, Problem, Sizes, make_problem
from mtl.host import launch

TINY = Sizes(6, 20, 12, 8, 10)
SEEDS = 3
ONE = [VARIANTS["mlp_in_out"]]
SWEEP = [w for w in VARIANTS.values() for _ in range(SEEDS)]
TOLERANCE = {"float32": 3e-5, "float64": 1e-12}


class Setting(NamedTuple):
    """The rows of the data, and whether sizes are tiny."""

    rows: int
    quick: bool

    def sizes(self) -> Sizes:
        """Those of the layers."""
        return TINY if self.quick else Sizes()


class Row(measure.Memory):
    """Seconds an epoch and run: their median, all of them, and PyTorch's over them.

    gb_per_second: `least_bytes` over the seconds.
    """

    seconds: float
    times: float
    gb_per_second: float
    all_seconds: list[float]


def contenders(device: str) -> dict[str, Any]:
    """By name, `(problem, weights, device) -> contender`."""
    found = {
        "ours": partial(Ours, how=""),
        "ours_map": partial(Ours, how="map"),
        "ours_vmap": partial(Ours, how="vmap"),
        **{f"sgd_{how}": partial(Autograd, how=how) for how in ("foreach", "fused")},
        **{f"hand_{how}": partial(ByHand, how=how) for how in ("addmm", "fused")},
    }
    if shutil.which("g++") or shutil.which("clang++"):
        found["hand_compile"] = partial(ByHand, how="compile")
    if device == "gpu":
        found["hand_graphs"] = Graphs
    return found


def check(dtype: str, device: str) -> None:
    """All contenders do the same, and with every set of tasks.

    Raises:
      RuntimeError: two of them do not.
    """
    jax, _ = load_jax(device)
    from mtl.engine import batches

    weights = [(1, 0.7, 1), (0, 0, 1), (0.5, 0, 1), (0, 0.3, 1)]
    problem = make_problem(TINY, 23, noisy=False, dtype=np.dtype(dtype).type)
    key, rows = jax.random.key(1), len(problem.x)
    shuffle_key, _ = jax.random.split(key)
    shuffled = batches.shuffle(shuffle_key, rows, problem.batch)
    order, expected = np.asarray(shuffled).ravel()[:rows], None
    for name, make in contenders(device).items():
        made = make(problem, weights, device)
        losses = [made.epoch(0.05, key, order) for _ in "12"]
        found = {"loss": np.stack(losses)}
        for run in range(len(weights)):
            found |= {f"{k} of run {run}": v for k, v in made.moved(run).items()}
        expected = expected or found
        if found.keys() != expected.keys():
            raise RuntimeError(f"{name} has other parameters or velocities")
        for k, value in found.items():
            error = np.abs(value - expected[k]).max()
            if not error <= TOLERANCE[dtype] * np.abs(expected[k]).max():
                raise RuntimeError(f"{name}, {dtype}: {k} is {error} off")


def least_bytes(s: Sizes, weights: Sequence, rows: int, batch: int) -> int:
    """What an epoch of a run has to read and write of its matrices; see above."""
    encoder, decoder = s.side**2 * s.code, s.code_out * s.outputs
    link = s.code * s.link + s.link * s.code_out
    steps = 7 * encoder, 7 * decoder, 5 * encoder + 6 * (link + decoder)
    floats = sum(n for n, w in zip(steps, weights, strict=True) if w)
    return 4 * floats * -(-rows // batch)


def memory_of(name: str, weights: Sequence, problem: Problem) -> measure.Memory:
    """Peak of this process on the CPU, and what of it came after framework and data."""
    if name.startswith("ours"):
        load_jax("cpu")
        from structured import tasks  # noqa: F401
    else:
        load_torch()
    before = measure.peak_mib()
    made = contenders("cpu")[name](problem, weights, "cpu")
    for _ in range(measure.WARM_UP):
        made.epoch(RATE)
    return {"peak_mib": measure.peak_mib(), "increase_mib": measure.peak_mib() - before}


def memory(name: str, sweep: bool, setting: "Setting") -> measure.Memory:
    """`memory_of` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.structured_vs_torch", "--only", name]
    command += ["--rows", str(setting.rows)] + ["--quick"] * setting.quick
    command += ["--sweep"] * sweep
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def compare(
    weights: Sequence, names: Sequence[str], turns: int, setting: Setting, device: str
) -> dict[str, Row]:
    """The figures of some contenders, the weights a row for each run."""
    sizes, used = setting.sizes(), dict.fromkeys(names, measure.NO_MEMORY)
    if device == "cpu":
        used = {name: memory(name, len(weights) > 1, setting) for name in names}
    problem, makers = make_problem(sizes, setting.rows), contenders(device)
    made = {name: makers[name](problem, weights, device) for name in names}
    took = measure.seconds({k: partial(c.epoch, RATE) for k, c in made.items()}, turns)
    median = {k: statistics.median(v) / len(weights) for k, v in took.items()}
    best = min(v for k, v in median.items() if not k.startswith("ours"))
    moved = [least_bytes(sizes, w, setting.rows, problem.batch) for w in weights]
    return {
        k: {
            "seconds": v,
            "times": best / v,
            "gb_per_second": sum(moved) / len(moved) / v / 1e9,
            "all_seconds": took[k],
            **used[k],
        }
        for k, v in median.items()
    }


def figures_of(setting: Setting, epochs: int, sweep_epochs: int) -> dict[str, Any]:
    """All the figures; "one run" and "sweep" are rows by contender."""
    device = find_device()
    gpu = load_torch().cuda.get_device_name() if device == "gpu" else None
    where = measure.machine(gpu, ("jax", "jaxlib", "torch"))
    check("float32", device)
    with load_jax(device)[0].enable_x64(True):
        check("float64", device)
    single = [k for k in contenders(device) if k not in ("ours_map", "ours_vmap")]
    one = compare(ONE, single, epochs, setting, device)
    speed = {v["seconds"]: k for k, v in one.items() if k.startswith("hand")}
    many = ["ours", "ours_map", "ours_vmap", speed[min(speed)]]  # Its best by hand.
    sweep = compare(SWEEP, many, sweep_epochs, setting, device)
    used = {**setting._asdict(), "runs": len(SWEEP), "level": LEVEL}
    return {"machine": where, **used, "one run": one, "sweep": sweep}


def table(figures: dict[str, Any]) -> str:
    """The figures to be read."""
    keys = "seconds", "times", "gb_per_second", "peak_mib", "increase_mib"
    parts = [measure.describe(figures["machine"])]
    for part in ("one run", "sweep"):
        head = part, "s/epoch/run", "times", "GB/s", "MiB", "of it"
        rows = [(name, *(r[k] for k in keys)) for name, r in figures[part].items()]
        parts.append(measure.table(head, rows, (".4f", ".2f", ".1f", ".0f", ".0f")))
    parts.append(
        "times: as fast as the fastest PyTorch of the table. GB/s: least bytes\n"
        "over the time. MiB: peak, and its part beyond framework and data."
    )
    return "\n\n".join(parts)


def work(arguments: Sequence[str]) -> str:
    """Measures from command-line flags; writes the JSON file and returns the table."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    setting = Setting(args.rows or (43 if args.quick else 783), args.quick)
    if args.only:
        problem = make_problem(setting.sizes(), setting.rows)
        weights = SWEEP if args.sweep else ONE
        return json.dumps(memory_of(args.only, weights, problem))
    figures = figures_of(setting, args.epochs, args.sweep_epochs)
    measure.write(figures)
    return table(figures)


if __name__ == "__main__":
    flags.DEFINE_integer("epochs", 7, "Epochs of one run.")
    flags.DEFINE_integer("sweep_epochs", 3, "Epochs of the sweep.")
    flags.DEFINE_integer("rows", None, "Pairs of the data.")
    flags.DEFINE_bool("quick", False, "Tiny sizes.")
    flags.DEFINE_enum("only", None, list(contenders("cpu")), "Print its memory alone.")
    flags.DEFINE_bool("sweep", False, "That of the sweep, for --only.")
    measure.define_out()
    launch.launch(work)
