"""Assembles slices into volumes, and rejects slices that make no volume.

A volume is made from a stack of slices (`stacks`), ordered by their positions along the
normal. File names, instance numbers and slice locations do not affect the order.
Rejected slices are returned with the reason.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from l3spot.ct import duplicates, frames, orientation, stacks
from l3spot.ct.duplicates import SAME_POSITION_MM
from l3spot.ct.slices import Slice
from l3spot.ct.stacks import MIN_IMAGE_SIDE_PX
from mtl.host.errors import DataError
from mtl.host.wording import counted

MIN_SLICES = 8  # Fewer slices are a localizer, or remains of a series.
MAX_COPIES = 2  # More slices at one position are no copies of a localizer.
MIN_AXIAL_COSINE = 0.7  # Of the angle between the normal and the body axis.
MAX_GANTRY_TANGENT = 0.02  # Tangent of the largest gantry tilt, 1.1 degrees.
MAX_SIDEWAYS_SHIFT_MM = 5.0  # Between neighbouring slices.
MAX_STEP_MM = 10.0  # The usual distance between slices; larger distances are gaps.
MAX_GAP_MM = 30.0  # Slices beyond a larger gap are another volume.
# A vertebra is counted from the last rib or the sacrum, about so far away.
MIN_GAP_DISTANCE_MM = 120.0
NOT_HU_WARNING = (
    "its values may not be HU: the files give no rescale, and no value is below 0"
)


class Volume(NamedTuple):
    """A stack of axial slices.

    slices: from the feet to the head.
    z: float64 [N], mm, increasing: the z of the slices' centres.
    warnings: messages for the user.
    left_out: copies, and other images at the positions of its slices.
    """

    slices: tuple[Slice, ...]
    z: np.ndarray
    warnings: tuple[str, ...]
    left_out: tuple[Slice, ...] = ()


class Rejected(NamedTuple):
    """Slices that make no volume, and the reason."""

    slices: tuple[Slice, ...]
    reason: str


def assemble(slices: Sequence[Slice]) -> tuple[list[Volume], list[Rejected]]:
    """Returns all volumes that the slices make, and the rejected slices.

    Each slice is in a volume, in its `left_out`, or rejected.
    """
    volumes: list[Volume] = []
    rejected: list[Rejected] = []
    for stack in stacks.split(frames.join_small_frames(slices, MIN_SLICES)):
        for result in _make_volumes(stack.slices):
            if isinstance(result, Rejected):
                rejected.append(result)
                continue
            warnings = (*result.warnings, *stack.warnings)
            volumes.append(result._replace(warnings=warnings))
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
    spacing, then to fewer gaps. Volumes with values that may not be HU come last. UIDs
    break other ties, so the order of the files has no effect.
    """
    first = volume.slices[0]
    length = -round(coverage_mm(volume) / 10)
    doubtful = NOT_HU_WARNING in volume.warnings
    spacing, gap_count = slice_spacing_mm(volume), len(gaps(volume))
    uids = first.series, first.frame_of_reference_uid, first.sop_instance_uid
    return doubtful, length, spacing, gap_count, *uids


def gaps(volume: Volume) -> list[tuple[float, float]]:
    """Returns the z of the slices below and above each gap, in mm."""
    steps = np.diff(volume.z)
    large = np.flatnonzero(steps > MAX_STEP_MM + SAME_POSITION_MM)
    return [(float(volume.z[i]), float(volume.z[i + 1])) for i in large]


def gap_error(volume: Volume, z_mm: float | None) -> str:
    """Returns why a gap forbids a position, or ""; slices in it may be needed.

    Args:
      volume: the volume.
      z_mm: of the vertebra; None if it is not in view, or unknown.
    """
    for low, high in gaps(volume):
        near = low - MIN_GAP_DISTANCE_MM, high + MIN_GAP_DISTANCE_MM
        if z_mm is None or near[0] < z_mm < near[1]:
            below = volume.slices[int(np.searchsorted(volume.z, low))]
            return (
                f"there is a gap of {high - low:.1f} mm above {below.file}, at z = "
                f"{low:.1f} mm; near the vertebra at most {MAX_STEP_MM:g} mm is "
                "allowed; add the missing slices"
            )
    return ""


def has_no_negative_value(ct_slice: Slice) -> bool:
    """Returns whether no value is below 0; in HU, air would be.

    Raises:
      DataError: the slice cannot be decoded.
    """
    return not np.nanmin(ct_slice.hu(), initial=0) < 0


def _make_volumes(group: list[Slice]) -> list[Volume | Rejected]:
    """Makes the volumes of a stack, which are separated by large gaps."""
    axes = np.array([s.axes for s in group])
    normal = np.cross(axes[:, 0], axes[:, 1]).mean(axis=0)
    normal *= np.sign(normal[2] or 1) / np.linalg.norm(normal)
    positions = np.array([s.centre_mm @ normal for s in group])
    order = np.argsort(positions, kind="stable")
    slices, positions = [group[i] for i in order], positions[order]
    if normal[2] < MIN_AXIAL_COSINE:
        return [Rejected(tuple(slices), orientation.tilt_error(normal))]
    steps = np.diff(positions)
    ends = np.flatnonzero(steps > MAX_GAP_MM)
    parts = np.split(np.arange(len(slices)), ends + 1)
    if len(parts) > 1 and max(map(len, parts)) < MIN_SLICES:
        return [Rejected(tuple(slices), _gap_reason(slices, steps))]
    return [
        _make_volume([slices[i] for i in part], positions[part], normal)
        for part in parts
    ]


def _make_volume(
    slices: list[Slice], positions: np.ndarray, normal: np.ndarray
) -> Volume | Rejected:
    """Makes a volume of slices that are sorted by their positions."""
    whole = tuple(slices)
    if min(min(s.shape) for s in slices) < MIN_IMAGE_SIDE_PX:
        rows, columns = min((s.shape for s in slices), key=min)
        reason = f"its slices are {rows} x {columns} pixels; it may be a localizer"
        return Rejected(whole, reason)
    if len(slices) > MAX_COPIES and np.ptp(positions) <= SAME_POSITION_MM:
        return Rejected(
            whole,
            f"all {len(slices)} slices have the same position: their "
            "ImagePositionPatient was lost; export the series again",
        )
    slices, warnings = duplicates.one_per_position(slices, positions)
    if len(slices) < MIN_SLICES:
        count = counted(len(slices), "slice", "is", "are")
        reason = f"{count} too few for a volume; it may be a localizer"
        return Rejected(whole, reason)
    z = np.array([s.centre_mm[2] for s in slices])
    steps = np.diff(z)
    reason = (
        _alignment_error(slices, normal)
        or orientation.tilt_error(normal)
        or orientation.rotation_error(slices[0])
    )
    if not reason and np.median(steps) > MAX_STEP_MM + SAME_POSITION_MM:
        reason = _gap_reason(slices, steps)
    if reason:
        return Rejected(whole, reason)
    used = {id(s) for s in slices}
    notes = dict.fromkeys(note for s in slices for note in s.notes)
    warnings += [*notes, *orientation.angle_warnings(normal, slices[0])]
    missing = int(np.sum(steps > 1.5 * np.median(steps)))
    if missing:
        warnings.append(f"slices are missing in {counted(missing, 'place')}")
    if _may_not_be_hu(slices[len(slices) // 2]):
        warnings.append(NOT_HU_WARNING)
    left_out = tuple(s for s in whole if id(s) not in used)
    return Volume(tuple(slices), z, tuple(warnings), left_out)


def _gap_reason(slices: Sequence[Slice], steps: np.ndarray) -> str:
    i = int(steps.argmax())
    gap = f"there is a gap of {steps[i]:.1f} mm above {slices[i].file}"
    return f"{gap}; at most {MAX_STEP_MM:g} mm is allowed"


def _may_not_be_hu(ct_slice: Slice) -> bool:
    """Returns whether a slice has no rescale and no negative value.

    A slice that cannot be decoded gives False; its error is raised when it is used.
    """
    try:
        return not ct_slice.has_rescale and has_no_negative_value(ct_slice)
    except DataError:
        return False


def _alignment_error(slices: Sequence[Slice], normal: np.ndarray) -> str:
    """Returns why slices are not stacked straight, or "".

    Slices are compared with others of the same shape and about the same spacing,
    because the middles of other fields may differ.
    """
    groups: dict[tuple, list[np.ndarray]] = {}
    for s in slices:
        spacing = tuple(round(100 * np.log(mm)) for mm in s.spacing_mm)
        groups.setdefault((s.shape, spacing), []).append(s.centre_mm)
    for centres in map(np.array, groups.values()):
        along = centres @ normal
        sideways = centres - along[:, None] * normal
        if len(centres) >= MIN_SLICES:
            slope, _ = np.polyfit(along - along.mean(), sideways, 1)
            tangent = float(np.linalg.norm(slope))
            if tangent > MAX_GANTRY_TANGENT:
                angle = np.degrees(np.arctan(tangent))
                tilt = f"the gantry was tilted by {angle:.1f} degrees"
                return f"{tilt}; its rows are not level"
        steps = np.linalg.norm(np.diff(sideways, axis=0), axis=1)
        if len(steps) and steps.max() > MAX_SIDEWAYS_SHIFT_MM:
            return f"its slices are shifted sideways by up to {steps.max():.1f} mm"
    return ""
