"""Layers of the backbones. Images are NHWC; pools and padding follow PyTorch."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mtl.engine.cpu import conv as convolution

DENSE_WIDTH = 4096  # Dense layers of AlexNet and VGG.
UNSPLIT = 2**30  # An output stride that splits no pool.


class Conv(nn.Module):
    """A square convolution; without `padding` the output has the input's size.

    Unlike Flax's, its gradients are fast in loops on a CPU (`mtl.engine.cpu.conv`).
    """

    channels: int
    size: int
    stride: int = 1
    bias: bool = True
    padding: int | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns [B, h, w, channels] of x [B, H, W, C]."""
        padding = self.size // 2 if self.padding is None else self.padding
        shape = self.size, self.size, x.shape[-1], self.channels
        # Flax also traces the initialiser of a given kernel, to compare shapes.
        random = nn.initializers.he_normal()
        draw = random if self.is_initializing() else nn.initializers.zeros
        kernel = self.param("kernel", draw, shape)
        y = convolution.conv(x, kernel, self.stride, padding)
        if self.bias:
            y += self.param("bias", nn.initializers.zeros, (self.channels,))
        return y


def max_pool(
    x: jax.Array, size: int, stride: int, ceil: bool = False, split: bool = False
) -> jax.Array:
    """Returns the maxima [B, h, w, C] of windows of x [B, H, W, C].

    With `ceil`, a last window can reach over the edge. With `split`, the result is
    [stride * B, h, w, C]: a pool that begins at row 0, then one that begins at row 1,
    and so on, where a plain pool has the first alone. The following layers then compute
    each phase of the image (Giusti et al. 2013, "Fast image scanning with deep
    max-pooling convolutional neural networks").
    """
    if split:
        phases = [max_pool(x[:, i:], size, stride, ceil) for i in range(stride)]
        high = min(y.shape[1] for y in phases)
        return jnp.concatenate([y[:, :high] for y in phases])
    if size == stride and not ceil:
        return _blocks(x, size)
    missing = [-(n - size) % stride if ceil else 0 for n in x.shape[1:3]]
    edges = [(0, n) for n in missing]
    return nn.max_pool(x, (size, size), (stride, stride), padding=edges)


def _blocks(x: jax.Array, size: int) -> jax.Array:
    """Returns the maxima of blocks that do not overlap.

    The gradient of XLA's window maximum is slow.
    """
    b, h, w, c = x.shape
    x = x[:, : h - h % size, : w - w % size]
    return x.reshape(b, h // size, size, w // size, size, c).max((2, 4))


def average_pool(x: jax.Array, size: int) -> jax.Array:
    """Returns means [B, size, size, C] of windows of x [B, H, W, C].

    It is PyTorch's adaptive pool; its windows can overlap.
    """
    rows, columns = (jnp.asarray(_shares(n, size), x.dtype) for n in x.shape[1:3])
    return jnp.einsum("ih,jw,bhwc->bijc", rows, columns, x)


def _shares(count: int, size: int) -> np.ndarray:
    """Returns weights [size, count]: row i averages the i-th part of `count` rows."""
    shares = np.zeros((size, count))
    for i in range(size):
        first, end = i * count // size, -(-(i + 1) * count // size)
        shares[i, first:end] = 1 / (end - first)
    return shares


def dense_head(x: jax.Array, size: int, classes: int) -> jax.Array:
    """Returns logits [B, classes] by the three dense layers of AlexNet and VGG."""
    x = average_pool(x, size).reshape(len(x), -1)
    for k in (1, 2):
        x = nn.relu(nn.Dense(DENSE_WIDTH, name=f"dense{k}")(x))
    return nn.Dense(classes, name="dense3")(x)


class Norm(nn.Module):
    """Batch normalisation with constant statistics, as at test time.

    The statistics are among the parameters and have no gradient.
    """

    epsilon: float = 1e-3

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns [..., C] of x [..., C]."""
        ones, zeros = nn.initializers.ones, nn.initializers.zeros
        shape: Sequence[int] = x.shape[-1:]
        scale = self.param("scale", ones, shape)
        bias = self.param("bias", zeros, shape)
        mean = jax.lax.stop_gradient(self.param("mean", zeros, shape))
        var = jax.lax.stop_gradient(self.param("var", ones, shape))
        return (x - mean) * (scale * jax.lax.rsqrt(var + self.epsilon)) + bias
