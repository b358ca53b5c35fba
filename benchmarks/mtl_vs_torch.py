"""An epoch of `mtl.engine` beside the same epoch in eager PyTorch: time and memory.

    python -m benchmarks.mtl_vs_torch [--runs 8] [--epochs 7] [--out FILE.json]

The work is NN1 (784-50-10, tanh, tied decoder) on 1,000 labelled and 49,000 unlabelled
rows of random numbers, four in five of them 0: shuffle; in each batch of 600 a step on
the denoising cross-entropy of all the rows (a fifth of the inputs masked), then one on
the softmax cross-entropy of the labelled rows alone; and the sums of both losses.

First, without noise, every contender has to give the losses and gradients that the
others give, or nothing is measured. The contenders take turns, an epoch each; what
counts is the median. Memory is that of a process that does nothing else.
"""

import argparse
import json
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

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


def find_device() -> str:
    """The GPU if both frameworks can use it, else the CPU."""
    if not load_torch().cuda.is_available():
        return "cpu"
    import jax

    return "gpu" if jax.default_backend() == "gpu" else "cpu"


def memory_of(name: str, runs: int, device: str) -> dict[str, float]:
    """Peak of this process, and what of it came after framework and data."""
    if name.startswith("ours"):
        load_jax(device)
        from mtl import methods  # noqa: F401
    else:
        load_torch()
    problem = make_problem(LABELLED, UNLABELLED)
    before = measure.peak_mib()
    contender = contenders(runs)[name](problem, device)
    for _ in range(measure.WARM_UP):
        contender.epoch(WEIGHTS, RATE)
    return {"peak_mib": measure.peak_mib(), "increase_mib": measure.peak_mib() - before}


def memory(name: str, runs: int, device: str) -> dict[str, float]:
    """`memory_of` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.mtl_vs_torch", "--only", name]
    command += ["--runs", str(runs), "--device", device]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def figures_of(runs: int, epochs: int) -> dict[str, Any]:
    """All the figures."""
    device = find_device()
    gpu = load_torch().cuda.get_device_name() if device == "gpu" else None
    where = measure.machine(gpu, ("jax", "jaxlib", "torch"))
    makers = contenders(runs)
    check_noise(device)
    check(makers, device)
    check({k: v for k, v in makers.items() if k.startswith("torch")}, device, True)
    used = {name: memory(name, runs, device) for name in makers}
    problem = make_problem(LABELLED, UNLABELLED)
    made = {k: make(problem, device) for k, make in makers.items()}
    work = {k: partial(each.epoch, WEIGHTS, RATE) for k, each in made.items()}
    took = measure.seconds(work, epochs)
    median = {k: statistics.median(v) / made[k].runs for k, v in took.items()}
    best = min(v for k, v in median.items() if k.startswith("torch"))
    rows = {
        k: {"seconds": v, "times": best / v, "all_seconds": took[k], **used[k]}
        for k, v in median.items()
    }
    return {"machine": where, "runs": runs, "contenders": rows}


def table(figures: dict[str, Any]) -> str:
    """The figures to be read."""
    lines = [", ".join(f"{k} {v}" for k, v in figures["machine"].items() if v), ""]
    lines.append(f"{'':16}{'s/epoch/run':>12}{'times':>8}{'MiB':>8}{'of it':>8}")
    for name, r in figures["contenders"].items():
        lines.append(
            f"{name:16}{r['seconds']:12.4f}{r['times']:8.2f}"
            f"{r['peak_mib']:8.0f}{r['increase_mib']:8.0f}"
        )
    lines += ["", f"_...: {figures['runs']} runs in one program. times: as fast as the"]
    lines += ["faster PyTorch. MiB: peak, and its part beyond framework and data."]
    return "\n".join(lines)


def main() -> None:
    """Measures, prints the table and writes the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", choices=contenders(1), help="print its memory")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    a = parser.parse_args()
    if a.only:
        print(json.dumps(memory_of(a.only, a.runs, a.device)))
        return
    figures = figures_of(a.runs, a.epochs)
    print(table(figures))
    if a.out:
        a.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
