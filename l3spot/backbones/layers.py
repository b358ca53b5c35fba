"""What the backbones are made of. Images are NHWC; pools and pads are PyTorch's."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mtl.engine.cpu import conv as convolution

WIDTH = 4096  # Of the dense layers of AlexNet and VGG.
WHOLE = 2**30  # A step that no network has: no pool splits.


class Conv(nn.Module):
    """A square convolution; without `padding` it is centred.

    Unlike Flax's, its gradients are fast in loops on a CPU (`mtl.engine.cpu.conv`).
    """

    channels: int
    size: int
    stride: int = 1
    bias: bool = True
    padding: int | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, h, w, channels] from x [B, H, W, C]."""
        around = self.size // 2 if self.padding is None else self.padding
        shape = self.size, self.size, x.shape[-1], self.channels
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        y = convolution.conv(x, kernel, self.stride, around)
        if self.bias:
            y += self.param("bias", nn.initializers.zeros, (self.channels,))
        return y


def max_pool(
    x: jax.Array, size: int, stride: int, ceil: bool = False, split: bool = False
) -> jax.Array:
    """[B, h, w, C]; with `ceil` a last window may hang over the edge.

    With `split` [stride * B, h, w, C]: of pools that begin at row 0, then of those that
    begin at row 1, and so on, where a plain pool keeps the first. Layers after it see
    each phase of the image (Giusti et al. 2013, "Fast image scanning with deep
    max-pooling convolutional neural networks").
    """
    if split:
        phases = [max_pool(x[:, i:], size, stride, ceil) for i in range(stride)]
        high = min(y.shape[1] for y in phases)
        return jnp.concatenate([y[:, :high] for y in phases])
    if size == stride and not ceil:
        return _blocks(x, size)
    spare = [-(n - size) % stride if ceil else 0 for n in x.shape[1:3]]
    over = [(0, s) for s in spare]
    return nn.max_pool(x, (size, size), (stride, stride), padding=over)


def _blocks(x: jax.Array, size: int) -> jax.Array:
    """Maxima of blocks that do not overlap; XLA's windows are slow to go back."""
    b, h, w, c = x.shape
    x = x[:, : h - h % size, : w - w % size]
    return x.reshape(b, h // size, size, w // size, size, c).max((2, 4))


def average_pool(x: jax.Array, size: int) -> jax.Array:
    """[B, size, size, C]: PyTorch's adaptive pool, whose windows may overlap."""
    rows, columns = (jnp.asarray(_shares(n, size), x.dtype) for n in x.shape[1:3])
    return jnp.einsum("ih,jw,bhwc->bijc", rows, columns, x)


def _shares(count: int, size: int) -> np.ndarray:
    """[size, count]: row i averages what lies between i and i + 1 `size`ths."""
    shares = np.zeros((size, count))
    for i in range(size):
        first, end = i * count // size, -(-(i + 1) * count // size)
        shares[i, first:end] = 1 / (end - first)
    return shares


def dense_head(x: jax.Array, size: int, classes: int) -> jax.Array:
    """[B, classes] logits, by the three dense layers of AlexNet and VGG."""
    x = average_pool(x, size).reshape(len(x), -1)
    for k in (1, 2):
        x = nn.relu(nn.Dense(WIDTH, name=f"dense{k}")(x))
    return nn.Dense(classes, name="dense3")(x)


class Norm(nn.Module):
    """Batch normalisation as at test time; its statistics are constants.

    They lie among the parameters, and have no gradient.
    """

    epsilon: float = 1e-3

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., C] from x [..., C]."""
        ones, zeros = nn.initializers.ones, nn.initializers.zeros
        shape: Sequence[int] = x.shape[-1:]
        scale = self.param("scale", ones, shape)
        bias = self.param("bias", zeros, shape)
        mean = jax.lax.stop_gradient(self.param("mean", zeros, shape))
        var = jax.lax.stop_gradient(self.param("var", ones, shape))
        return (x - mean) * (scale * jax.lax.rsqrt(var + self.epsilon)) + bias
