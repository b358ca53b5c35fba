"""Looks for ribs and the sacrum beside the vertebrae, in the frontal projection."""

import flax.linen as nn
import jax
import numpy as np
from scipy import ndimage

from l3spot.backbones.layers import Conv
from l3spot.projections.mip import Projection
from l3spot.vertebrae import frontal_crops
from l3spot.vertebrae.bodies import Chain
from l3spot.vertebrae.slab import Slab

SIZE = 32  # Rows and columns of a crop.
# A crop, in distances between bodies: from above the body to below it, and beside the
# spine outwards. The spine itself is left out: by its width, which varies, a network
# would tell thoracic vertebrae from lumbar ones.
ABOVE, BELOW, INNER, OUTER = 1.5, 1.3, 0.75, 2.9
SIGNS = 3  # A rib of the vertebra, a rib of the one above, a part of the sacrum.
LOW_HU, HIGH_HU = 0.0, 900.0  # Black and white.


class RibNetwork(nn.Module):
    """Three convolutions and a dense layer.

    Attributes:
      channels: of the convolutions.
    """

    channels: tuple[int, ...] = (24, 40, 48)

    @nn.compact
    def __call__(self, crops: jax.Array) -> jax.Array:
        """Returns the logits [B, SIGNS] of crops [B, SIZE, SIZE] in [0, 1]."""
        x = crops[..., None] - 0.5
        for channels in self.channels:
            x = nn.relu(Conv(channels, 3)(x))
            x = nn.max_pool(x, (2, 2), (2, 2))
        x = x.reshape(len(x), -1)
        return nn.Dense(SIGNS, name="rib")(x)


def crop(
    frontal: np.ndarray, row: float, column: float, pitch: float, side: int
) -> np.ndarray:
    """Cuts the surroundings to the right or left of a vertebra.

    Args:
      frontal: HU [R, C], with square pixels.
      row: of the middle of the body, in pixels.
      column: of the middle of the body, in pixels.
      pitch: distance between bodies, in pixels.
      side: -1 for lower columns, 1 for higher ones.

    Returns:
      Grey values [SIZE, SIZE] from 0 to 1; columns run outwards.
    """
    rows = row + pitch * np.linspace(-ABOVE, BELOW, SIZE)
    columns = column + side * pitch * np.linspace(INNER, OUTER, SIZE)
    return frontal_crops.grey(frontal, rows, columns, LOW_HU, HIGH_HU)


def crops(projection: Projection, picture: Slab, chain: Chain) -> np.ndarray:
    """Cuts the halves of all bodies, [2 N, SIZE, SIZE]; right before left."""
    # Thin ribs are not lost between the pixels of a crop.
    brightest = ndimage.maximum_filter(projection.frontal, 2)
    places = frontal_crops.places(projection, picture, chain)
    return np.stack([crop(brightest, *p, side) for p in places for side in (-1, 1)])
