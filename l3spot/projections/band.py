"""Keeps the part of a volume around the spine while the volume is projected.

Sagittal pictures of the spine are made from this band, so that no slice is decoded
twice. Pixels are averaged to about 2 mm in x and 1 mm in y; slices stay as they are.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from l3spot.ct.slices import StoredValues

X_MM, Y_MM = 2.0, 1.0  # The approximate size of a pixel.
HALF_WIDTH_MM = 80.0  # A slice is kept so far from the middle of its body.
AIR_HU = -1024


class Band(NamedTuple):
    """The part of a volume around the spine.

    hu: int16 [Z, D, W]; air where a slice was not kept.
    z: float64 [Z], mm, LPS, increasing: the z of the slices.
    y: float64 [D], mm, LPS, increasing.
    x: float64 [W], mm, LPS, increasing.
    """

    hu: np.ndarray
    z: np.ndarray
    y: np.ndarray
    x: np.ndarray


class Cut(NamedTuple):
    """The kept part of one slice.

    hu: int16 [D, C].
    first: the index of its first column in the whole slice, in averaged pixels.
    """

    hu: np.ndarray
    first: int


def pixels_per_cell(at: np.ndarray, cell_mm: float) -> int:
    """Returns the number of pixels at positions `at` that are averaged."""
    return max(1, round(cell_mm / (at[1] - at[0])))


def cell_positions(at: np.ndarray, cell_mm: float) -> np.ndarray:
    """Returns the middles of the averaged pixels, without pixels that are left over."""
    count = pixels_per_cell(at, cell_mm)
    whole = len(at) // count * count
    return at[:whole].reshape(-1, count).mean(1)


def cut(values: StoredValues, x: np.ndarray, y: np.ndarray, middle_mm: float) -> Cut:
    """Averages the columns of a slice around the middle of its body.

    Args:
      values: of the slice; rows run to the back and columns to the left.
      x: [columns] mm, of the columns.
      y: [rows] mm, of the rows.
      middle_mm: x of the middle of the body.
    """
    down, across = pixels_per_cell(y, Y_MM), pixels_per_cell(x, X_MM)
    cells = cell_positions(x, X_MM)
    first, last = np.searchsorted(
        cells, [middle_mm - HALF_WIDTH_MM, middle_mm + HALF_WIDTH_MM]
    )
    rows = len(y) // down * down
    kept = values.stored[:rows, first * across : last * across]
    if values.increasing:
        mean = _mean(kept, down, across) * values.slope + values.intercept
    else:
        hu = values._replace(stored=kept).hu()
        mean = _mean(np.where(np.isnan(hu), AIR_HU, hu), down, across)
    limits = np.iinfo(np.int16)
    mean = mean.clip(AIR_HU, limits.max)
    return Cut(np.rint(mean).astype(np.int16), int(first))


def _mean(values: np.ndarray, down: int, across: int) -> np.ndarray:
    """Returns the means [D, C] of blocks of [D * down, C * across] numbers."""
    values = values.astype(np.float32)  # Once for all: the parts are not contiguous.
    parts = [values[i::down, j::across] for i in range(down) for j in range(across)]
    return sum(parts[1:], parts[0]) / len(parts)


def assemble(cuts: Sequence[Cut], z: np.ndarray, y: np.ndarray, x: np.ndarray) -> Band:
    """Puts the cuts of slices with the same pixels at heights z into one band."""
    first = min(c.first for c in cuts)
    width = max(c.first + c.hu.shape[1] for c in cuts) - first
    hu = np.full((len(cuts), cuts[0].hu.shape[0], width), AIR_HU, np.int16)
    for layer, c in zip(hu, cuts, strict=True):
        layer[:, c.first - first : c.first - first + c.hu.shape[1]] = c.hu
    cells = cell_positions(x, X_MM)[first : first + width]
    return Band(hu, z, cell_positions(y, Y_MM), cells)
