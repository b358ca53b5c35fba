"""Makes a sagittal picture of a curved spine: the mean HU of a slab that follows it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from l3spot.projections.band import AIR_HU, Band

ROW_MM = 1.0
HALF_THICKNESS_MM = 7.0
BONE_HU, DENSE_HU = 150, 650  # Bone counts by its HU above the first, up to the second.
START_WIDTH_MM = 80.0  # The spine is first searched in the densest columns so wide.
REACH_MM = (30.0, 25.0, 20.0, 17.0)  # In each round, of the search around the last.
SMOOTH_MM = 15.0
# Of the search from the top down: how far bone counts, how the rows are smoothed, the
# share of the distance to the bone by which each row shifts the line, and the steepest
# line, in mm a mm.
TRACK_MM, TRACK_SMOOTH_MM, TRACK_GAIN, TRACK_SLOPE = 20.0, 6.0, 0.1, 0.35
PARTING_MM = 12.0  # Between two lines through the spine that show other things.


class Slab(NamedTuple):
    """A sagittal picture of a spine.

    hu: float32 [R, D].
    z: float64 [R], mm, LPS, decreasing by `ROW_MM`.
    y: float64 [D], mm, LPS, increasing.
    spine_x, spine_y: float64 [R], mm, of the middle of the spine's bone.
    """

    hu: np.ndarray
    z: np.ndarray
    y: np.ndarray
    spine_x: np.ndarray
    spine_y: np.ndarray

    def x_mm(self, z_mm: ArrayLike) -> np.ndarray:
        """Returns x of the middle of the spine at heights of any shape."""
        return np.interp(-np.asarray(z_mm), -self.z, self.spine_x)


def make(band: Band) -> Slab:
    """Follows the spine through a band and averages a slab about it."""
    z, place, bone = _rows_of_bone(band)
    return _average(band, z, place, follow(bone, band.x))


def make_all(band: Band) -> list[Slab]:
    """Returns the slab of `make`, and another one if `follow_down` parts from its line.

    They part below a sacrum, or where hips draw the line off the spine.
    """
    z, place, bone = _rows_of_bone(band)
    lines = [follow(bone, band.x), follow_down(bone, band.x)]
    if np.abs(lines[1] - lines[0]).max() <= PARTING_MM:
        lines = lines[:1]
    return [_average(band, z, place, line) for line in lines]


def _rows_of_bone(band: Band) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns z [R] of the rows, their place among the slices, and bone [R, W]."""
    z = np.arange(band.z[-1], band.z[0] - 1e-6, -ROW_MM)
    place = np.interp(z, band.z, np.arange(len(band.z)))
    below, share = _between(place, len(band.z))
    bone = np.stack([_bone_columns(layer) for layer in band.hu])
    bone = bone[below] + share[:, None] * (bone[below + 1] - bone[below])
    return z, place, bone


def _between(place: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the slice below each place, and the share of the next one."""
    below = np.clip(place.astype(int), 0, count - 2)
    return below, (place - below).astype(np.float32)


def _average(band: Band, z: np.ndarray, place: np.ndarray, spine_x: np.ndarray) -> Slab:
    """Averages a slab about a line x [R] through rows of `_rows_of_bone`."""
    below, share = _between(place, len(band.z))
    hu = np.empty((len(z), len(band.y)), np.float32)
    for row, weight in enumerate(_slab_weights(band.x, spine_x)):
        used = slice(*np.flatnonzero(weight)[[0, -1]] + np.array([0, 1]))
        low, high = (band.hu[below[row] + i][:, used] @ weight[used] for i in (0, 1))
        hu[row] = low + share[row] * (high - low)
    return Slab(hu, z, band.y, spine_x, follow(_bone(hu), band.y))


def _bone(hu: np.ndarray) -> np.ndarray:
    return np.clip(hu.astype(np.float32) - BONE_HU, 0, DENSE_HU - BONE_HU)


def _bone_columns(hu: np.ndarray) -> np.ndarray:
    """Returns the sums float32 [W] of the bone of int16 [D, W], with integers alone."""
    bone = np.clip(hu, BONE_HU, DENSE_HU) - np.int16(BONE_HU)
    return bone.sum(0, dtype=np.int32).astype(np.float32)


def _slab_weights(at: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Returns the share of each column [W] within the slab of each middle [R].

    The weights [R, W] of a row sum to 1.
    """
    width = at[1] - at[0]
    middle = np.clip(middle, at[0], at[-1])[:, None]
    edge = (HALF_THICKNESS_MM + width / 2 - np.abs(at - middle)) / width
    weight = np.clip(edge, 0, 1).astype(np.float32)
    return weight / weight.sum(1, keepdims=True)


def follow_down(bone: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Returns what `follow` returns, but searches from the uppermost row down.

    Hips and thighs hold more bone than the spine, and are as near to it as `follow`
    searches. From above, they come into reach below the sacrum alone.
    """
    x, line = follow(bone, at)[0], np.empty(len(bone))
    smooth = ndimage.gaussian_filter1d(bone, TRACK_SMOOTH_MM / ROW_MM, axis=0)
    for i, row in enumerate(smooth):
        weight = row * np.clip(1.5 - np.abs(at - x) / TRACK_MM, 0, 1)
        shift = (weight @ at - x * weight.sum()) / (weight.sum() + 1e-3)
        x += np.clip(TRACK_GAIN * shift, -TRACK_SLOPE * ROW_MM, TRACK_SLOPE * ROW_MM)
        line[i] = x
    return _nearer(line, bone, at, REACH_MM[-2:])


def follow(bone: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Returns the smoothed centre of bone [R, W] in each row, in mm.

    Each round searches nearer to the last round's line, so that ribs, the pelvis and
    vessels with contrast agent count less.

    Args:
      bone: the bone in each column of each row.
      at: mm, of the columns.
    """
    line = np.full(len(bone), _densest(bone.sum(0), at))
    return _nearer(line, bone, at, REACH_MM)


def _nearer(
    line: np.ndarray, bone: np.ndarray, at: np.ndarray, reaches_mm: Sequence[float]
) -> np.ndarray:
    """Returns a line [R] after a round of search for each reach."""
    for reach_mm in reaches_mm:
        distance = np.abs(at - line[:, None])
        weight = bone * np.clip(1.5 - distance / reach_mm, 0, 1)
        moment, total = (
            ndimage.gaussian_filter1d(a, SMOOTH_MM / ROW_MM, mode="nearest")
            for a in ((weight * at).sum(1), weight.sum(1))
        )
        line = (moment + 1e-3 * line) / (total + 1e-3)
    return line


def _densest(bone: np.ndarray, at: np.ndarray) -> float:
    """Returns the centre of the densest `START_WIDTH_MM` of bone [W]."""
    count = max(1, min(len(at), int(START_WIDTH_MM / (at[1] - at[0]))))
    total = np.convolve(bone, np.ones(count), "same")
    near = bone * (np.abs(at - at[total.argmax()]) <= START_WIDTH_MM / 2)
    return float((near * at).sum() / near.sum()) if near.sum() else float(at.mean())


class Tile(NamedTuple):
    """A part of a slab, as the network takes it.

    grey: float32 [ROWS, COLUMNS], 0 to 1.
    y_mm, z_mm: of the middle of the first pixel.
    pixel_mm: size of a pixel.
    """

    grey: np.ndarray
    y_mm: float
    z_mm: float
    pixel_mm: float


ROWS, COLUMNS = 192, 96  # Of a tile.
LOW_HU, HIGH_HU = -200.0, 500.0  # Black and white.
FRONT_PX = 57  # Pixels of a tile in front of the middle of the spine's bone.


def cut_tile(slab: Slab, z_mm: float, pixel_mm: float) -> Tile:
    """Cuts a tile around height z_mm, with the spine at its usual column."""
    near = np.abs(slab.z - z_mm) <= max(30.0, np.abs(slab.z - z_mm).min())
    y_mm = slab.spine_y[near].mean() - FRONT_PX * pixel_mm
    first_mm = z_mm + pixel_mm * (ROWS - 1) / 2
    spacing = slab.y[1] - slab.y[0]
    rows = (slab.z[0] - first_mm + pixel_mm * np.arange(ROWS)) / ROW_MM
    columns = (y_mm - slab.y[0] + pixel_mm * np.arange(COLUMNS)) / spacing
    # The filter keeps fine detail from turning into noise.
    smooth = ndimage.gaussian_filter(
        slab.hu, [0.35 * pixel_mm / ROW_MM, 0.35 * pixel_mm / spacing]
    )
    at = np.stack(np.meshgrid(rows, columns, indexing="ij"))
    hu = ndimage.map_coordinates(smooth, at, order=1, cval=AIR_HU)
    return Tile(grey(hu), y_mm, first_mm, pixel_mm)


def grey(hu: np.ndarray) -> np.ndarray:
    """Maps HU to float32 grey values from 0 to 1, clipped."""
    return np.clip((hu - LOW_HU) / (HIGH_HU - LOW_HU), 0, 1).astype(np.float32)
