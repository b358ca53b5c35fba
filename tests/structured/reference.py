"""A naive Algorithm 2 of arXiv 1504.07550 in NumPy, independent of the packages.

A cost is a formula of complex128 parameters, a flat dict with keys like
"encoder_in/1/kernel"; gradients are complex-step derivatives.
"""

from typing import NamedTuple

import numpy as np

from tests.mtl.reference import gradient, sigmoid

ACTIVATIONS = {
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "relu": lambda z: np.where(z.real > 0, z, 0),
    "linear": lambda z: z,
}


class Side(NamedTuple):
    """An auto-encoder.

    activation: of its code. output: the activation of its reconstruction.
    strides: of its convolutions; None if it is dense.
    shape: of one x.
    """

    name: str
    activation: str
    output: str
    strides: tuple | None = None
    shape: tuple = ()

    def depth(self, p):
        own = f"encoder_{self.name}/"
        return sum(k.startswith(own) and k.endswith("/bias") for k in p)


class Cost(NamedTuple):
    """The error function of a task, and its reductions."""

    error: str
    dimensions: str
    batch: str
    l2: float
    centred: bool = False


def conv(x, kernel, stride):
    """[B, H/s, W/s, F] of x [B, H, W, C]: output i uses rows s i - 1 to s i + 1."""
    x, kernel = np.asarray(x), np.asarray(kernel)
    b, height, width, channels = x.shape
    out = np.zeros((b, height // stride, width // stride, kernel.shape[1]), complex)
    for (i, j), (row, column, entry) in _kernel_entries(x.shape, stride):
        weights = kernel[entry * channels : (entry + 1) * channels]
        out[:, i, j] += x[:, row, column] @ weights
    return out


def deconv(y, kernel, stride):
    """Applies the transpose of `conv`."""
    y, kernel = np.asarray(y), np.asarray(kernel)
    b, height, width, _ = y.shape
    channels = len(kernel) // 9
    x = np.zeros((b, height * stride, width * stride, channels), complex)
    for (i, j), (row, column, entry) in _kernel_entries(x.shape, stride):
        weights = kernel[entry * channels : (entry + 1) * channels]
        x[:, row, column] += y[:, i, j] @ weights.T
    return x


def _kernel_entries(shape, stride):
    """Yields ((i, j) of the output, (row, column, kernel entry) of the input)."""
    _, height, width, _ = shape
    for i, j in np.ndindex(height // stride, width // stride):
        for entry, (down, right) in enumerate(np.ndindex(3, 3)):
            row, column = stride * i + down - 1, stride * j + right - 1
            if 0 <= row < height and 0 <= column < width:
                yield (i, j), (row, column, entry)


def encode(p, side, x):
    """Returns the flat code of x [B, ...]."""
    h = x[..., None] if side.strides else x.reshape(len(x), -1)
    for k in range(1, side.depth(p) + 1):
        own, other = f"encoder_{side.name}/{k}", f"decoder_{side.name}/{k}/kernel"
        if side.strides:
            kernel = p.get(f"{own}/kernel", p.get(other))
            z = conv(h, kernel, side.strides[k - 1])
        else:
            z = h @ (p[f"{own}/kernel"] if f"{own}/kernel" in p else p[other].T)
        h = ACTIVATIONS[side.activation](z + p[f"{own}/bias"])
    return h.reshape(len(h), -1)


def decode(p, side, code):
    """Returns the reconstruction [B, ...] of codes [B, D]."""
    h = code
    if side.strides:
        shrink = np.prod(side.strides)
        sides = [n // shrink for n in side.shape]
        h = h.reshape(len(h), *sides, -1)
    for k in range(side.depth(p), 0, -1):
        own, other = f"decoder_{side.name}/{k}", f"encoder_{side.name}/{k}/kernel"
        if side.strides:
            kernel = p.get(f"{own}/kernel", p.get(other))
            z = deconv(h, kernel, side.strides[k - 1])
        else:
            z = h @ (p[f"{own}/kernel"] if f"{own}/kernel" in p else p[other].T)
        name = side.output if k == 1 else side.activation
        h = ACTIVATIONS[name](z + p[f"{own}/bias"])
    return h.reshape(len(h), *side.shape)


def link(p, h, activations):
    for k, name in enumerate(activations, start=1):
        h = ACTIVATIONS[name](h @ p[f"link/{k}/kernel"] + p[f"link/{k}/bias"])
    return h


def main(p, x, side_in, side_out, activations):
    """Returns M(x)."""
    return decode(p, side_out, link(p, encode(p, side_in, x), activations))


def total_cost(p, cost, output, target, parts):
    """Returns J of the errors [B, ...] plus the L2 penalty of some parts."""
    differences = (output - target).reshape(len(target), -1)
    # Not np.abs, which would lose the imaginary part.
    size = np.where(differences.real < 0, -differences, differences)
    errors = differences**2 if cost.error == "squared" else size
    each = errors.sum(1) if cost.dimensions == "sum" else errors.mean(1)
    total = each.sum() if cost.batch == "sum" else each.mean()
    for name, w in p.items():
        if name.split("/")[0] in parts and name.endswith("/kernel"):
            total = total + cost.l2 * (w**2).sum()
    return total


def reconstruction(p, side, cost, given, target):
    """Returns J_in or J_out of the rows of a mini-batch."""
    code = encode(p, side, given)
    if cost.centred:
        code = code - code.mean(0)
    parts = (f"encoder_{side.name}", f"decoder_{side.name}")
    return total_cost(p, cost, decode(p, side, code), target, parts)


def supervised(p, cost, side_in, side_out, activations, x, y):
    """Returns J_s of the pairs of a mini-batch."""
    output = main(p, x, side_in, side_out, activations)
    return total_cost(p, cost, output, y, ("encoder_in", "link", "decoder_out"))


def update(p, velocity, cost, prefixes, rate, momentum):
    """Updates the parameters under the prefixes by SGD; changes `velocity` in place."""
    names = [k for k in p if k.split("/")[0] in prefixes]
    grads = gradient(cost, p, names)
    for k in names:
        velocity[k] = momentum * velocity.get(k, 0) + grads[k]
    return p | {k: p[k] - rate * velocity[k] for k in names}
