"""CNN4, trained from scratch. The paper states four layers and 55 K; the rest is ours.

    params = {"conv1": {kernel [3, 3, 1, 12], bias [12]}, ..., "conv4": ...}

It has 54,720 parameters. Each layer halves the image.
"""

import flax.linen as nn
import jax

from l3spot.backbones.layers import UNSPLIT, Conv, max_pool

CHANNELS = (12, 24, 48, 96)


class CNN4(nn.Module):
    """Four 3x3 convolutions of one channel, each with ReLU and a 2x2 max-pool."""

    output_stride: int = UNSPLIT

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns features [B, H/16, W/16, 96], rounded down, of x [B, H, W, 1]."""
        for k, channels in enumerate(CHANNELS, start=1):
            x = nn.relu(Conv(channels, 3, name=f"conv{k}")(x))
            x = max_pool(x, 2, 2, split=2 ** (k - 1) >= self.output_stride)
        return x
