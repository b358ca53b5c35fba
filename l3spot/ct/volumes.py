"""Assembles slices into volumes, and rejects slices that make no volume.

A volume has slices of one series, orientation, shape and pixel spacing, ordered by
their positions along the normal. File names, instance numbers and slice locations do
not affect the order. Rejected slices are returned with the reason.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from l3spot.ct import duplicates, orientation
from l3spot.ct.duplicates import SAME_POSITION_MM
from l3spot.ct.slices import HEADER_TOLERANCE, Slice
from mtl.host.errors import DataError

MAX_INTERLEAVED_SLICES = 3  # Acquisitions may interleave by so many slices.
MAX_LISTED_ACQUISITIONS = 3  # A warning lists at most so many acquisition numbers.
MIN_SLICES = 8  # Fewer slices are a localizer, or remains of a series.
MIN_IMAGE_SIDE_PX = 4  # Fewer rows or columns: the image is a non-axial localizer.
MIN_AXIAL_COSINE = 0.7  # Of the angle between the normal and the body axis.
MAX_GANTRY_TANGENT = 0.02  # Tangent of the largest gantry tilt, 1.1 degrees.
MAX_SIDEWAYS_SHIFT_MM = 5.0  # Between neighbouring slices.
MAX_GAP_MM = 10.0  # Larger gaps between slices are not interpolated.
NOT_HU_WARNING = (
    "its values may not be HU: the files give no rescale, and no value is below 0"
)


class Volume(NamedTuple):
    """A stack of axial slices.

    slices: from the feet to the head.
    z: float64 [N], mm, increasing: the z of the slices' centres.
    warnings: messages for the user.
    """

    slices: tuple[Slice, ...]
    z: np.ndarray
    warnings: tuple[str, ...]


class Rejected(NamedTuple):
    """Slices that make no volume, and the reason."""

    slices: tuple[Slice, ...]
    reason: str


def assemble(slices: Sequence[Slice]) -> tuple[list[Volume], list[Rejected]]:
    """Returns all volumes that the slices make, and the rejected slices."""
    volumes: list[Volume] = []
    rejected: list[Rejected] = []
    for group in _group_by_geometry(slices):
        parts = _split_interleaved_acquisitions(group)
        for part in parts:
            result = _make_volume(part)
            if isinstance(result, Rejected):
                rejected.append(result)
                continue
            if len(parts) > 1:
                warnings = (*result.warnings, _interleaving_warning(part))
                result = result._replace(warnings=warnings)
            volumes.append(result)
    return volumes, rejected


def coverage_mm(volume: Volume) -> float:
    """Returns the length of a volume along z, half a slice beyond each end included."""
    return float(volume.z[-1] - volume.z[0] + slice_spacing_mm(volume))


def slice_spacing_mm(volume: Volume) -> float:
    """Returns the median distance between neighbouring slices."""
    return float(np.median(np.diff(volume.z)))


def sort_key(volume: Volume) -> tuple:
    """Returns a key that sorts the best volume first.

    The longest volume comes first, in whole centimetres; ties go to the smaller slice
    spacing. Volumes with values that may not be HU come last. UIDs break other ties, so
    the order of the files has no effect.
    """
    first = volume.slices[0]
    length = -round(coverage_mm(volume) / 10)
    doubtful = NOT_HU_WARNING in volume.warnings
    spacing = slice_spacing_mm(volume)
    return doubtful, length, spacing, first.series, first.sop_instance_uid


def has_no_negative_value(ct_slice: Slice) -> bool:
    """Returns whether no value is below 0; in HU, air would be.

    Raises:
      DataError: the slice cannot be decoded.
    """
    return not np.nanmin(ct_slice.hu(), initial=0) < 0


def _group_by_geometry(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Groups slices of one series, orientation, shape and pixel spacing.

    Orientations and spacings within the rounding error of headers count as equal.
    """
    groups: dict[tuple, list[list[Slice]]] = {}
    for ct_slice in slices:
        candidates = groups.setdefault((ct_slice.series, ct_slice.shape), [])
        for group in candidates:
            if _same_geometry(ct_slice, group[0]):
                group.append(ct_slice)
                break
        else:
            candidates.append([ct_slice])
    return [group for candidates in groups.values() for group in candidates]


def _same_geometry(a: Slice, b: Slice) -> bool:
    if a.spacing_mm == b.spacing_mm and np.array_equal(a.axes, b.axes):
        return True  # The usual case; this test is ten times as fast.
    return np.allclose(a.axes, b.axes, atol=HEADER_TOLERANCE) and np.allclose(
        a.spacing_mm, b.spacing_mm, rtol=HEADER_TOLERANCE
    )


def _split_interleaved_acquisitions(group: list[Slice]) -> list[list[Slice]]:
    """Joins acquisitions that follow each other, and separates interleaved ones."""
    acquisitions: dict[int, list[Slice]] = {}
    ordered = sorted(group, key=lambda s: (s.acquisition_number, s.instance_number))
    for ct_slice in ordered:
        acquisitions.setdefault(ct_slice.acquisition_number, []).append(ct_slice)
    if len(acquisitions) == 1:
        return [group]
    normal = group[0].normal
    parts: list[tuple[list[Slice], list[np.ndarray]]] = []
    for slices in acquisitions.values():
        positions = np.sort([s.origin_mm @ normal for s in slices])
        for part, others in parts:
            if not any(_interleaved(positions, other) for other in others):
                part += slices
                others.append(positions)
                break
        else:
            parts.append((slices, [positions]))
    return [part for part, _ in parts]


def _interleaved(a: np.ndarray, b: np.ndarray) -> bool:
    """Returns whether most positions of a, within the common range, are not in b.

    Both arrays are sorted.
    """
    low = max(a[0], b[0]) - SAME_POSITION_MM
    high = min(a[-1], b[-1]) + SAME_POSITION_MM
    if low > high:
        return False
    a, b = (v[(v >= low) & (v <= high)] for v in (a, b))
    if min(len(a), len(b)) <= MAX_INTERLEAVED_SLICES:
        return False
    distance = np.abs(a[:, None] - b).min(axis=1)
    return bool(np.sum(distance > SAME_POSITION_MM) > len(a) / 2)


def _interleaving_warning(part: list[Slice]) -> str:
    numbers = sorted({s.acquisition_number for s in part})
    listed = ", ".join(map(str, numbers[:MAX_LISTED_ACQUISITIONS]))
    listed += ", ..." * (len(numbers) > MAX_LISTED_ACQUISITIONS)
    return (
        "other acquisitions of its series lie between its slices; acquisition "
        f"{listed} is a separate volume"
    )


def _make_volume(group: list[Slice]) -> Volume | Rejected:
    normal = group[0].normal * np.sign(group[0].normal[2] or 1)
    positions = np.array([s.origin_mm @ normal for s in group])
    order = np.argsort(positions, kind="stable")
    slices, positions = [group[i] for i in order], positions[order]
    if normal[2] < MIN_AXIAL_COSINE:
        return Rejected(tuple(slices), orientation.tilt_error(normal))
    if min(slices[0].shape) < MIN_IMAGE_SIDE_PX:
        rows, columns = slices[0].shape
        reason = f"its slices are {rows} x {columns} pixels; it may be a localizer"
        return Rejected(tuple(slices), reason)
    slices, warnings = duplicates.one_per_position(slices, positions)
    if len(slices) < MIN_SLICES:
        reason = f"{len(slices)} slices are too few for a volume; it may be a localizer"
        return Rejected(tuple(slices), reason)
    centres = np.array([_centre_mm(s) for s in slices])
    reason = (
        _alignment_error(centres, normal)
        or orientation.tilt_error(normal)
        or orientation.rotation_error(slices[0])
    )
    if reason:
        return Rejected(tuple(slices), reason)
    warnings += orientation.angle_warnings(normal, slices[0])
    z = centres[:, 2]
    gaps = np.diff(z)
    if gaps.max() > MAX_GAP_MM + SAME_POSITION_MM:
        i = int(gaps.argmax())
        reason = f"there is a gap of {gaps[i]:.1f} mm above {slices[i].file}"
        return Rejected(
            tuple(slices), f"{reason}; at most {MAX_GAP_MM:g} mm is allowed"
        )
    missing = int(np.sum(gaps > 1.5 * np.median(gaps)))
    if missing:
        warnings.append(f"slices are missing in {missing} places")
    if _may_not_be_hu(slices[len(slices) // 2]):
        warnings.append(NOT_HU_WARNING)
    return Volume(tuple(slices), z, tuple(warnings))


def _may_not_be_hu(ct_slice: Slice) -> bool:
    """Returns whether a slice has no rescale and no negative value.

    A slice that cannot be decoded gives False; its error is raised when it is used.
    """
    try:
        return not ct_slice.has_rescale and has_no_negative_value(ct_slice)
    except DataError:
        return False


def _centre_mm(ct_slice: Slice) -> np.ndarray:
    """Returns the position of the middle of the image, float64 [3]."""
    rows, columns = ct_slice.shape
    along, down = ct_slice.spacing_mm
    half = np.array([along * (columns - 1) / 2, down * (rows - 1) / 2])
    return ct_slice.origin_mm + half @ ct_slice.axes


def _alignment_error(centres: np.ndarray, normal: np.ndarray) -> str:
    """Returns why slices with these centres [N, 3] are not stacked straight, or ""."""
    along = centres @ normal
    sideways = centres - along[:, None] * normal
    slope, _ = np.polyfit(along - along.mean(), sideways, 1)
    tangent = float(np.linalg.norm(slope))
    if tangent > MAX_GANTRY_TANGENT:
        angle = np.degrees(np.arctan(tangent))
        return f"the gantry was tilted by {angle:.1f} degrees; its rows are not level"
    shift = float(np.linalg.norm(np.diff(sideways, axis=0), axis=1).max())
    if shift > MAX_SIDEWAYS_SHIFT_MM:
        return f"its slices are shifted sideways by up to {shift:.1f} mm"
    return ""
