"""Computes frontal and lateral maximum intensity projections of a volume in one pass.

Each axial slice gives one row of each projection, so the volume is never in memory. The
head is up. The frontal projection has the patient's right on the left, as an observer
sees a patient; the lateral one has the front on the left.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from l3spot.ct import threads
from l3spot.ct.slices import Slice, StoredValues
from l3spot.ct.volumes import Volume
from l3spot.projections import band, orient, regrid
from l3spot.projections.band import Band, Cut
from mtl.host import launch

AIR_HU = -1024.0  # Of pixels without a body.
MIN_TISSUE_HU = -300.0  # The body is searched among pixels above this value.
MASK_SPACING_MM = 2.0  # Approximate pixel spacing of the body mask.
MAX_TABLE_MM = 5.0  # Table tops, tubes and sheets are thinner in some direction.
MIN_PIECE_FRACTION = 0.05  # Of the area of the largest piece of tissue.
SAMPLES_PER_SIDE = 32  # Of a slice, for `Projection.hu_sample`.


class Projection(NamedTuple):
    """The frontal and the lateral projection of a volume, in HU.

    frontal: float32 [R, C]. lateral: float32 [R, D].
    z: float64 [R], mm, LPS, decreasing: the z of the rows.
    x: float64 [C], mm, LPS, increasing: the x of the columns of `frontal`.
    y: float64 [D], mm, LPS, increasing: the y of the columns of `lateral`.
    nearest: int [R], the index of the slice that is nearest to each row.
    spine: the part around the spine, for sagittal pictures; None if there is none.
    hu_sample: float32 [N], HU of pixels from all slices, without padding.
    """

    frontal: np.ndarray
    lateral: np.ndarray
    z: np.ndarray
    x: np.ndarray
    y: np.ndarray
    nearest: np.ndarray
    spine: Band | None = None
    hu_sample: np.ndarray = np.zeros(0, np.float32)


def project(
    volume: Volume,
    *,
    row_mm: float = 1.0,
    column_mm: float = 1.0,
    workers: int | None = None,
) -> Projection:
    """Projects a volume, without its table and its padding.

    Rows between two slices are interpolated at their true positions. Slices with other
    pixels than most are resampled first.

    Args:
      volume: the volume.
      row_mm: distance between rows.
      column_mm: distance between columns.
      workers: number of threads, each with one slice in memory; None takes one per
        core.

    Raises:
      DataError: a slice cannot be decoded.
    """
    workers = workers or launch.cores()
    reference = regrid.reference(volume)
    x, y = orient.pixel_positions(reference)

    def work(ct_slice: Slice) -> tuple[np.ndarray, np.ndarray, Cut, np.ndarray]:
        values = ct_slice.decode()
        sample = _sample(values)
        if not regrid.fits(ct_slice, reference):
            ct_slice, values = regrid.resample(ct_slice, values, reference)
        return *project_slice(ct_slice, values), sample

    parts = threads.map_ordered(work, volume.slices, workers)
    frontal, lateral, cuts, samples = zip(*parts, strict=True)
    z_to = np.arange(volume.z[-1], volume.z[0] - 1e-6, -row_mm)
    x_to, y_to = (np.arange(a[0], a[-1] + 1e-6, column_mm) for a in (x, y))
    nearest = np.abs(z_to[:, None] - volume.z).argmin(axis=1)
    return Projection(
        resample(resample(np.stack(frontal), volume.z, z_to, 0), x, x_to, 1),
        resample(resample(np.stack(lateral), volume.z, z_to, 0), y, y_to, 1),
        z_to, x_to, y_to, nearest, band.assemble(cuts, volume.z, y, x),
        np.concatenate(samples),
    )  # fmt: skip


def _sample(values: StoredValues) -> np.ndarray:
    """Returns HU of pixels on a coarse grid, without padding, float32 [N]."""
    rows, columns = values.stored.shape
    strides = -(-rows // SAMPLES_PER_SIDE), -(-columns // SAMPLES_PER_SIDE)
    some = values.stored[strides[0] // 2 :: strides[0], strides[1] // 2 :: strides[1]]
    hu = values._replace(stored=some).hu()
    return hu[~np.isnan(hu)]


def project_slice(
    ct_slice: Slice, values: StoredValues
) -> tuple[np.ndarray, np.ndarray, Cut]:
    """Returns the maximum HU of the body at each x [C] and each y [D]; and its middle.

    The maxima are taken over the stored values, and only the maxima are converted to
    HU. The result is the same, and most of the time is saved.

    Args:
      ct_slice: the slice.
      values: its decoded values.
    """
    if not values.increasing:
        hu = values.hu()
        values = StoredValues(np.where(np.isnan(hu), np.float32(-np.inf), hu))
    stored = values.stored
    pixel_mm = ct_slice.spacing_mm[::-1]  # Between rows, between columns.
    stride = [max(1, round(MASK_SPACING_MM / mm)) for mm in pixel_mm]
    coarse = values._replace(stored=stored[:: stride[0], :: stride[1]])
    coarse_mm = [mm * s for mm, s in zip(pixel_mm, stride, strict=True)]
    # NaN compares as False, so padding is no tissue.
    box, mask = segment_body(coarse.hu() > MIN_TISSUE_HU, coarse_mm)
    maxima = [np.full(n, np.float32(AIR_HU)) for n in stored.shape]
    fine_box = tuple(
        slice(s * at.start, s * at.stop) for s, at in zip(stride, box, strict=True)
    )
    inside = stored[fine_box]
    # Pixels outside the mask are lowered to the lowest value of the dtype.
    limit = np.where(mask, *_value_range(stored.dtype)[::-1])
    limit = _repeat_columns(limit, stride[1]).repeat(stride[0], 0)
    inside = np.minimum(inside, limit[: inside.shape[0], : inside.shape[1]])
    for axis, line in enumerate(maxima):
        hu = values._replace(stored=inside.max(axis=1 - axis)).hu()
        has_body = mask.any(axis=1 - axis).repeat(stride[axis])[: len(hu)]
        line[fine_box[axis]] = np.where(has_body, np.fmax(hu, AIR_HU), AIR_HU)
    y_hu, x_hu = maxima if orient.rows_run_sideways(ct_slice) else maxima[::-1]
    x_sign, y_sign = orient.signs(ct_slice)
    return x_hu[::x_sign], y_hu[::y_sign], _cut(ct_slice, values, x_hu)


def _cut(ct_slice: Slice, values: StoredValues, x_hu: np.ndarray) -> Cut:
    """Keeps the middle of a slice with maxima x_hu [C] along its columns or rows."""
    oriented = values._replace(stored=orient.oriented(ct_slice, values.stored))
    x, y = orient.pixel_positions(ct_slice)
    body = x_hu[:: orient.signs(ct_slice)[0]] > MIN_TISSUE_HU
    return band.cut(oriented, x, y, float(x[body].mean() if body.any() else x.mean()))


def _repeat_columns(values: np.ndarray, count: int) -> np.ndarray:
    """Repeats each column of values [R, C]; twice as fast as `np.repeat`."""
    return np.stack([values] * count, -1).reshape(len(values), -1)


def _value_range(dtype: np.dtype) -> np.ndarray:
    """Returns the lowest and the highest number of a dtype, [2]."""
    if dtype.kind == "f":
        return np.array([-np.inf, np.inf], dtype)
    return np.array([np.iinfo(dtype).min, np.iinfo(dtype).max], dtype)


def segment_body(
    tissue: np.ndarray, pixel_mm: Sequence[float]
) -> tuple[tuple[slice, slice], np.ndarray]:
    """Separates the patient from the table.

    Thin tissue is removed. The largest remaining piece is the trunk; other pieces that
    are not small, such as arms and legs, also belong to the body. The result is dilated
    by one pixel.

    Args:
      tissue: bool [rows, columns].
      pixel_mm: the distance between rows, and between columns.

    Returns:
      The bounding box of the body, and the mask of the body within this box, bool.
    """
    radius_px = [max(1, round(MAX_TABLE_MM / mm)) - 1 for mm in pixel_mm]
    outer = _bounding_box(tissue)
    opened = _dilate(_erode(tissue[outer], radius_px), radius_px)
    inner = _bounding_box(opened)  # It is smaller where there is a table.
    opened = opened[inner]
    rows, columns = map(_slice_within, outer, inner)
    pieces = np.empty(opened.shape, np.intp)  # The dtype of indices.
    large = opened
    if ndimage.label(opened, output=pieces) > 1:
        area = np.bincount(pieces.ravel())
        area[0] = 0
        large = (area >= MIN_PIECE_FRACTION * area.max()).take(pieces)
    return (rows, columns), _dilate(large, (1, 0)) | _dilate(large, (0, 1))


def _bounding_box(mask: np.ndarray) -> tuple[slice, slice]:
    """Returns the rows and columns of all True pixels and one more on each side.

    The box of an empty mask is the first pixel.
    """
    at = [np.flatnonzero(mask.any(axis=1 - axis)) for axis in (0, 1)]
    ends = [(max(i[0] - 1, 0), i[-1] + 2) if len(i) else (0, 1) for i in at]
    rows, columns = (slice(*pair) for pair in ends)
    return rows, columns


def _slice_within(outer: slice, inner: slice) -> slice:
    """Returns a slice of a slice."""
    return slice(outer.start + inner.start, min(outer.start + inner.stop, outer.stop))


def _dilate(mask: np.ndarray, radius_px: Sequence[int]) -> np.ndarray:
    """Dilates a mask by a rectangle with this radius in rows and columns."""
    for axis, radius in enumerate(radius_px):
        for _ in range(radius):
            before, mask = mask, mask.copy()
            if axis == 0:
                mask[1:] |= before[:-1]
                mask[:-1] |= before[1:]
            else:  # Not by transposing: the copies would take twice the time.
                mask[:, 1:] |= before[:, :-1]
                mask[:, :-1] |= before[:, 1:]
    return mask


def _erode(mask: np.ndarray, radius_px: Sequence[int]) -> np.ndarray:
    """Erodes a mask by a rectangle; pixels outside the image count as False."""
    rows, columns = (slice(r, -r or None) for r in radius_px)
    shape = [n + 2 * r for n, r in zip(mask.shape, radius_px, strict=True)]
    inverse = np.ones(shape, bool)
    inverse[rows, columns] = ~mask
    return ~_dilate(inverse, radius_px)[rows, columns]


def resample(
    values: np.ndarray, at: np.ndarray, to: np.ndarray, axis: int
) -> np.ndarray:
    """Interpolates values [A, B] linearly along an axis.

    Args:
      values: the values.
      at: their positions along the axis, increasing.
      to: the positions of the result.
      axis: 0 or 1.

    Raises:
      ValueError: there are fewer than two positions.
    """
    if len(at) < 2:
        raise ValueError(f"{len(at)} positions are too few to interpolate between")
    above = np.clip(np.searchsorted(at, to), 1, len(at) - 1)
    weight = np.clip((to - at[above - 1]) / (at[above] - at[above - 1]), 0, 1)
    weight = weight.astype(np.float32).reshape([-1 if a == axis else 1 for a in (0, 1)])
    low, high = values.take(above - 1, axis), values.take(above, axis)
    return (1 - weight) * low + weight * high
