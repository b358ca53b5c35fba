"""Cuts crops beside and around vertebrae from the frontal projection."""

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from l3spot.projections.mip import AIR_HU, Projection
from l3spot.vertebrae.bodies import Chain
from l3spot.vertebrae.slab import Slab


def places(
    projection: Projection, picture: Slab, chain: Chain
) -> Iterator[tuple[float, float, float]]:
    """Yields each body's row, column and distance to others, in pixels of 1 mm."""
    z = np.array([body.z_mm for body in chain.bodies])
    row, column = projection.z[0] - z, picture.x_mm(z) - projection.x[0]
    return zip(row, column, np.abs(np.gradient(z)), strict=True)


def grey(
    frontal: np.ndarray, rows: np.ndarray, columns: np.ndarray, low: float, high: float
) -> np.ndarray:
    """Returns grey values [R, C] from 0 at `low` HU to 1 at `high`, at such pixels."""
    at = np.stack(np.meshgrid(rows, columns, indexing="ij"))
    hu = ndimage.map_coordinates(frontal, at, order=1, cval=AIR_HU)
    return np.clip((hu - low) / (high - low), 0, 1).astype(np.float32)
