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

At batch 10 a step moves much and computes little. Counting the matrices alone, a step
on J_in reads W three times (code, reconstruction, gradient of the code), then reads and
writes W and its velocity: 7 times W, if no gradient is stored. A step on J_s needs 6
times each matrix, 5 for the first, whose input has no gradient. "GB/s" is these least
bytes over the time: what is far below the machine's bandwidth moves more than it must,
or waits for something else. All of a run is 35 MB, so a large third-level cache holds
it, and then this is the cache's bandwidth.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measure
from benchmarks.structured_contenders import (
    LEVEL,
    RATE,
    VARIANTS,
    Autograd,
    ByHand,
    Problem,
    Sizes,
    load_torch,
    make_problem,
)

TINY = Sizes(6, 20, 12, 8, 10)
SEEDS = 3
ONE = [VARIANTS["mlp_in_out"]]
SWEEP = [w for w in VARIANTS.values() for _ in range(SEEDS)]
TOLERANCE = {"float32": 3e-5, "float64": 1e-12}


class Ours:
    """`mtl.engine` with `structured.tasks`; weights: [runs, 3].

    how: "" one run after the other, each in the program of its active tasks; "map" or
    "vmap" all in one program, where a weight of 0 saves nothing.
    """

    def __init__(self, problem: Problem, weights: Sequence, how: str) -> None:
        jax, jnp = load_jax()
        from mtl.engine import engine, task
        from mtl.engine.cpu import compiling
        from structured import config, experiment, tasks

        s, c = problem.sizes, config.default()
        c.model.input, c.model.link = (s.code,), (s.link,)
        c.model.output = (s.code_out,)
        c.reconstruct_in.level = LEVEL if problem.noisy else 0.0
        net = experiment.build_network(c, (s.side, s.side), s.outputs)
        made = tasks.make_tasks(c, net)
        every = jnp.ones(len(problem.x), bool)
        x = jnp.asarray(problem.x.reshape(-1, s.side, s.side))
        self.data = {"x": x, "y": jnp.asarray(problem.y)}
        self.data |= {"has_x": every, "has_y": every}
        e = engine.make_engine(
            made,
            self.data,
            batch_size=problem.batch,
            optimizer=tasks.make_optimizer(c),
        )
        state = e.init(task.unflatten(jax.tree.map(jnp.asarray, problem.params)))
        self.flatten, self.how = task.flatten, how
        self.weights = np.asarray(weights, problem.x.dtype)
        self.runs, self.key = len(weights), jax.random.key(0)
        if not how:
            self.states = [state] * self.runs
            jit = {"static_argnames": "active"}
            self.program = compiling.compiled(e.epoch, problem.batch, **jit)
            return

        def mapped(states, data, weights, rate, keys):
            each = lambda x: e.epoch(x[0], data, x[1], rate, x[2])  # noqa: E731
            return jax.lax.map(each, (states, weights, keys))

        at_once = jax.vmap(e.epoch, in_axes=(0, None, 0, None, 0))
        program = {"map": mapped, "vmap": at_once}[how]
        self.program = compiling.compiled(program, problem.batch)
        self.states = jax.tree.map(
            lambda x: jnp.broadcast_to(x, (self.runs, *x.shape)), state
        )

    def epoch(self, rate: float, key: Any = None, order: Any = None) -> np.ndarray:
        """One epoch; [runs, 3] sums of losses. key: of each run; None draws others."""
        import jax

        self.key, now = jax.random.split(self.key)
        keys = jax.random.split(now, self.runs)
        keys = keys if key is None else jax.numpy.stack([key] * self.runs)
        rate = self.weights.dtype.type(rate)
        if self.how:
            inputs = self.states, self.data, self.weights, rate, keys
            self.states, metrics = self.program(*inputs)
            return np.asarray(jax.block_until_ready(metrics.loss))
        losses = []
        for run, (weights, own) in enumerate(zip(self.weights, keys, strict=True)):
            active = tuple(bool(w) for w in weights)
            inputs = self.states[run], self.data, weights, rate, own
            self.states[run], metrics = self.program(*inputs, active=active)
            losses.append(np.asarray(jax.block_until_ready(metrics.loss)))
        return np.stack(losses)

    def moved(self, run: int) -> dict[str, np.ndarray]:
        """The parameters of a run, and its velocities by task and name."""
        import jax

        at = (lambda x: x[run]) if self.how else (lambda x: x)
        state = jax.tree.map(at, self.states if self.how else self.states[run])
        found = dict(self.flatten(state.params))
        for i, opt in enumerate(state.opt):
            found |= {f"velocity {i} {k}": v for k, v in opt[0].trace.items()}
        return {k: np.asarray(v) for k, v in found.items()}


def load_jax() -> tuple[Any, Any]:
    """Not at the top: a process whose memory is measured loads one framework alone."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_platforms", "cpu")
    jax.devices()
    return jax, jnp


def contenders() -> dict[str, Any]:
    """By name, `(problem, weights) -> contender`."""
    hands = ["addmm", "fused"]
    if shutil.which("g++") or shutil.which("clang++"):
        hands.append("compile")
    return {
        "ours": partial(Ours, how=""),
        "ours_map": partial(Ours, how="map"),
        "ours_vmap": partial(Ours, how="vmap"),
        **{f"sgd_{how}": partial(Autograd, how=how) for how in ("foreach", "fused")},
        **{f"hand_{how}": partial(ByHand, how=how) for how in hands},
    }


def check(dtype: str) -> None:
    """All contenders do the same, and with every set of tasks.

    Raises:
      RuntimeError: two of them do not.
    """
    jax, _ = load_jax()
    from mtl.engine import batches

    weights = [(1, 0.7, 1), (0, 0, 1), (0.5, 0, 1), (0, 0.3, 1)]
    problem = make_problem(TINY, 23, noisy=False, dtype=np.dtype(dtype).type)
    key, rows = jax.random.key(1), len(problem.x)
    shuffle_key, _ = jax.random.split(key)
    order = batches.shuffle(shuffle_key, rows, problem.batch)
    order, expected = np.asarray(order).ravel()[:rows], None
    for name, make in contenders().items():
        made = make(problem, weights)
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


def memory_of(name: str, weights: Sequence, problem: Problem) -> dict[str, float]:
    """Peak of this process, and what of it came after framework and data."""
    if name.startswith("ours"):
        load_jax()
        from structured import tasks  # noqa: F401
    else:
        load_torch()
    before = measure.peak_mib()
    made = contenders()[name](problem, weights)
    for _ in range(measure.WARM_UP):
        made.epoch(RATE)
    return {"peak_mib": measure.peak_mib(), "increase_mib": measure.peak_mib() - before}


def compare(weights: Sequence, names: Sequence[str], turns: int, a: Any) -> dict:
    """The figures of some contenders, the weights a row for each run."""
    sizes, used = TINY if a.quick else Sizes(), {}
    for name in names:
        module = "benchmarks.structured_vs_torch"
        command = [sys.executable, "-m", module, "--only", name]
        command += ["--rows", str(a.rows)] + ["--quick"] * a.quick
        command += ["--sweep"] * (len(weights) > 1)
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        used[name] = json.loads(done.stdout)
    problem, makers = make_problem(sizes, a.rows), contenders()
    made = {name: makers[name](problem, weights) for name in names}
    took = measure.seconds({k: partial(c.epoch, RATE) for k, c in made.items()}, turns)
    median = {k: statistics.median(v) / len(weights) for k, v in took.items()}
    best = min(v for k, v in median.items() if not k.startswith("ours"))
    moved = [least_bytes(sizes, w, a.rows, problem.batch) for w in weights]
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


def figures_of(a: Any) -> dict[str, Any]:
    """All the figures."""
    load_torch()
    where = measure.machine(None, ("jax", "jaxlib", "torch"))
    check("float32")
    with load_jax()[0].enable_x64(True):
        check("float64")
    single = [k for k in contenders() if k not in ("ours_map", "ours_vmap")]
    one = compare(ONE, single, a.epochs, a)
    speed = {v["seconds"]: k for k, v in one.items() if k.startswith("hand")}
    many = ["ours", "ours_map", "ours_vmap", speed[min(speed)]]  # Its best by hand.
    sweep = compare(SWEEP, many, a.sweep_epochs, a)
    setting = {"rows": a.rows, "quick": a.quick, "runs": len(SWEEP), "level": LEVEL}
    return {"machine": where, **setting, "one run": one, "sweep": sweep}


def table(figures: dict[str, Any]) -> str:
    """The figures to be read."""
    lines = [", ".join(f"{k} {v}" for k, v in figures["machine"].items() if v)]
    for part in ("one run", "sweep"):
        lines += ["", f"{part:16}{'s/epoch/run':>12}{'times':>8}{'GB/s':>8}"]
        lines[-1] += f"{'MiB':>8}{'of it':>8}"
        for name, r in figures[part].items():
            lines.append(
                f"{name:16}{r['seconds']:12.4f}{r['times']:8.2f}"
                f"{r['gb_per_second']:8.1f}{r['peak_mib']:8.0f}{r['increase_mib']:8.0f}"
            )
    lines += [
        "",
        "times: as fast as the fastest PyTorch of the table. GB/s: least bytes",
    ]
    lines += ["over the time. MiB: peak, and its part beyond framework and data."]
    return "\n".join(lines)


def main() -> None:
    """Measures, prints the table and writes the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=7, help="of one run")
    parser.add_argument("--sweep_epochs", type=int, default=3)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", choices=contenders(), help="print its memory")
    parser.add_argument("--sweep", action="store_true", help="that of the sweep")
    a = parser.parse_args()
    a.rows = a.rows or (43 if a.quick else 783)
    if a.only:
        problem = make_problem(TINY if a.quick else Sizes(), a.rows)
        print(json.dumps(memory_of(a.only, SWEEP if a.sweep else ONE, problem)))
        return
    figures = figures_of(a)
    print(table(figures))
    if a.out:
        a.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
