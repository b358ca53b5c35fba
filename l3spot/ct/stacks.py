"""Divides the slices of a scan into stacks, from which volumes are made.

The slices of a stack share series, frame of reference and nearly the orientation. They
continue each other along z, or lie between each other. Matrix and pixel spacing may
change within a stack. Images between the others, of another thickness or another
acquisition, are separate stacks. So are images of another geometry at equal positions.
Images of equal geometry at equal positions, such as phases, stay in one stack;
`duplicates.one_per_position` selects one of them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from l3spot.ct.duplicates import SAME_POSITION_MM
from l3spot.ct.slices import HEADER_TOLERANCE, Slice

MAX_INTERLEAVED_SLICES = 3  # Parts of a stack may overlap by so many slices.
MAX_LISTED_ACQUISITIONS = 3  # A warning lists at most so many acquisition numbers.
MIN_IMAGE_SIDE_PX = 4  # Fewer rows or columns: the image is a non-axial localizer.
MAX_AXES_DIFFERENCE = 0.02  # Of unit vectors in one stack: 1.1 degrees.
MAX_THICKNESS_RATIO = 1.1  # Of slices that lie between each other.
MAX_FIELD_SHIFT_MM = 5.0  # Between the fields of slices that lie between each other.


class Stack(NamedTuple):
    """Slices in no order, and warnings for the user."""

    slices: list[Slice]
    warnings: tuple[str, ...]


class _Part(NamedTuple):
    """Slices with equal geometry, from acquisitions that do not interleave.

    slices: not empty. z: float64 [N], mm, sorted. acquisitions: their numbers.
    warnings: messages for the user. first_index: of the first slice in the scan.
    """

    slices: list[Slice]
    z: np.ndarray
    acquisitions: frozenset[int]
    warnings: tuple[str, ...]
    first_index: int


def split(slices: Sequence[Slice]) -> list[Stack]:
    """Returns the stacks; each slice is in one of them."""
    index = {id(s): i for i, s in enumerate(slices)}
    parts = []
    for group in _group_by_geometry(slices):
        acquisitions = _split_interleaved_acquisitions(group)
        for members in acquisitions:
            many = len(acquisitions) > 1
            warnings = (_interleaving_warning(members),) if many else ()
            first = min(index[id(s)] for s in members)
            parts.append(_make_part(members, warnings, first))
    stacks: dict[tuple, list[list[_Part]]] = {}
    for part in sorted(parts, key=lambda p: (-len(p.slices), p.z[0], p.first_index)):
        one = part.slices[0]
        key = one.series, one.frame_of_reference_uid, one.is_localizer
        candidates = stacks.setdefault(key, [])
        for stack in candidates:
            if all(_belong_together(part, other) for other in stack):
                stack.append(part)
                break
        else:
            candidates.append([part])
    found = [stack for candidates in stacks.values() for stack in candidates]
    found.sort(key=lambda stack: min(part.first_index for part in stack))
    return [_join(stack) for stack in found]


def _make_part(
    slices: list[Slice], warnings: tuple[str, ...], first_index: int
) -> _Part:
    z = np.sort([s.centre_mm[2] for s in slices])
    acquisitions = frozenset(s.acquisition_number for s in slices)
    return _Part(slices, z, acquisitions, warnings, first_index)


def _join(stack: list[_Part]) -> Stack:
    slices = [s for part in stack for s in part.slices]
    warnings = [w for part in stack for w in part.warnings]
    return Stack(slices, tuple(dict.fromkeys(warnings)))


def _group_by_geometry(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Groups slices of one series, orientation, shape, pixel spacing and thickness.

    Orientations and spacings within the rounding error of headers count as equal.
    """
    groups: dict[tuple, list[list[Slice]]] = {}
    for ct_slice in slices:
        key = (
            *(ct_slice.series, ct_slice.frame_of_reference_uid, ct_slice.is_localizer),
            *(ct_slice.shape, round(ct_slice.thickness_mm, 2)),
        )
        candidates = groups.setdefault(key, [])
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


def _belong_together(a: _Part, b: _Part) -> bool:
    """Returns whether two parts continue each other, or lie between each other."""
    first, other = a.slices[0], b.slices[0]
    if min(*first.shape, *other.shape) < MIN_IMAGE_SIDE_PX:
        return False
    if np.abs(first.axes - other.axes).max() > MAX_AXES_DIFFERENCE:
        return False
    few = min(len(a.slices), len(b.slices)) <= MAX_INTERLEAVED_SLICES
    if few and not _similar_images(first, other):
        return False  # A slice that is taken to time the contrast, for example.
    low, high = max(a.z[0], b.z[0]), min(a.z[-1], b.z[-1])
    low, high = low - SAME_POSITION_MM, high + SAME_POSITION_MM
    inside, other_inside = (p.z[(p.z >= low) & (p.z <= high)] for p in (a, b))
    common = min(len(inside), len(other_inside))
    if not common or (common <= MAX_INTERLEAVED_SLICES and not few):
        return True
    if 2 * _count_shared(inside, other_inside) >= common:
        return False
    return _similar_images(first, other) and not _separate_acquisitions(a, b)


def _similar_images(a: Slice, b: Slice) -> bool:
    """Returns whether two slices have about the same thickness and field."""
    thin, thick = sorted((a.thickness_mm, b.thickness_mm))
    if thin and thick > MAX_THICKNESS_RATIO * thin:
        return False
    return np.abs(a.field_mm - b.field_mm).max() <= MAX_FIELD_SHIFT_MM


def _separate_acquisitions(a: _Part, b: _Part) -> bool:
    """Returns whether parts are of different acquisitions with many slices each."""
    many = all(
        len(p.slices) > MAX_INTERLEAVED_SLICES * len(p.acquisitions) for p in (a, b)
    )
    return many and not a.acquisitions & b.acquisitions


def _count_shared(a: np.ndarray, b: np.ndarray) -> int:
    """Returns how many positions of a, sorted, are in b, sorted."""
    at = np.searchsorted(b, a)
    below, above = b[(at - 1).clip(0)], b[at.clip(max=len(b) - 1)]
    distance = np.minimum(np.abs(a - below), np.abs(a - above))
    return int(np.sum(distance <= SAME_POSITION_MM))


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
    return _count_shared(a, b) < len(a) / 2


def _interleaving_warning(part: list[Slice]) -> str:
    numbers = sorted({s.acquisition_number for s in part})
    listed = ", ".join(map(str, numbers[:MAX_LISTED_ACQUISITIONS]))
    listed += ", ..." * (len(numbers) > MAX_LISTED_ACQUISITIONS)
    return (
        "other acquisitions of its series lie between its slices; acquisition "
        f"{listed} is a separate volume"
    )
