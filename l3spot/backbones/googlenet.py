"""GoogLeNet (Inception v1) as in torchvision, without the auxiliary classifiers.

    params = {"conv1": {"conv": {kernel}, "bn": {scale, bias, mean, var}}, ...,
              "inception3a": {"branch1", "branch2_0", "branch2_1", ...: as conv1}, ...,
              and with classes "dense"}

It differs from the paper: it has batch normalisation, 3x3 kernels instead of 5x5, and
pools with a last window that can reach over the edge.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from l3spot.backbones.layers import UNSPLIT, Conv, Norm, max_pool

# Channels of branch1, branch2_0, branch2_1, branch3_0, branch3_1, branch4_1.
Widths = tuple[int, int, int, int, int, int]
MODULES: dict[str, Widths] = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
POOLS = {"3b": (3, 8), "4e": (2, 16)}  # After a module: size, and pixels of a row.


class Unit(nn.Module):
    """A convolution without bias, batch normalisation, ReLU."""

    channels: int
    size: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns [B, h, w, channels] of x [B, H, W, C]."""
        x = Conv(self.channels, self.size, self.stride, False, name="conv")(x)
        return nn.relu(Norm(name="bn")(x))


class Inception(nn.Module):
    """Four parallel branches."""

    widths: Widths

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns [B, h, w, sum of the branches' widths] of x [B, h, w, C]."""
        one, two_0, two_1, three_0, three_1, four = self.widths
        pooled = nn.max_pool(x, (3, 3), padding=((1, 1), (1, 1)))
        branches = (
            Unit(one, 1, name="branch1")(x),
            Unit(two_1, 3, name="branch2_1")(Unit(two_0, 1, name="branch2_0")(x)),
            Unit(three_1, 3, name="branch3_1")(Unit(three_0, 1, name="branch3_0")(x)),
            Unit(four, 1, name="branch4_1")(pooled),
        )
        return jnp.concatenate(branches, axis=-1)


class GoogLeNet(nn.Module):
    """The trunk; with `classes` above 0 the classifier."""

    classes: int = 0
    output_stride: int = UNSPLIT

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns features or logits of x [B, H, W, 3].

        Features are [B, H/32, W/32, 1024], rounded up; logits are [B, classes].
        """
        x = self._pool(Unit(64, 7, 2, name="conv1")(x), 3, 2)
        x = Unit(64, 1, name="conv2")(x)
        x = self._pool(Unit(192, 3, name="conv3")(x), 3, 4)
        for name, widths in MODULES.items():
            x = Inception(widths, name=f"inception{name}")(x)
            if name in POOLS:
                x = self._pool(x, *POOLS[name])
        if not self.classes:
            return x
        return nn.Dense(self.classes, name="dense")(x.mean(axis=(1, 2)))

    def _pool(self, x: jax.Array, size: int, stride_px: int) -> jax.Array:
        return max_pool(x, size, 2, ceil=True, split=stride_px >= self.output_stride)
