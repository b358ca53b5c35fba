"""A volume of an array in memory."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Real

from l3spot.ct import volumes
from l3spot.ct.slices import ScanFile, SeriesKey, Slice, StoredValues
from l3spot.ct.volumes import Rejected, Volume
from mtl.host.errors import DataError

AXES = ("SI", "PA", "LR")  # To where the axes of an array may point.


def make(
    hu: Real[np.ndarray, "Z Y X"],
    spacing_mm: Sequence[float] | None,
    orientation: str = "SPL",
) -> Volume:
    """Returns a volume; z is 0 at the array's first slice, and increases to the head.

    Args:
      hu: the values; NaN is padding.
      spacing_mm: between slices, rows and columns.
      orientation: to where the three axes point, such as "SPL" or "IPL".

    Raises:
      DataError: the array is no volume, or spacing or orientation are wrong.
    """
    if hu.ndim != 3 or hu.dtype.kind not in "iuf":
        raise DataError(f"the array is {hu.dtype} {hu.shape}; give HU [Z, Y, X]")
    _check(spacing_mm, orientation)
    assert spacing_mm is not None
    signs = [
        1.0 if letter == axis[0] else -1.0
        for letter, axis in zip(orientation, AXES, strict=True)
    ]
    step_mm = signs[0] * spacing_mm[0]
    axes = np.array([[signs[2], 0, 0], [0, signs[1], 0]])
    slices = [
        Slice(
            file=ScanFile(Path()),
            series=SeriesKey("", "", "array"),
            sop_instance_uid="",
            acquisition_number=0,
            instance_number=index,
            origin_mm=np.array([0, 0, index * step_mm]),
            axes=axes,
            spacing_mm=(float(spacing_mm[2]), float(spacing_mm[1])),
            shape=(hu.shape[1], hu.shape[2]),
            decode=partial(StoredValues, hu[index]),
        )
        for index in range(len(hu))
    ]
    made, rejected = volumes.assemble(slices)
    if not made:
        raise DataError(f"the array is no volume: {_reason(rejected)}")
    return made[0]


def _reason(rejected: Sequence[Rejected]) -> str:
    return rejected[0].reason if rejected else "it has no slices"


def _check(spacing_mm: Sequence[float] | None, orientation: str) -> None:
    if spacing_mm is None or len(spacing_mm) != 3:
        raise DataError(
            f"spacing_mm={spacing_mm} must be three numbers: between slices, rows and "
            "columns"
        )
    if not all(0 < mm < math.inf for mm in spacing_mm):
        raise DataError(f"spacing_mm={spacing_mm} must be above 0")
    if len(orientation) != 3 or any(
        letter not in axis for letter, axis in zip(orientation, AXES, strict=True)
    ):
        raise DataError(
            f"orientation={orientation!r} must be S or I, then P or A, then L or R: to "
            "where the array's three axes point; transpose it first"
        )
