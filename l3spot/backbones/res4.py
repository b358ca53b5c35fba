"""Res4, ours: a strided convolution, two convolutions as in CNN4, residual blocks.

    params = {"conv1": {kernel [5, 5, 1, 32], bias [32]}, "conv2", "conv3",
              "block1": {"down": {kernel, bias}, "across", "up"}, ..., "block4"}

It has 307,200 parameters and takes 0.6 of CNN4's time, because CNN4 spends most of it
in its first layers, at full resolution. The blocks work at a stride of 16 pixels. Their
receptive field is 200 mm up and down, so that they can count vertebrae from the ribs
and the pelvis.
"""

import flax.linen as nn
import jax

from l3spot.backbones.layers import UNSPLIT, Conv, max_pool

LAYERS = (32, 5, 2), (64, 3, 1), (128, 3, 1)  # Channels, kernel size, stride.
BLOCKS = 4
CHANNELS = 128  # Of the blocks.
BOTTLENECK_CHANNELS = 64  # Within the blocks.


class Block(nn.Module):
    """A bottleneck of three layers with a skip connection (He et al. 2016)."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns [B, h, w, CHANNELS] of x [B, h, w, CHANNELS]."""
        y = nn.relu(Conv(BOTTLENECK_CHANNELS, 1, name="down")(x))
        y = nn.relu(Conv(BOTTLENECK_CHANNELS, 3, name="across")(y))
        return nn.relu(x + Conv(CHANNELS, 1, name="up")(y))


class Res4(nn.Module):
    """Three convolutions, each with ReLU and a 2x2 max-pool, and four blocks."""

    output_stride: int = UNSPLIT

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns features [B, H/16, W/16, 128], rounded down, of x [B, H, W, 1]."""
        for k, layer in enumerate(LAYERS, start=1):
            x = nn.relu(Conv(*layer, name=f"conv{k}")(x))
            x = max_pool(x, 2, 2, split=2**k >= self.output_stride)
        for k in range(1, BLOCKS + 1):
            x = Block(name=f"block{k}")(x)
        return x
