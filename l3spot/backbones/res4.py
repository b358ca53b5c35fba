"""Res4, ours: a strided first layer, two more as CNN4's, and residual blocks.

    params = {"conv1": {kernel [5, 5, 1, 32], bias [32]}, "conv2", "conv3",
              "block1": {"down": {kernel, bias}, "across", "up"}, ..., "block4"}

307,200 parameters, in 0.6 of CNN4's time: most of that goes into its first layers, at
full resolution. The blocks see 16 pixels as one. They look 200 mm up and down, to count
vertebrae from ribs and pelvis.
"""

import flax.linen as nn
import jax

from l3spot.backbones.layers import WHOLE, Conv, max_pool

LAYERS = (32, 5, 2), (64, 3, 1), (128, 3, 1)  # Channels, size of kernel, stride.
BLOCKS = 4
CHANNELS, NARROW = 128, 64  # Of the blocks, and within them.


class Block(nn.Module):
    """A bottleneck: what three layers make of x is added to it (He et al. 2016)."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, h, w, CHANNELS] from the same."""
        y = nn.relu(Conv(NARROW, 1, name="down")(x))
        y = nn.relu(Conv(NARROW, 3, name="across")(y))
        return nn.relu(x + Conv(CHANNELS, 1, name="up")(y))


class Res4(nn.Module):
    """Three convolutions, each with ReLU and a 2x2 max-pool, and four blocks."""

    step: int = WHOLE

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H/16, W/16, 128], rounded down, from x [B, H, W, 1]."""
        for k, how in enumerate(LAYERS, start=1):
            x = nn.relu(Conv(*how, name=f"conv{k}")(x))
            x = max_pool(x, 2, 2, split=2**k >= self.step)
        for k in range(1, BLOCKS + 1):
            x = Block(name=f"block{k}")(x)
        return x
