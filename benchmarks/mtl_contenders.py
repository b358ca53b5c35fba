"""NN1's epoch in `mtl.engine` and in eager PyTorch, and a check that both are equal.

PyTorch is as fast as we could write it: loss sums stay tensors, the optimizer is one
`_foreach_add_`, gathers go into a buffer, masks come from whole 64-bit random words
(faster on a CPU than `bernoulli_` or `rand_like`), and the version with a backward pass
by hand adds its products to the weights directly.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks import measure
from mtl.host.launch import cores

if TYPE_CHECKING:
    import torch
    from torch.nn import functional as F

INPUTS, HIDDEN, CLASSES = 784, 50, 10
LABELLED, UNLABELLED, BATCH = 1000, 49_000, 600
LEVEL, RATE, WEIGHTS = 0.2, 0.01, (0.5, 0.5)  # WEIGHTS: reconstruct, classify.
HIT = round(256 * LEVEL)  # Bytes below are masked, here as in `mtl.tasks.corruption`.
TOLERANCE = 1e-5


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
    """`mtl.engine`: one run (`how` is ""), or `runs` by "vmap", "map", "devices"."""

    def __init__(self, problem: Problem, device: str, runs: int, how: str) -> None:
        jax, jnp = load_jax(device)
        from mtl import config
        from mtl.engine import engine, task
        from mtl.engine.cpu import compiling
        from mtl.tasks import classify, reconstruct
        from mtl.tasks.network import Mlp

        c = config.default()
        level = LEVEL if problem.noisy else 0.0
        c.reconstruct.update({"loss": "cross_entropy", "scale": 1.0})
        c.reconstruct.update({"noise": "mask", "level": level})
        c.classify.reduction = "mean"
        network = Mlp(INPUTS, (HIDDEN,), CLASSES)
        tasks = [reconstruct.task(c, network), classify.task(c, network)]
        self.data = {
            "image": jax.device_put(problem.image, may_alias=True),
            "label": jnp.asarray(problem.label),
        }
        made = engine.make_engine(tasks, self.data, batch_size=problem.batch)
        self.runs = runs if how else 1
        self.shape = (runs,) if how else ()
        state = made.init(task.unflatten(jax.tree.map(jnp.asarray, problem.params)))
        self.state = jax.tree.map(
            lambda x: jnp.broadcast_to(x, (*self.shape, *x.shape)), state
        )
        self.key = jax.random.key(0)
        self.flatten = task.flatten

        def one_after_the_other(
            states: Any, data: Any, weights: Any, rate: Any, keys: Any
        ) -> Any:
            each = lambda x: made.epoch(x[0], data, weights, rate, x[1])  # noqa: E731
            return jax.lax.map(each, (states, keys))

        at_once = jax.vmap(made.epoch, in_axes=(0, None, None, None, 0))
        programs = {"": made.epoch, "vmap": at_once, "map": one_after_the_other}
        if how == "devices":
            programs[how] = self.spread(one_after_the_other)
        self.program = compiling.compiled(programs[how], problem.batch)

    def spread(self, program: Callable) -> Callable:
        """The runs shared out to all devices; a CPU has one a core."""
        import jax
        from jax.sharding import AxisType, NamedSharding, PartitionSpec

        own, all_ = PartitionSpec("run"), PartitionSpec()
        mesh = jax.make_mesh((jax.device_count(),), ("run",), (AxisType.Auto,))
        self.data = jax.device_put(self.data, NamedSharding(mesh, all_))
        self.state = jax.device_put(self.state, NamedSharding(mesh, own))
        specs = (own, all_, all_, all_, own)
        return jax.shard_map(
            program, mesh=mesh, in_specs=specs, out_specs=own, check_vma=False
        )

    def epoch(self, weights: tuple[float, float], rate: float) -> np.ndarray:
        """One epoch of all the runs; [..., 2] sums of losses."""
        import jax

        self.key, now = jax.random.split(self.key)
        keys = jax.random.split(now, self.shape) if self.shape else now
        numbers = np.asarray(weights, np.float32), np.float32(rate)
        self.state, metrics = self.program(self.state, self.data, *numbers, keys)
        jax.block_until_ready(self.state)
        return np.asarray(metrics.loss)

    def params(self) -> dict[str, np.ndarray]:
        """The parameters now, each with an axis of runs in front if there are runs."""
        return {k: np.asarray(v) for k, v in self.flatten(self.state.params).items()}


class Torch:
    """What the two PyTorch versions share; parameters in the layout of `nn.Linear`."""

    runs = 1
    reconstruct: Callable[..., Any]
    classify: Callable[..., Any]

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
                if steps[0]:
                    x = torch.index_select(
                        self.image, 0, rows, out=self.clean[: len(rows)]
                    )
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
        "ours_devices": partial(Ours, runs=runs, how="devices"),
        "torch_autograd": Autograd,
        "torch_by_hand": ByHand,
    }


def load_jax(device: str) -> tuple[Any, Any]:
    """Not at the top: a process for measuring memory loads one framework alone."""
    import jax
    import jax.numpy as jnp

    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", cores())
    else:  # Whole float32 products, as in PyTorch.
        jax.config.update("jax_default_matmul_precision", "highest")
    jax.devices()
    return jax, jnp


def load_torch() -> Any:
    """See `load_jax`."""
    global torch, F
    measure.need("torch")
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(cores())
    return torch


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
    from mtl.tasks import corruption

    other = Torch(make_problem(1, 0), device)
    mine = corruption.corrupt(
        jax.random.key(0), jnp.ones((BATCH, INPUTS)), "mask", LEVEL
    )
    theirs = other.corrupt(torch.ones((BATCH, INPUTS), device=other.device))
    for kept in (float(mine.mean()), float(theirs.mean())):
        if abs(kept - (1 - HIT / 256)) > 0.01:
            raise RuntimeError(f"{kept} of the inputs are kept")
