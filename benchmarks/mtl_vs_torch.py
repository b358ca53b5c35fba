"""An epoch of `mtl.engine` beside the same epoch in eager PyTorch: time and memory.

    python -m benchmarks.mtl_vs_torch [--runs 8] [--epochs 7] [--out FILE.json]

The work is NN1 (784-50-10, tanh, tied decoder) on 1,000 labelled and 49,000 unlabelled
rows of random numbers, four in five of them 0: shuffle; in each batch of 600 a step on
the denoising cross-entropy of all the rows (a fifth of the inputs masked), then one on
the softmax cross-entropy of the labelled rows alone; and the sums of both losses.

First, without noise, every contender has to give the losses and gradients that the
others give, or nothing is measured. The contenders take turns, an epoch each; what
counts is the median. Memory is that of a process that does nothing else.

PyTorch is as fast as we could write it: loss sums stay tensors, the optimizer is one
`_foreach_add_`, gathers go into a buffer, masks come from whole 64-bit random words
(`bernoulli_` takes 18 times as long on a CPU, `rand_like` and a comparison 4 times),
and the version with a backward pass by hand adds its products to the weights directly.
"""

import argparse
import datetime
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

INPUTS, HIDDEN, CLASSES = 784, 50, 10
LABELLED, UNLABELLED, BATCH = 1000, 49_000, 600
LEVEL, RATE, WEIGHTS = 0.2, 0.01, (0.5, 0.5)  # WEIGHTS: reconstruct, classify.
HIT = round(256 * LEVEL)  # Bytes below are masked, here as in `mtl.noise`.
TOLERANCE = 1e-5
WARM_UP = 2


class Problem(NamedTuple):
    """What all contenders start from, in NumPy. label: -1 where there is none."""

    image: np.ndarray
    label: np.ndarray
    params: dict[str, np.ndarray]
    batch: int = BATCH
    noisy: bool = True


def make_problem(labelled: int, unlabelled: int, **settings: Any) -> Problem:
    """Random rows and weights, without large temporary arrays (memory is measured)."""
    rng, rows = np.random.default_rng(0), labelled + unlabelled
    # Aligned, so that both frameworks use this memory and make no copy of it.
    raw = np.empty(rows * INPUTS + 16, np.float32)
    image = raw[-raw.ctypes.data % 64 // 4 :][: rows * INPUTS].reshape(rows, INPUTS)
    rng.random(out=image, dtype=np.float32)
    image -= 0.8
    image *= 5
    np.maximum(image, 0, out=image)
    label = np.where(np.arange(rows) < labelled, np.arange(rows) % CLASSES, -1)

    def kernel(*shape: int) -> np.ndarray:
        bound = math.sqrt(6 / sum(shape))
        return rng.uniform(-bound, bound, shape).astype(np.float32)

    params = {
        "encoder/1/kernel": kernel(INPUTS, HIDDEN),
        "encoder/1/bias": np.zeros(HIDDEN, np.float32),
        "decoder/1/bias": np.zeros(INPUTS, np.float32),
        "classifier/kernel": kernel(HIDDEN, CLASSES),
        "classifier/bias": np.zeros(CLASSES, np.float32),
    }
    return Problem(image, rng.permutation(label).astype(np.int32), params, **settings)


class Ours:
    """`mtl.engine`: one run (`how` is ""), or `runs` by "vmap" or "map"."""

    def __init__(self, problem: Problem, device: str, runs: int, how: str) -> None:
        jax, jnp = load_jax(device)
        from mtl import batches, config, engine, methods, task

        c = config.default()
        c.model.update({"hidden": (HIDDEN,), "activation": "tanh", "tied": True})
        level = LEVEL if problem.noisy else 0.0
        c.reconstruct.update({"loss": "cross_entropy", "scale": 1.0})
        c.reconstruct.update({"noise": "mask", "level": level})
        c.classify.reduction = "mean"
        tasks = [methods.reconstruct(c), methods.classify(c)]
        self.data = {
            "image": jax.device_put(problem.image, may_alias=True),
            "label": jnp.asarray(problem.label),
        }
        capacity = batches.capacities(tasks, self.data, problem.batch)
        made = engine.make_engine(tasks, batch_size=problem.batch, capacity=capacity)
        self.runs = runs if how else 1
        self.shape = (runs,) if how else ()
        state = made.init(task.unflatten(jax.tree.map(jnp.asarray, problem.params)))
        self.state = jax.tree.map(
            lambda x: jnp.broadcast_to(x, (*self.shape, *x.shape)), state
        )
        self.key = jax.random.key(0)
        self.flatten = task.flatten

        def one_after_the_other(states, data, weights, rate, keys):
            each = lambda x: made.epoch(x[0], data, weights, rate, x[1])  # noqa: E731
            return jax.lax.map(each, (states, keys))

        at_once = jax.vmap(made.epoch, in_axes=(0, None, None, None, 0))
        programs = {"": made.epoch, "vmap": at_once, "map": one_after_the_other}
        self.program = engine.compiled(programs[how])

    def epoch(self, weights: tuple[float, float], rate: float) -> np.ndarray:
        """One epoch of all the runs; [..., 2] sums of losses."""
        import jax

        self.key, now = jax.random.split(self.key)
        keys = jax.random.split(now, self.shape) if self.shape else now
        weights, rate = np.asarray(weights, np.float32), np.float32(rate)
        self.state, metrics = self.program(self.state, self.data, weights, rate, keys)
        jax.block_until_ready(self.state)
        return np.asarray(metrics.loss)

    def params(self) -> dict[str, np.ndarray]:
        """The parameters now, each with an axis of runs in front if there are runs."""
        return {k: np.asarray(v) for k, v in self.flatten(self.state.params).items()}


class Torch:
    """What the two PyTorch versions share; parameters in the layout of `nn.Linear`."""

    runs = 1

    def __init__(self, problem: Problem, device: str) -> None:
        load_torch()
        self.device = torch.device("cuda" if device == "gpu" else "cpu")
        on = partial(torch.as_tensor, device=self.device)
        self.image, self.label = on(problem.image), on(problem.label).long()
        copies = [on(p.T.copy()) for p in problem.params.values()]
        self.names, self.tensors = tuple(problem.params), copies
        self.w, self.b, self.c, self.v, self.d = copies
        self.batch, self.noisy = problem.batch, problem.noisy
        shape = (self.batch, INPUTS)
        self.clean, self.given = (torch.empty(shape, device=self.device) for _ in "12")
        words = torch.empty(math.prod(shape) // 8, dtype=torch.int64)
        self.words = words.to(self.device)
        self.dice = self.words.view(torch.uint8).view(shape)

    def epoch(self, weights: tuple[float, float], rate: float) -> np.ndarray:
        """One epoch; [2] sums of losses."""
        steps = [weight * rate for weight in weights]
        loss = torch.zeros(2, device=self.device)
        order = torch.randperm(len(self.image), device=self.device)
        batches = order.split(self.batch)
        at = (self.label[order] >= 0).nonzero().squeeze(1)
        counts = torch.bincount(at // self.batch, minlength=len(batches)).tolist()
        with torch.no_grad():
            for rows, labelled in zip(batches, order[at].split(counts), strict=True):
                x = torch.index_select(self.image, 0, rows, out=self.clean[: len(rows)])
                given = self.corrupt(x) if self.noisy else x
                loss[0] += self.reconstruct(x, given, steps[0] / len(rows))
                if len(labelled):
                    x, y = self.image[labelled], self.label[labelled]
                    loss[1] += self.classify(x, y, steps[1] / len(y))
        return loss.cpu().numpy()

    def corrupt(self, x: Any) -> Any:
        """A copy of x [B, INPUTS], masked, in a buffer."""
        self.words.random_(-(2**63), None)
        n = len(x)
        return torch.mul(x, self.dice[:n] >= HIT, out=self.given[:n])

    def params(self) -> dict[str, np.ndarray]:
        """The parameters now, under our names."""
        return {
            name: tensor.detach().cpu().numpy().T.copy()
            for name, tensor in zip(self.names, self.tensors, strict=True)
        }


class Autograd(Torch):
    """The backward pass is PyTorch's."""

    def __init__(self, problem: Problem, device: str) -> None:
        super().__init__(problem, device)
        for p in self.tensors:
            p.requires_grad_()

    def reconstruct(self, x: Any, given: Any, step: float) -> Any:
        """One step on x [B, INPUTS], coded from `given`; the sum of the losses."""
        with torch.enable_grad():
            h = torch.tanh(torch.addmm(self.b, given, self.w.t()))
            z = torch.addmm(self.c, h, self.w)
            loss = F.binary_cross_entropy_with_logits(z, x, reduction="sum")
        return self.move(loss, (self.w, self.b, self.c), step)

    def classify(self, x: Any, y: Any, step: float) -> Any:
        """One step on x [B, INPUTS] with labels y; the sum of the losses."""
        with torch.enable_grad():
            h = torch.tanh(torch.addmm(self.b, x, self.w.t()))
            z = torch.addmm(self.d, h, self.v.t())
            loss = F.cross_entropy(z, y, reduction="sum")
        return self.move(loss, (self.w, self.b, self.v, self.d), step)

    def move(self, loss: Any, moved: tuple[Any, ...], step: float) -> Any:
        """Plain SGD."""
        torch._foreach_add_(moved, torch.autograd.grad(loss, moved), alpha=-step)
        return loss.detach()


class ByHand(Torch):
    """The backward pass is written out, and each product added where it belongs."""

    def reconstruct(self, x: Any, given: Any, step: float) -> Any:
        """One step on x [B, INPUTS], coded from `given`; the sum of the losses."""
        h = torch.addmm(self.b, given, self.w.t()).tanh_()
        z = torch.addmm(self.c, h, self.w)
        loss = F.softplus(z).sum() - torch.dot(x.view(-1), z.view(-1))
        dz = z.sigmoid_().sub_(x)
        da = (dz @ self.w.t()).mul_(1 - h * h)
        self.w.addmm_(h.t(), dz, alpha=-step).addmm_(da.t(), given, alpha=-step)
        self.b.add_(da.sum(0), alpha=-step)
        self.c.add_(dz.sum(0), alpha=-step)
        return loss

    def classify(self, x: Any, y: Any, step: float) -> Any:
        """One step on x [B, INPUTS] with labels y; the sum of the losses."""
        h = torch.addmm(self.b, x, self.w.t()).tanh_()
        z = torch.addmm(self.d, h, self.v.t())
        dz = z.softmax(1).sub_(F.one_hot(y, CLASSES))
        da = (dz @ self.v).mul_(1 - h * h)
        self.v.addmm_(dz.t(), h, alpha=-step)
        self.d.add_(dz.sum(0), alpha=-step)
        self.w.addmm_(da.t(), x, alpha=-step)
        self.b.add_(da.sum(0), alpha=-step)
        return F.cross_entropy(z, y, reduction="sum")


def contenders(runs: int) -> dict[str, Any]:
    """By name, `(problem, device) -> contender`."""
    return {
        "ours": partial(Ours, runs=1, how=""),
        "ours_vmap": partial(Ours, runs=runs, how="vmap"),
        "ours_map": partial(Ours, runs=runs, how="map"),
        "torch_autograd": Autograd,
        "torch_by_hand": ByHand,
    }


def load_jax(device: str) -> tuple[Any, Any]:
    """Not at the top: a process whose memory is measured loads one framework alone."""
    import jax
    import jax.numpy as jnp

    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    else:  # Whole float32 products, as in PyTorch.
        jax.config.update("jax_default_matmul_precision", "highest")
    jax.devices()
    return jax, jnp


def load_torch() -> None:
    """See `load_jax`."""
    global torch, F
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(cores())


def find_device() -> str:
    """The GPU if both frameworks can use it, else the CPU."""
    load_torch()
    if not torch.cuda.is_available():
        return "cpu"
    import jax

    return "gpu" if jax.default_backend() == "gpu" else "cpu"


def check(makers: dict[str, Any], device: str, noisy: bool = False) -> None:
    """Losses, gradients of each task, and an epoch of both steps.

    The rows are a single batch that is not full, so the shuffle plays no part, and at
    a rate of 1 a step is the gradient. With noise, PyTorch's versions can be compared
    with each other only: they draw the same numbers.

    Raises:
      RuntimeError: two contenders do not do the same work.
    """
    small = make_problem(20, 30, batch=64, noisy=noisy)
    for weights, rate in (((1, 0), 1.0), ((0, 1), 1.0), (WEIGHTS, 0.1)):
        expected = None
        for name, make in makers.items():
            contender = make(small, device)
            torch.manual_seed(0)
            loss = np.where(weights, contender.epoch(weights, rate), 0)
            change = {k: v - small.params[k] for k, v in contender.params().items()}
            found = {"loss": loss, **change}
            expected = expected or found
            for k, value in found.items():
                error = np.abs(value - expected[k]).max()
                rounding = 2 * np.finfo(np.float32).eps * (k != "loss")
                if not error <= TOLERANCE * np.abs(expected[k]).max() + rounding:
                    raise RuntimeError(f"{name}, weights {weights}: {k} is {error} off")


def check_noise(device: str) -> None:
    """Both frameworks mask the same share of the inputs.

    Raises:
      RuntimeError: they do not.
    """
    jax, jnp = load_jax(device)
    from mtl import noise

    other = Torch(make_problem(1, 0), device)
    mine = noise.corrupt(jax.random.key(0), jnp.ones((BATCH, INPUTS)), "mask", LEVEL)
    theirs = other.corrupt(torch.ones((BATCH, INPUTS), device=other.device))
    for kept in (float(mine.mean()), float(theirs.mean())):
        if abs(kept - (1 - HIT / 256)) > 0.01:
            raise RuntimeError(f"{kept} of the inputs are kept")


def seconds(made: dict[str, Any], epochs: int) -> dict[str, list[float]]:
    """Seconds of each epoch, for a run, of contenders that take turns."""
    took: dict[str, list[float]] = {name: [] for name in made}
    for turn in range(WARM_UP + epochs):
        for name, contender in made.items():
            start = time.perf_counter()
            contender.epoch(WEIGHTS, RATE)
            if turn >= WARM_UP:
                took[name].append((time.perf_counter() - start) / contender.runs)
    return took


def peak_mib() -> float:
    """The most memory that this process has held.

    Linux's own figure, where there is one: `ru_maxrss` is passed on by the parent.
    """
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(x.split(":", 1) for x in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory_of(name: str, runs: int, device: str) -> dict[str, float]:
    """Peak of this process, and what of it came after framework and data."""
    if name.startswith("ours"):
        load_jax(device)
        from mtl import batches, engine, methods  # noqa: F401
    else:
        load_torch()
    problem = make_problem(LABELLED, UNLABELLED)
    before = peak_mib()
    contender = contenders(runs)[name](problem, device)
    for _ in range(WARM_UP):
        contender.epoch(WEIGHTS, RATE)
    return {"peak_mib": peak_mib(), "increase_mib": peak_mib() - before}


def memory(name: str, runs: int, device: str) -> dict[str, float]:
    """`memory_of` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.mtl_vs_torch", "--only", name]
    command += ["--runs", str(runs), "--device", device]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def cores() -> int:
    """How many this process may use."""
    few = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if few else os.cpu_count() or 1


def machine(device: str) -> dict[str, Any]:
    """Where and with what this was measured."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [x.split(":")[1].strip() for x in lines if x.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": cores(),
        "load before": f"{os.getloadavg()[0]:.1f}",  # PyTorch suffers most by others'.
        "gpu": torch.cuda.get_device_name() if device == "gpu" else None,
        "python": platform.python_version(),
        **{x: metadata.version(x) for x in ("jax", "jaxlib", "torch")},
        "date": datetime.date.today().isoformat(),
    }


def measure(runs: int, epochs: int) -> dict[str, Any]:
    """All the figures."""
    device = find_device()
    where = machine(device)
    makers = contenders(runs)
    check_noise(device)
    check(makers, device)
    check({k: v for k, v in makers.items() if k.startswith("torch")}, device, True)
    used = {name: memory(name, runs, device) for name in makers}
    problem = make_problem(LABELLED, UNLABELLED)
    took = seconds({k: make(problem, device) for k, make in makers.items()}, epochs)
    median = {k: statistics.median(v) for k, v in took.items()}
    best = min(v for k, v in median.items() if k.startswith("torch"))
    rows = {
        k: {"seconds": v, "ratio": v / best, "all_seconds": took[k], **used[k]}
        for k, v in median.items()
    }
    return {"machine": where, "runs": runs, "contenders": rows}


def table(figures: dict[str, Any]) -> str:
    """The figures to be read."""
    lines = [", ".join(f"{k} {v}" for k, v in figures["machine"].items() if v), ""]
    lines.append(f"{'':16}{'s/epoch/run':>12}{'/ PyTorch':>11}{'MiB':>8}{'of it':>8}")
    for name, r in figures["contenders"].items():
        lines.append(
            f"{name:16}{r['seconds']:12.4f}{r['ratio']:11.2f}"
            f"{r['peak_mib']:8.0f}{r['increase_mib']:8.0f}"
        )
    lines += ["", f"_vmap, _map: {figures['runs']} runs in one program. PyTorch: the"]
    lines += ["faster version. MiB: peak, and its part beyond framework and data."]
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
    figures = measure(a.runs, a.epochs)
    print(table(figures))
    if a.out:
        a.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
