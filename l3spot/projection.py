"""Frontal and lateral maximum intensity projections of a volume, in one pass.

Each axial plane gives one line of each, so the volume is never held. The head is up;
the frontal one has the patient's right on the left, as one looks at a patient, and the
lateral one the front on the left.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from l3spot.planes import Plane
from l3spot.volumes import Volume

AIR = -1024.0  # HU, of what is not projected.
TISSUE = -300.0  # HU from which a pixel may belong to the body.
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
      workers: threads that decode planes; None lets Python choose. A thread holds one
        plane at a time.

    Raises:
      DataError: a plane cannot be decoded.
    """
    with ThreadPoolExecutor(workers) as pool:
        frontal, lateral = zip(*pool.map(lines, volume.planes), strict=True)
    x, y = sides(volume.planes[0])
    z_to = np.arange(volume.z[-1], volume.z[0] - 1e-6, -row)
    x_to, y_to = (np.arange(a[0], a[-1] + 1e-6, column) for a in (x, y))
    nearest = np.abs(z_to[:, None] - volume.z).argmin(axis=1)
    return Projection(
        resample(resample(np.stack(frontal), volume.z, z_to, 0), x, x_to, 1),
        resample(resample(np.stack(lateral), volume.z, z_to, 0), y, y_to, 1),
        z_to, x_to, y_to, nearest,
    )  # fmt: skip


def lines(plane: Plane) -> tuple[np.ndarray, np.ndarray]:
    """The largest HU at each x [C] and at each y [D] of a plane."""
    hu = plane.hu()
    shown = np.where(body(hu, plane.spacing), hu, np.float32(AIR))
    along, across = (0, 1) if _upright(plane) else (1, 0)
    columns, rows = shown.max(axis=along), shown.max(axis=across)
    right, back = _signs(plane)
    return columns[::right], rows[::back]


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


def body(hu: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """bool, like HU [rows, columns]: the patient, without the table.

    Tissue, less what is thin; of its pieces the largest, and others that are not small:
    arms and legs. Looked for on a grid of about 2 mm, for speed.
    """
    skip = tuple(max(1, round(2 / mm)) for mm in spacing[::-1])
    tissue = hu[:: skip[0], :: skip[1]] > TISSUE  # NaN is not.
    reach = [
        max(1, round(THIN / (mm * s))) - 1
        for mm, s in zip(spacing[::-1], skip, strict=True)
    ]
    block = np.ones([2 * r + 1 for r in reach], bool)
    thick = ndimage.binary_opening(tissue, block)
    pieces, _ = ndimage.label(thick)
    area = np.bincount(pieces.ravel())
    area[0] = 0
    kept = area >= max(1, SMALL * area.max())
    coarse = ndimage.binary_dilation(kept[pieces])
    whole = coarse.repeat(skip[0], 0).repeat(skip[1], 1)
    return whole[: hu.shape[0], : hu.shape[1]] & ~np.isnan(hu)


def resample(
    values: np.ndarray, at: np.ndarray, to: np.ndarray, axis: int
) -> np.ndarray:
    """Values [A, B], interpolated along an axis from increasing positions to others."""
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
