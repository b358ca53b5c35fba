"""VAT in PyTorch, written apart from `mtl.tasks.vat`: rounding and its direction.

    python -m benchmarks.vat_torch --data DIR [--epsilon 2] [--xi 1e-6] [--updates 500]

Like the code of the paper's authors on MNIST with 100 labels (github.com/takerum/vat):
batch normalisation of every layer, the logits too, with gain and bias; Adam at 0.002,
times 0.9 every 500 updates; in each the 100 labelled images and 250 others, with
statistics of their own; float32, no entropy. But 784-500-250-10, and the labels that
`mtl.data.datasets` draws with seed 0. DIR has MNIST's IDX files. `--xi 0` takes the
Hessian exactly; `--plain_top` leaves the logits as they are. Errors are in
docs/results/best.md.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from absl import flags

from benchmarks import measure
from mtl import config
from mtl.data import datasets, label_choice
from mtl.host import launch

if TYPE_CHECKING:
    import torch
    from torch.nn import functional

SIZES = (784, 500, 250, 10)
LABELS, BATCH, EPOCH, EVERY = 100, 250, 500, 250


def load_torch() -> None:
    """Imports PyTorch, or refuses to go on without it."""
    global torch, functional
    measure.need("torch")
    import torch
    from torch.nn import functional


class Network:
    """An MLP, each layer but perhaps the last one batch-normalised."""

    def __init__(self, plain_top: bool) -> None:
        self.layers = [
            [torch.randn(n, m) * n**-0.5, torch.ones(m), torch.zeros(m)]
            for n, m in pairwise(SIZES)
        ]
        self.normed = len(self.layers) - plain_top

    def parameters(self) -> list[Any]:
        """All tensors that move."""
        return [t.requires_grad_() for layer in self.layers for t in layer]

    def __call__(self, x: Any, moments: list | None = None) -> Any:
        """Logits; normalised by the batch's moments, or by those that are given."""
        for k, (kernel, gain, bias) in enumerate(self.layers):
            x = x @ kernel
            if k < self.normed:
                own = (x.mean(0), x.var(0, unbiased=False))
                mean, variance = moments[k] if moments else own
                x = gain * (x - mean) / torch.sqrt(variance + 1e-6)
            x = x + bias
            if k < len(self.layers) - 1:
                x = functional.relu(x)
        return x

    def moments(self, x: Any) -> list[tuple[Any, Any]]:
        """Mean and variance of each layer over x."""
        found: list[tuple[Any, Any]] = []
        for kernel, gain, bias in self.layers[: self.normed]:
            x = x @ kernel
            found.append((x.mean(0), x.var(0, unbiased=False)))
            normal = (x - found[-1][0]) / torch.sqrt(found[-1][1] + 1e-6)
            x = functional.relu(gain * normal + bias)
        return found


def unit(d: Any) -> Any:
    """Rows of length 1, as the authors' code has it."""
    d = d / (1e-12 + d.abs().amax(1, keepdim=True))
    return d / torch.sqrt(1e-6 + (d * d).sum(1, keepdim=True))


def direction(network: Network, x: Any, p: Any, xi: float) -> Any:
    """After one power iteration: by gradients xi apart, or exactly."""
    d = unit(torch.randn_like(x))
    if xi > 0:
        d = (xi * d).requires_grad_()
        cost = -(p * network(x + d).log_softmax(1)).sum(1).mean()
        return unit(torch.autograd.grad(cost, d)[0] / xi)
    x = x.clone().requires_grad_()
    z = network(x)
    u = torch.zeros_like(z, requires_grad=True)
    (back,) = torch.autograd.grad(z, x, u, create_graph=True)
    (pushed,) = torch.autograd.grad((back * d).sum(), u)
    change = p * pushed
    change = (change - p * change.sum(1, keepdim=True)).detach()
    return unit(torch.autograd.grad(network(x), x, change)[0])


def train(arguments: Sequence[str]) -> str:
    """Trains from command-line flags, and prints test errors; returns the last one."""
    launch.reject_extra_args(arguments)
    load_torch()
    a, error = flags.FLAGS, float("nan")
    c = config.default().data
    c.source, c.path, c.valid = "mnist", a.data, 10_000
    d = datasets.load(c)
    rows, y = label_choice.choose_rows(d.train.y, d.classes, LABELS, -1, 0, True)
    images, test = torch.tensor(d.train.x[rows]), torch.tensor(d.test.x)
    label, truth = torch.tensor(y[:LABELS]).long(), torch.tensor(d.test.y).long()
    torch.manual_seed(0)
    network = Network(a.plain_top)
    adam = torch.optim.Adam(network.parameters(), lr=0.002)
    sure = 0.0
    for update in range(a.updates):
        if update % EPOCH == 0:
            order, at = torch.randperm(len(images)), 0
        at = 0 if at + BATCH > len(images) else at
        x, at = images[order[at : at + BATCH]], at + BATCH
        adam.param_groups[0]["lr"] = 0.002 * 0.9 ** (update // EPOCH)
        own, z = network(images[:LABELS]), network(x).detach()
        r = a.epsilon * direction(network, x, z.softmax(1), a.xi)
        clean, moved = z.log_softmax(1), network(x + r).log_softmax(1)
        divergence = (clean.exp() * (clean - moved)).sum(1).mean()
        adam.zero_grad()
        (functional.cross_entropy(own, label) + divergence).backward()
        adam.step()
        sure += z.softmax(1).amax(1).mean().item() / EVERY
        if (update + 1) % EVERY == 0:
            with torch.no_grad():
                guess = network(test, network.moments(images[::5])).argmax(1)
            error = 100 * (guess != truth).float().mean().item()
            print(f"{update + 1} updates: test error {error:.2f} %, mean largest "
                  f"probability {sure:.2f}", flush=True)  # fmt: skip
            sure = 0.0
    return f"the last test error is {error:.2f} %"


if __name__ == "__main__":
    flags.DEFINE_string("data", None, "The folder of MNIST's IDX files.")
    flags.DEFINE_float("epsilon", 2.0, "The length of the perturbation.")
    flags.DEFINE_float("xi", 1e-6, "Of the finite difference; 0 is exact.")
    flags.DEFINE_integer("updates", 500, "Update steps.")
    flags.DEFINE_bool("plain_top", False, "Leave the logits without normalisation.")
    launch.launch(train, "data")
