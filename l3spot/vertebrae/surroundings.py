"""Names vertebrae by what lies around them in the frontal projection.

Ribs, organs and the pelvis are seen at the scale of the vertebrae, so that the size of
the body does not matter.
"""

import flax.linen as nn
import jax
import numpy as np
from scipy import ndimage

from l3spot.backbones.layers import Conv
from l3spot.projections.mip import Projection
from l3spot.vertebrae import frontal_crops
from l3spot.vertebrae.bodies import Chain
from l3spot.vertebrae.slab import Slab

ROWS, COLUMNS = 54, 48  # Of a crop; its middle is the vertebra's.
PIXELS = 6  # Of a crop, from one vertebra to the next.
# To each side of the middle, in pixels; the spine itself is left out. By its contrast
# to other bones, which varies, a network would tell phantoms from people.
SPINE = 4
LOW_HU, HIGH_HU = -200.0, 1000.0  # Black and white.
THIN_MM = 5  # Ribs that are this thin are not lost between the pixels of a crop.
NAMES = "T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5", "S1"


class SurroundingsNetwork(nn.Module):
    """Four convolutions and two dense layers.

    Attributes:
      channels: of the convolutions.
      hidden: units of the first dense layer.
      dropout: share of the units before it that are dropped in training.
    """

    channels: tuple[int, ...] = (16, 32, 48, 48)
    hidden: int = 48
    dropout: float = 0.0

    @nn.compact
    def __call__(self, crops: jax.Array) -> jax.Array:
        """Returns the logits [B, NAMES] of crops [B, ROWS, COLUMNS] in [0, 1]."""
        x = crops[..., None] - 0.3
        for channels in self.channels:
            x = nn.relu(Conv(channels, 3)(x))
            x = nn.max_pool(x, (2, 2), (2, 2))
        x = x.reshape(len(x), -1)
        if self.dropout:
            x = nn.Dropout(self.dropout, deterministic=False)(x)
        x = nn.relu(nn.Dense(self.hidden)(x))
        return nn.Dense(len(NAMES), name="names")(x)


def thicken(frontal: np.ndarray) -> np.ndarray:
    """Returns the brightest of the pixels around each one, of 1 mm."""
    return ndimage.maximum_filter(frontal, THIN_MM)


def crop(thick: np.ndarray, row: float, column: float, pitch: float) -> np.ndarray:
    """Cuts the surroundings of a vertebra.

    Args:
      thick: HU [R, C] from `thicken`.
      row: of the middle of the body, in pixels.
      column: of the middle of the body, in pixels.
      pitch: distance between bodies, in pixels.

    Returns:
      Grey values [ROWS, COLUMNS] from 0 to 1.
    """
    rows, columns = (
        middle + pitch / PIXELS * (np.arange(n) - (n - 1) / 2)
        for middle, n in ((row, ROWS), (column, COLUMNS))
    )
    grey = frontal_crops.grey(thick, rows, columns, LOW_HU, HIGH_HU)
    grey[:, COLUMNS // 2 - SPINE : COLUMNS // 2 + SPINE] = 0
    return grey


def crops(projection: Projection, picture: Slab, chain: Chain) -> np.ndarray:
    """Cuts the surroundings of all bodies, [N, ROWS, COLUMNS]."""
    thick = thicken(projection.frontal)
    places = frontal_crops.places(projection, picture, chain)
    return np.stack([crop(thick, *place) for place in places])
