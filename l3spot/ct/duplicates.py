"""Selects one slice for each position, if several have the same one."""

from collections import Counter
from typing import NamedTuple

import numpy as np

from l3spot.ct.slices import Slice
from mtl.host.errors import DataError
from mtl.host.wording import counted

SAME_POSITION_MM = 0.01  # Slices closer than this have the same position.


def one_per_position(
    slices: list[Slice], positions: np.ndarray
) -> tuple[list[Slice], list[str]]:
    """Returns one slice for each position, and warnings for the user.

    Copies and slices that cannot be decoded are left out. Of different images at one
    position, the image of the acquisition with the most positions is used.

    Args:
      slices: sorted by position.
      positions: float64 [N], mm along the normal.
    """
    is_first = np.diff(positions, prepend=-np.inf) > SAME_POSITION_MM
    starts = np.flatnonzero(is_first)
    groups = [list(g) for g in np.split(np.array(slices, object), starts[1:])]
    if len(groups) == len(slices):
        return slices, []
    compared = [_compare(group) for group in groups]
    candidates = [c.distinct for c in compared]
    warnings = []
    broken = [ct_slice for c in compared for ct_slice in c.broken]
    if broken:
        warnings.append(
            f"{counted(len(broken), 'slice')} cannot be decoded (first "
            f"{broken[0].file}); other slices at the same positions were used"
        )
    copies = sum(c.copies for c in compared)
    if copies:
        count = counted(copies, "slice", "is a copy", "are copies")
        was = "was" if copies == 1 else "were"
        warnings.append(f"{count} of others and {was} left out")
    shared = sum(len(group) > 1 for group in candidates)
    if shared:
        acquisition = _main_acquisition(candidates)
        warnings.append(
            f"{counted(shared, 'position', 'has', 'have')} several images (phases?); "
            f"acquisition {acquisition} was used, else the first image by instance "
            "number"
        )
        candidates = [
            [min(g, key=lambda s: (s.acquisition_number != acquisition, _order(s)))]
            for g in candidates
        ]
    return [group[0] for group in candidates], warnings


def _order(ct_slice: Slice) -> tuple[int, int, str]:
    return (
        ct_slice.acquisition_number,
        ct_slice.instance_number,
        ct_slice.sop_instance_uid,
    )


def _main_acquisition(groups: list[list[Slice]]) -> int:
    """Returns the acquisition with the most positions; ties go to the lowest number."""
    count = Counter(
        n for group in groups for n in {s.acquisition_number for s in group}
    )
    return min(count, key=lambda n: (-count[n], n))


class _Compared(NamedTuple):
    """Slices of one position: the different ones, number of copies, broken ones."""

    distinct: list[Slice]
    copies: int
    broken: list[Slice]


def _compare(group: list[Slice]) -> _Compared:
    """Compares the decoded slices of one position; a single slice is not decoded.

    If no slice decodes, one is kept, so that the error is raised later.
    """
    if len(group) == 1:
        return _Compared(group, 0, [])
    distinct: dict[bytes, Slice] = {}
    broken = []
    for ct_slice in sorted(group, key=lambda s: (*_order(s), str(s.file))):
        try:
            distinct.setdefault(ct_slice.hu().tobytes(), ct_slice)
        except DataError:
            broken.append(ct_slice)
    if not distinct:
        return _Compared(group[:1], 0, [])
    copies = len(group) - len(broken) - len(distinct)
    return _Compared(list(distinct.values()), copies, broken)
