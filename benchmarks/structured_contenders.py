"""System 2's epoch in PyTorch, in several ways.

The runs of a contender differ in the weights of their tasks, so a single run is a table
of one row. A task of weight 0 makes no step, here as in `mtl.engine.fit`.

PyTorch by hand is as fast as we could write it: loss sums stay tensors, masks come from
whole 64-bit random words, both uses of a tied matrix make one product of [2B, in] and
[2B, out]. There are three ways to move a matrix by its product:

    addmm    the product goes into the velocity, and no gradient is stored; by blocks of
             rows that stay in the cache until the weights have moved as well
    fused    the gradient is stored, and `torch._fused_sgd_` passes once over the rest
    compile  `torch.compile` makes that pass
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import measure
from benchmarks.structured_problem import Problem
from mtl.host.launch import cores

if TYPE_CHECKING:
    import torch
    from torch.nn import functional as F

RATE, MOMENTUM, L2, LEVEL = 1e-3, 0.9, 1e-2, 0.2
HIT = round(256 * LEVEL)  # Bytes below are masked, here as in `mtl.tasks.corruption`.
BLOCK = 250  # Rows of a matrix that fit into the second-level caches.
LAYERS = ("encoder_in/1", "link/1", "link/2", "decoder_out/1")  # Of the main network.
ACTS = ("sigmoid", "sigmoid", "tanh", "tanh")  # Of these.
SLOPES = {"sigmoid": lambda a: a * (1 - a), "tanh": lambda a: 1 - a * a}
# Of each auto-encoder, the kernel, the biases and the activation.
AUTO = (
    ("encoder_in/1/kernel", "encoder_in/1/bias", "decoder_in/1/bias", "sigmoid"),
    ("decoder_out/1/kernel", "encoder_out/1/bias", "decoder_out/1/bias", "tanh"),
)
MAIN = tuple(f"{k}/{x}" for k in LAYERS for x in ("kernel", "bias"))
MOVED = (AUTO[0][:3], AUTO[1][:3], MAIN)


class Torch:
    """What the PyTorch versions share: runs one after the other, kernels as ours."""

    reconstruct: Callable[..., Any]
    supervise: Callable[..., Any]

    def __init__(
        self, problem: Problem, weights: Sequence, device: str, how: str
    ) -> None:
        load_torch()
        self.device = torch.device("cuda" if device == "gpu" else "cpu")
        on = partial(torch.as_tensor, device=self.device)
        self.x, self.y = on(problem.x), on(problem.y)
        self.batch, self.noisy = problem.batch, problem.noisy
        self.weights, self.runs, self.how = weights, len(weights), how
        start = {k: on(v) for k, v in problem.params.items()}
        self.params = [{k: v.clone() for k, v in start.items()} for _ in weights]
        self.speeds = [
            [{k: torch.zeros_like(p[k]) for k in names} for names in MOVED]
            for p in self.params
        ]
        words = torch.empty(-(-self.batch * self.x.shape[1] // 8)).long()
        self.words = words.to(self.device)
        self.dice = self.words.view(torch.uint8)
        self.losses = torch.zeros(self.runs, 3, dtype=self.x.dtype, device=self.device)

    def epoch(self, rate: float, key: Any = None, order: Any = None) -> np.ndarray:
        """One epoch; [runs, 3] sums of losses. order: of rows; None draws others."""
        self.losses.zero_()
        self.rate = rate
        for run in range(self.runs):
            own = torch.randperm(len(self.x)) if order is None else order.copy()
            self.run, self.w = run, self.weights[run]
            self.p, self.v = self.params[run], self.speeds[run]
            own = torch.as_tensor(own, device=self.device)
            with torch.no_grad():
                for rows in own.split(self.batch):
                    self.batch_steps(self.x[rows], self.y[rows])
        return self.losses.cpu().numpy().copy()

    def batch_steps(self, x: Any, y: Any) -> None:
        """The step of each task that has a weight, on one batch."""
        losses = self.losses[self.run]
        if self.w[0]:
            given = self.corrupt(x) if self.noisy else x
            losses[0] += self.reconstruct(0, given, x)
        if self.w[1]:
            losses[1] += self.reconstruct(1, y, y)
        if self.w[2]:
            losses[2] += self.supervise(x, y)

    def corrupt(self, x: Any) -> Any:
        """A copy of x [B, inputs], masked."""
        self.words.random_(-(2**63), None)
        return x * (self.dice[: x.numel()].view(x.shape) >= HIT)

    def forward(self, i: int, given: Any) -> tuple[Any, Any, Any]:
        """Code, centred code and reconstruction of an auto-encoder."""
        kernel, below, above, act = AUTO[i]
        w, act = self.p[kernel], getattr(torch, act)
        forth, back = (w, w.t()) if i == 0 else (w.t(), w)
        code = act(torch.addmm(self.p[below], given, forth))
        centred = code - code.mean(0)
        return code, centred, act(torch.addmm(self.p[above], centred, back))

    def layers(self, x: Any) -> list[Any]:
        """[x, ..., M(x)]: all the layers of the main network."""
        found = [x]
        for k, act in zip(LAYERS, ACTS, strict=True):
            z = torch.addmm(self.p[f"{k}/bias"], found[-1], self.p[f"{k}/kernel"])
            found.append(getattr(torch, act)(z))
        return found

    def moved(self, run: int) -> dict[str, np.ndarray]:
        """The parameters of a run, and its velocities by task and name."""
        found = dict(self.params[run])
        for i, own in enumerate(self.speeds[run]):
            found |= {f"velocity {i} {k}": v for k, v in own.items()}
        return {k: v.detach().cpu().numpy() for k, v in found.items()}


class Autograd(Torch):
    """The backward pass is PyTorch's; how: "foreach" or "fused", of its SGD.

    L2 is SGD's weight decay, which costs less than the gradient of a sum of squares.
    """

    def __init__(
        self, problem: Problem, weights: Sequence, device: str, how: str
    ) -> None:
        super().__init__(problem, weights, device, how)
        for p in self.params:
            for tensor in p.values():
                tensor.requires_grad_()
        self.sgd = [[self.make(run, i) for i in range(3)] for run in range(self.runs)]

    def make(self, run: int, i: int) -> Any:
        """The optimizer of a step, its velocities ours."""
        p, decay = self.params[run], 2 * L2 * self.weights[run][i] * (i < 2)
        kernels = [p[k] for k in MOVED[i] if k.endswith("kernel")]
        biases = [p[k] for k in MOVED[i] if k.endswith("bias")]
        groups = [{"params": kernels, "weight_decay": decay}, {"params": biases}]
        made = torch.optim.SGD(groups, RATE, MOMENTUM, **{self.how: True})
        for k, v in self.speeds[run][i].items():
            made.state[p[k]]["momentum_buffer"] = v
        return made

    def reconstruct(self, i: int, given: Any, target: Any) -> Any:
        """One step of an auto-encoder; the sum of the losses."""
        with torch.enable_grad():
            out = self.forward(i, given)[-1]
            loss = F.mse_loss(out, target, reduction="sum")
        return self.move(i, loss, len(given))

    def supervise(self, x: Any, y: Any) -> Any:
        """One step on the pairs; the sum of the losses."""
        with torch.enable_grad():
            out = self.layers(x)[-1]
            loss = F.mse_loss(out, y, reduction="sum") / y.shape[1]
        return self.move(2, loss, len(x))

    def move(self, i: int, loss: Any, rows: int) -> Any:
        """One step of SGD on the mean of the losses."""
        sgd = self.sgd[self.run][i]
        with torch.enable_grad():
            (loss * (self.w[i] / rows)).backward()
        for group in sgd.param_groups:
            group["lr"] = self.rate
        sgd.step()
        sgd.zero_grad()
        return loss.detach()


class ByHand(Torch):
    """The backward pass is written out; how: see the module."""

    def __init__(
        self, problem: Problem, weights: Sequence, device: str, how: str
    ) -> None:
        super().__init__(problem, weights, device, how)
        self.stored = {k: torch.empty_like(v) for k, v in self.params[0].items()}
        self.step = fused
        if how == "compile":
            torch._dynamo.reset()  # There is a limit on how often it compiles.
            self.step = torch.compile(one_pass, fullgraph=True, dynamic=True)

    def reconstruct(self, i: int, given: Any, target: Any) -> Any:
        """One step of an auto-encoder; the sum of the losses."""
        kernel, below, above, act = AUTO[i]
        w, slope, rows = self.p[kernel], SLOPES[act], len(given)
        code, centred, out = self.forward(i, given)
        error = out - target
        loss = error.square().sum()
        dz = slope(out).mul_(error).mul_(2 * self.w[i] / rows)
        dh = dz @ (w if i == 0 else w.t())
        da = slope(code).mul_(dh - dh.mean(0))
        wide, narrow = torch.cat([given, dz]), torch.cat([da, centred])
        pair = (wide, narrow) if i == 0 else (narrow, wide)
        self.move(i, kernel, *pair, 2 * L2 * self.w[i])
        self.shift(i, {below: da.sum(0), above: dz.sum(0)})
        return loss

    def supervise(self, x: Any, y: Any) -> Any:
        """One step on the pairs; the sum of the losses."""
        layers, biases = self.layers(x), {}
        error = layers[-1] - y
        d = error * (2 * self.w[2] / error.numel())
        for n in reversed(range(4)):
            name = LAYERS[n]
            d = SLOPES[ACTS[n]](layers[n + 1]).mul_(d)
            below = d @ self.p[f"{name}/kernel"].t() if n else None
            self.move(2, f"{name}/kernel", layers[n], d, 0.0)
            biases[f"{name}/bias"] = d.sum(0)
            d = below
        self.shift(2, biases)
        return error.square().sum() / y.shape[1]

    def move(self, i: int, name: str, left: Any, right: Any, decay: float) -> None:
        """One step of a kernel; its gradient is left' right + decay kernel."""
        w, v, left = self.p[name], self.v[i][name], left.t()
        if self.how != "addmm":
            torch.mm(left, right, out=self.stored[name])
            rates: list[Any] = [decay, self.rate]
            if self.how == "compile":  # It would compile again for another number.
                rates = [w.new_tensor(r) for r in rates]
            self.step([w], [self.stored[name]], [v], *rates)
            return
        for part in zip(w.split(BLOCK), v.split(BLOCK), left.split(BLOCK), strict=True):
            part[1].addmm_(part[2], right, beta=MOMENTUM)
            if decay:
                part[1].add_(part[0], alpha=decay)
            part[0].sub_(part[1], alpha=self.rate)

    def shift(self, i: int, grads: dict[str, Any]) -> None:
        """One step of the biases."""
        w, v = [self.p[k] for k in grads], [self.v[i][k] for k in grads]
        fused(w, list(grads.values()), v, 0.0, self.rate)


def fused(w: list, g: list, v: list, decay: float, rate: float) -> None:
    """SGD's own kernel."""
    off = dict.fromkeys(("nesterov", "maximize", "is_first_step"), False)
    rates = dict(weight_decay=decay, momentum=MOMENTUM, lr=rate, dampening=0.0)
    torch._fused_sgd_(w, g, v, **rates, **off)


def one_pass(w: list, g: list, v: list, decay: Any, rate: Any) -> None:
    """The same, for `torch.compile`."""
    v[0].mul_(MOMENTUM).add_(g[0]).add_(w[0] * decay)
    w[0].sub_(v[0] * rate)


def load_torch() -> Any:
    """Not at the top: see `mtl_contenders.load_jax`."""
    global torch, F
    measure.need("torch")
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(cores())
    return torch
