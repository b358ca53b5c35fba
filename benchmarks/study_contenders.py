"""PyTorch's ways to train many runs of NN1 at once, and to compile one's step.

The one-by-one versions are those of `mtl_contenders`. Here `torch.func.vmap` takes all
runs through a step together, and `torch.compile` makes one kernel of what lies between
the products of a step.
"""

from typing import Any

import numpy as np

from benchmarks.mtl_contenders import (
    CLASSES,
    HIT,
    Autograd,
    ByHand,
    Problem,
    Torch,
    load_torch,
)

CAPACITY = 40  # Labelled rows of a batch that a step of all runs has room for.


class OneByOne:
    """Runs of a contender of `mtl_contenders`, one after the other."""

    def __init__(self, kind: type[Torch], problem: Problem, device: str, runs: int):
        self.each = [kind(problem, device) for _ in range(runs)]

    def epoch(self, weights: tuple[float, float], rate: float) -> np.ndarray:
        """[runs, 2] sums of losses."""
        return np.stack([each.epoch(weights, rate) for each in self.each])


class Compiled(ByHand):
    """The steps of `ByHand`, by `torch.compile`: CUDA graphs on a GPU."""

    def __init__(self, problem: Problem, device: str) -> None:
        super().__init__(problem, device)
        import torch

        mode = "reduce-overhead" if device == "gpu" else "default"
        if "reconstruct" not in STEPS:
            STEPS["reconstruct"] = torch.compile(_reconstruct, mode=mode)
            STEPS["classify"] = torch.compile(_classify, mode=mode, dynamic=True)

    def reconstruct(self, x: Any, given: Any, step: float) -> Any:
        """One step on x [B, INPUTS], coded from `given`; the sum of the losses."""
        step = x.new_tensor(step)
        return STEPS["reconstruct"](self.w, self.b, self.c, x, given, step)

    def classify(self, x: Any, y: Any, step: float) -> Any:
        """One step on x [B, INPUTS] with labels y; the sum of the losses."""
        step = x.new_tensor(step)
        return STEPS["classify"](self.w, self.b, self.v, self.d, x, y, step)


STEPS: dict[str, Any] = {}


class Stacked:
    """All runs in each step: `vmap` of `grad`, over parameters [runs, ...]."""

    def __init__(self, problem: Problem, device: str, runs: int) -> None:
        torch = load_torch()
        one = Torch(problem, device)
        self.runs, self.batch, self.noisy = runs, problem.batch, problem.noisy
        self.image, self.label = one.image, one.label
        self.w, self.b, self.c, self.v, self.d = (
            t.expand(runs, *t.shape).clone() for t in one.tensors
        )
        self.rec = torch.func.vmap(torch.func.grad_and_value(_rec_loss))
        self.cls = torch.func.vmap(torch.func.grad_and_value(_cls_loss))

    def epoch(self, weights: tuple[float, float], rate: float) -> np.ndarray:
        """[runs, 2] sums of losses."""
        import torch

        loss = torch.zeros(2, self.runs, device=self.image.device)
        total = len(self.image)
        order = torch.rand(self.runs, total, device=self.image.device).argsort(1)
        for rows in order.split(self.batch, 1):
            label = self.label[rows]
            if weights[0]:
                x = self.image[rows]
                coder = (self.w, self.b, self.c)
                grads, value = self.rec(coder, x, self._corrupt(x))
                self._move(coder, grads, weights[0] * rate / rows.shape[1])
                loss[0] += value
            # The labelled rows first, as many as there is room for.
            front = (label >= 0).int().argsort(1, descending=True)[:, :CAPACITY]
            y = label.gather(1, front)
            x = self.image[rows.gather(1, front)]
            moved = (self.w, self.b, self.v, self.d)
            grads, value = self.cls(moved, x, y)
            count = (y >= 0).sum(1).clamp(min=1)
            self._move(moved, grads, weights[1] * rate / count)
            loss[1] += value
        return loss.T.cpu().numpy()

    def params(self) -> list[np.ndarray]:
        """Of the first run, in the order of `Torch.tensors`."""
        kept = (self.w, self.b, self.c, self.v, self.d)
        return [t[0].cpu().numpy() for t in kept]

    def _corrupt(self, x: Any) -> Any:
        import torch

        if not self.noisy:
            return x
        dice = torch.randint_like(x, 256, dtype=torch.uint8)
        return torch.where(dice < HIT, 0, x)

    def _move(self, moved: tuple, grads: tuple, step: Any) -> None:
        for p, g in zip(moved, grads, strict=True):
            shape = (-1, *[1] * (p.ndim - 1))
            by = step.view(shape) if hasattr(step, "view") else step
            p.sub_(g * by)


def _rec_loss(moved: tuple, x: Any, given: Any) -> Any:
    import torch

    w, b, c = moved
    z = torch.tanh(given @ w.t() + b) @ w + c
    return (torch.nn.functional.softplus(z) - x * z).sum()


def _cls_loss(moved: tuple, x: Any, y: Any) -> Any:
    import torch

    w, b, v, d = moved
    z = torch.tanh(x @ w.t() + b) @ v.t() + d
    own = z.log_softmax(1).gather(1, y.clamp(min=0)[:, None])[:, 0]
    return -torch.where(y >= 0, own, 0).sum()


def _reconstruct(w: Any, b: Any, c: Any, x: Any, given: Any, step: Any) -> Any:
    import torch

    h = torch.tanh(given @ w.t() + b)
    z = h @ w + c
    loss = (torch.nn.functional.softplus(z) - x * z).sum()
    dz = z.sigmoid() - x
    da = (dz @ w.t()) * (1 - h * h)
    w.sub_(step * (h.t() @ dz + da.t() @ given))
    b.sub_(step * da.sum(0))
    c.sub_(step * dz.sum(0))
    return loss


def _classify(w: Any, b: Any, v: Any, d: Any, x: Any, y: Any, step: Any) -> Any:
    import torch

    h = torch.tanh(x @ w.t() + b)
    z = h @ v.t() + d
    loss = torch.nn.functional.cross_entropy(z, y, reduction="sum")
    dz = z.softmax(1) - torch.nn.functional.one_hot(y, CLASSES)
    da = (dz @ v) * (1 - h * h)
    v.sub_(step * (dz.t() @ h))
    d.sub_(step * dz.sum(0))
    w.sub_(step * (da.t() @ x))
    b.sub_(step * da.sum(0))
    return loss


def makers(runs: int) -> dict[str, Any]:
    """By name, `(problem, device) -> contender`."""
    return {
        "torch_autograd": lambda p, d: OneByOne(Autograd, p, d, runs),
        "torch_by_hand": lambda p, d: OneByOne(ByHand, p, d, runs),
        "torch_compile": lambda p, d: OneByOne(Compiled, p, d, runs),
        "torch_vmap": lambda p, d: Stacked(p, d, runs),
    }


def check(problem: Problem, device: str) -> None:
    """An epoch of both steps, in one batch, changes the parameters alike everywhere.

    Raises:
      RuntimeError: two contenders do not do the same work.
    """
    expected = None
    for name, make in makers(2).items():
        contender = make(problem, device)
        contender.epoch((0.5, 0.5), 0.1)
        found = (
            contender.params()
            if isinstance(contender, Stacked)
            else [t.detach().cpu().numpy() for t in contender.each[0].tensors]
        )
        expected = expected or found
        for a, b in zip(found, expected, strict=True):
            if not np.abs(a - b).max() <= 1e-5 * max(1.0, np.abs(b).max()):
                raise RuntimeError(f"{name} does not do what the others do")
