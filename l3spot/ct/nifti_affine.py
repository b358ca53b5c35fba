"""Reads where the header of a NIfTI file places its voxels."""

from typing import Any

import numpy as np

from l3spot.ct.slices import ScanFile
from mtl.host.errors import DataError

RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])  # Signs of x, y and z; also LPS to RAS.
MM_PER_UNIT = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}
MAX_DIFFERENCE_MM = 1.0  # Between sform and qform, of any voxel.


def read(file: ScanFile, header: Any) -> np.ndarray:
    """Returns the sform, else the qform, float64 [3, 4]: voxel indices to mm, LPS.

    Raises:
      DataError: both are missing, or the affine is invalid.
    """
    from nibabel.spatialimages import HeaderDataError

    try:
        unit = header.get_xyzt_units()[0]
        affine = header.get_sform(coded=True)[0]
        if affine is None:
            affine = header.get_qform(coded=True)[0]
    except (HeaderDataError, KeyError, ValueError) as e:
        raise DataError(f"{file} does not place its voxels ({e})") from e
    if affine is None:
        raise DataError(
            f"{file} does not place its voxels in the patient: it has neither an sform "
            "nor a qform; convert it again from DICOM"
        )
    affine = MM_PER_UNIT[unit] * RAS_TO_LPS[:, None] * np.asarray(affine, float)[:3]
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:, :3])) < 1e-9:
        raise DataError(f"{file} has an invalid affine: {affine.tolist()}")
    return affine


def check_geometry(file: ScanFile, affine: np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuses the affine of an array without geometry: the identity, or its mirror.

    Args:
      file: for the message.
      affine: float64 [3, 4], voxel indices to mm.
      shape: of the voxels.

    Raises:
      DataError: it is such an affine.
    """
    is_identity = np.array_equal(np.abs(affine[:, :3]), np.eye(3))
    at_ends = np.abs(affine[:, 3]) == np.array(shape) - 1
    if is_identity and np.all(at_ends | (affine[:, 3] == 0)):
        raise DataError(
            f"{file} has the identity as its affine, so the size and place of its "
            "voxels were lost; convert it again from DICOM"
        )


def notes(header: Any) -> tuple[str, ...]:
    """Returns warnings about a header with a valid affine."""
    from nibabel.spatialimages import HeaderDataError

    try:
        sform, qform = (f(coded=True)[0] for f in (header.get_sform, header.get_qform))
    except (HeaderDataError, KeyError, ValueError):
        return ()
    if sform is None or qform is None:
        return ()
    corners = np.array([[*c, 1.0] for c in np.ndindex(2, 2, 2)])
    corners[:, :3] *= np.array(header.get_data_shape()[:3]) - 1
    difference = np.linalg.norm(corners @ (sform - qform).T, axis=1).max()
    if difference <= MAX_DIFFERENCE_MM:
        return ()
    return (
        f"its sform and qform differ by up to {difference:.0f} mm; the sform is used",
    )
