"""The network that finds vertebral bodies in a tile of a sagittal slab.

It gives seven maps with pixels of `STRIDE` tile pixels. Three are logits: the middle of
a body above the sacrum, the middle of S1, and any body above the sacrum. Four are
votes: each pixel of a body votes for the middles of the body's two end plates.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from l3spot.backbones.layers import Conv

STRIDE = 2  # Tile pixels to a pixel of the maps.
CENTRE, SACRUM, BODY, VOTES = 0, 1, 2, slice(3, 7)
MAPS = 7
VOTE_PX = 10.0  # A vote of 1, in tile pixels.
GROUPS = 4
MIDDLE_GREY = 0.3


class Block(nn.Module):
    """Two convolutions with group normalisation, beside a shortcut."""

    channels: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns [B, h, w, channels] of x [B, H, W, C]."""
        y = Conv(self.channels, 3, self.stride)(x)
        y = nn.relu(nn.GroupNorm(GROUPS)(y))
        y = nn.GroupNorm(GROUPS)(Conv(self.channels, 3)(y))
        if x.shape != y.shape:
            x = Conv(self.channels, 1, self.stride)(x)
        return nn.relu(x + y)


class VertebraNetwork(nn.Module):
    """An encoder and a decoder with skip connections (U-Net, Ronneberger et al. 2015).

    Attributes:
      channels: of the levels, from fine to coarse.
    """

    channels: tuple[int, ...] = (24, 32, 48, 64)

    @nn.compact
    def __call__(self, grey: jax.Array) -> jax.Array:
        """Returns maps [B, R / 2, C / 2, MAPS] of tiles [B, R, C] in [0, 1]."""
        x = grey[..., None] - MIDDLE_GREY
        # Each pixel of the maps sees its four tile pixels.
        x = jnp.concatenate([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], -1)
        levels = []
        for k, channels in enumerate(self.channels):
            x = Block(channels, stride=1 if k == 0 else 2)(x)
            levels.append(x)
        x = Block(self.channels[-1])(x)
        for skip in levels[-2::-1]:
            x = jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)
            x = Block(skip.shape[-1])(jnp.concatenate([x, skip], -1))
        return Conv(MAPS, 1, name="maps")(x)
