"""Resamples slices of a volume to the pixels of its other slices."""

import dataclasses
from collections import Counter

import numpy as np

from l3spot.ct.slices import Slice, StoredValues
from l3spot.ct.volumes import Volume
from l3spot.projections import orient

AIR_HU = -1024.0  # Outside of a slice.
CANONICAL_AXES = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def reference(volume: Volume) -> Slice:
    """Returns the first slice with the most frequent pixels; ties go to finer ones."""
    keys = [(s.shape, s.spacing_mm) for s in volume.slices]
    count = Counter(keys)
    best = min(count, key=lambda key: (-count[key], key[1]))
    return volume.slices[keys.index(best)]


def fits(ct_slice: Slice, to: Slice) -> bool:
    """Returns whether the pixels of two slices have the same places, in their fields.

    Spacings may differ by half a pixel over half of the field.
    """
    if ct_slice.shape != to.shape or orient.signs(ct_slice) != orient.signs(to):
        return False
    rows, columns = to.shape
    a, b = np.array(ct_slice.spacing_mm), np.array(to.spacing_mm)
    return bool((np.abs(a - b) * (columns, rows) <= b).all())


def resample(
    ct_slice: Slice, values: StoredValues, to: Slice
) -> tuple[Slice, StoredValues]:
    """Returns a slice with the pixels of another one, and its values in HU.

    Values are interpolated linearly. Outside of the slice there is air.

    Args:
      ct_slice: the slice.
      values: its decoded values.
      to: the other slice.
    """
    x, y = orient.pixel_positions(ct_slice)
    x_to, y_to = orient.pixel_positions(to)
    hu = orient.oriented(ct_slice, values.hu())
    hu = np.where(np.isnan(hu), np.float32(AIR_HU), hu)
    hu = _interpolate(_interpolate(hu, y, y_to).T, x, x_to).T
    made = dataclasses.replace(
        ct_slice,
        axes=CANONICAL_AXES,
        shape=hu.shape,
        spacing_mm=(float(x_to[1] - x_to[0]), float(y_to[1] - y_to[0])),
        origin_mm=np.array([x_to[0], y_to[0], ct_slice.centre_mm[2]]),
    )
    return made, StoredValues(hu)


def _interpolate(values: np.ndarray, at: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Interpolates values [A, B] along the first axis; returns float32 [C, B]."""
    above = np.clip(np.searchsorted(at, to), 1, len(at) - 1)
    weight = (to - at[above - 1]) / (at[above] - at[above - 1])
    weight = weight.clip(0, 1).astype(np.float32)[:, None]
    between = (1 - weight) * values[above - 1] + weight * values[above]
    margin = (at[1] - at[0]) / 2
    between[(to < at[0] - margin) | (to > at[-1] + margin)] = AIR_HU
    return between
