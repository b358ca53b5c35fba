"""Frontal and lateral maximum intensity projections of a volume, in one pass.

Each axial plane gives one line of each, so the volume is never held. The head is up;
the frontal one has the patient's right on the left, as one looks at a patient, and the
lateral one the front on the left.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from l3spot.ct import threads
from l3spot.ct.slices import Plane, Values
from l3spot.ct.volumes import Volume
from mtl.host import launch

AIR = -1024.0  # HU, of what is not projected.
TISSUE = -300.0  # HU from which a pixel may belong to the body.
GRID = 2.0  # mm, about, between the pixels that tell where the body is.
THIN = 5.0  # mm: what is thinner in both directions is a table top, a tube, a sheet.
SMALL = 0.05  # Of the largest piece of tissue: the size from which others belong to it.


class Projection(NamedTuple):
    """Two projections in HU.

    frontal: float32 [R, C]. lateral: float32 [R, D].
    z: float64 [R], decreasing, x: float64 [C] and y: float64 [D], increasing: where
    rows and columns are in the patient, mm, LPS.
    nearest: int [R], for each row the number of the nearest plane of the volume.
    """

    frontal: np.ndarray
    lateral: np.ndarray
    z: np.ndarray
    x: np.ndarray
    y: np.ndarray
    nearest: np.ndarray


def project(
    volume: Volume,
    *,
    row: float = 1.0,
    column: float = 1.0,
    workers: int | None = None,
) -> Projection:
    """Projects a volume, its table and all that is padding left out.

    Lines are placed at the true positions of their planes, and what is between two is
    interpolated.

    Args:
      volume: what to project.
      row: mm between rows.
      column: mm between columns.
      workers: threads, of which each holds one plane at a time; None takes one a core.

    Raises:
      DataError: a plane cannot be decoded.
    """
    workers = workers or launch.cores()
    made = threads.each(lambda p: lines(p, p.values()), volume.planes, workers)
    frontal, lateral = zip(*made, strict=True)
    x, y = sides(volume.planes[0])
    z_to = np.arange(volume.z[-1], volume.z[0] - 1e-6, -row)
    x_to, y_to = (np.arange(a[0], a[-1] + 1e-6, column) for a in (x, y))
    nearest = np.abs(z_to[:, None] - volume.z).argmin(axis=1)
    return Projection(
        resample(resample(np.stack(frontal), volume.z, z_to, 0), x, x_to, 1),
        resample(resample(np.stack(lateral), volume.z, z_to, 0), y, y_to, 1),
        z_to, x_to, y_to, nearest,
    )  # fmt: skip


def lines(plane: Plane, values: Values) -> tuple[np.ndarray, np.ndarray]:
    """The largest HU of the body at each x [C] and at each y [D] of a plane, float32.

    They are looked for among the stored values, and only the largest become HU: that
    gives the same, and spares most of the time.

    Args:
      plane: where it lies.
      values: what it decodes to.
    """
    if not values.ordered:
        hu = values.hu()
        values = Values(np.where(np.isnan(hu), np.float32(-np.inf), hu))
    stored = values.stored
    skip = [max(1, round(GRID / mm)) for mm in plane.spacing[::-1]]
    some = values._replace(stored=stored[:: skip[0], :: skip[1]])
    steps = [mm * s for mm, s in zip(plane.spacing[::-1], skip, strict=True)]
    near, mask = body(some.hu() > TISSUE, steps)  # NaN is not.
    made = [np.full(n, np.float32(AIR)) for n in stored.shape]
    where = tuple(
        slice(s * at.start, s * at.stop) for s, at in zip(skip, near, strict=True)
    )
    inside = stored[where]
    limit = _ends(stored.dtype).take(mask).repeat(skip[1], 1).repeat(skip[0], 0)
    inside = np.minimum(inside, limit[: inside.shape[0], : inside.shape[1]])
    for axis, line in enumerate(made):
        hu = values._replace(stored=inside.max(axis=1 - axis)).hu()
        seen = mask.any(axis=1 - axis).repeat(skip[axis])[: len(hu)]
        line[where[axis]] = np.where(seen, np.fmax(hu, AIR), AIR)
    x, y = made[::-1] if _upright(plane) else made
    right, back = _signs(plane)
    return x[::right], y[::back]


def _ends(kind: np.dtype) -> np.ndarray:
    """[2], the lowest and the highest number of a kind."""
    if kind.kind == "f":
        return np.array([-np.inf, np.inf], kind)
    return np.array([np.iinfo(kind).min, np.iinfo(kind).max], kind)


def sides(plane: Plane) -> tuple[np.ndarray, np.ndarray]:
    """Where the `lines` of a plane are: x [C] and y [D], increasing, mm."""
    rows, columns = plane.shape
    along, down = plane.axes * np.array(plane.spacing)[:, None]
    if not _upright(plane):
        rows, columns, along, down = columns, rows, down, along
    right, back = _signs(plane)
    x = plane.origin[0] + along[0] * np.arange(columns)
    y = plane.origin[1] + down[1] * np.arange(rows)
    return x[::right], y[::back]


def body(
    tissue: np.ndarray, mm: Sequence[float]
) -> tuple[tuple[slice, slice], np.ndarray]:
    """The patient, without the table: the rows and columns it has, and bool for these.

    Tissue, less what is thin; of its pieces the largest, and others that are not small:
    arms and legs. And a pixel more on all sides.

    Args:
      tissue: bool [rows, columns].
      mm: between its rows, and between its columns.
    """
    reach = [max(1, round(THIN / step)) - 1 for step in mm]
    near = _around(tissue)
    pieces = np.empty(tissue[near].shape, np.intp)
    ndimage.label(_grow(_shrink(tissue[near], reach), reach), output=pieces)
    area = np.bincount(pieces.ravel())
    area[0] = 0
    large = (area >= max(1, SMALL * area.max())).take(pieces)
    return near, _grow(large, (1, 0)) | _grow(large, (0, 1))


def _around(mask: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns of all that is True and a pixel more; of nothing, one."""
    at = [np.flatnonzero(mask.any(axis=1 - axis)) for axis in (0, 1)]
    ends = [(max(i[0] - 1, 0), i[-1] + 2) if len(i) else (0, 1) for i in at]
    rows, columns = (slice(*pair) for pair in ends)
    return rows, columns


def _grow(mask: np.ndarray, reach: Sequence[int]) -> np.ndarray:
    """True where any pixel is that is at most so many rows and columns away."""
    for axis, steps in enumerate(reach):
        for _ in range(steps):
            near = mask.swapaxes(0, axis)
            mask = near.copy()
            mask[1:] |= near[:-1]
            mask[:-1] |= near[1:]
            mask = mask.swapaxes(0, axis)
    return mask


def _shrink(mask: np.ndarray, reach: Sequence[int]) -> np.ndarray:
    """False where any pixel is that is as near; the same for what is outside."""
    rows, columns = (slice(r, -r or None) for r in reach)
    framed = np.ones([n + 2 * r for n, r in zip(mask.shape, reach, strict=True)], bool)
    framed[rows, columns] = ~mask
    return ~_grow(framed, reach)[rows, columns]


def resample(
    values: np.ndarray, at: np.ndarray, to: np.ndarray, axis: int
) -> np.ndarray:
    """Values [A, B], interpolated along an axis from increasing positions to others.

    Raises:
      ValueError: there are fewer than two positions to interpolate between.
    """
    if len(at) < 2:
        raise ValueError(f"{len(at)} positions are too few to interpolate between")
    above = np.clip(np.searchsorted(at, to), 1, len(at) - 1)
    share = np.clip((to - at[above - 1]) / (at[above] - at[above - 1]), 0, 1)
    share = share.astype(np.float32).reshape([-1 if a == axis else 1 for a in (0, 1)])
    low, high = values.take(above - 1, axis), values.take(above, axis)
    return (1 - share) * low + share * high


def _upright(plane: Plane) -> bool:
    """Whether a row of the image runs from side to side, and not from front to back."""
    return abs(plane.axes[0, 0]) >= abs(plane.axes[1, 0])


def _signs(plane: Plane) -> tuple[int, int]:
    """-1 for each of x and y that decreases along its image axis."""
    across, down = plane.axes if _upright(plane) else plane.axes[::-1]
    return (1 if across[0] > 0 else -1), (1 if down[1] > 0 else -1)
