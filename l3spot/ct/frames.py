"""Frames of reference that do not tell the slices of a series apart.

Slices of different frames have different coordinates, and make different volumes. Some
programs that remove names give each file a FrameOfReferenceUID of its own. Then no
frame of the series has enough slices for a volume, and the frames say nothing.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence

from l3spot.ct.slices import SeriesKey, Slice

WARNING = (
    "its files have different frames of reference, {count} in one series; their "
    "positions are taken to be in one frame"
)


def join_small_frames(slices: Sequence[Slice], min_slices: int) -> list[Slice]:
    """Puts the slices of a series into one frame if each of its frames is too small.

    Args:
      slices: of a scan.
      min_slices: of a volume.

    Returns:
      The slices in their order; those that are changed have a note for the user.
    """
    counts: dict[SeriesKey, Counter[str]] = {}
    for ct_slice in slices:
        frames = counts.setdefault(ct_slice.series, Counter())
        frames[ct_slice.frame_of_reference_uid] += 1
    small = {
        series: frames
        for series, frames in counts.items()
        if len(frames) > 1 and max(frames.values()) < min_slices
    }
    return [_in_frame(s, small[s.series]) if s.series in small else s for s in slices]


def _in_frame(ct_slice: Slice, frames: Counter[str]) -> Slice:
    note = WARNING.format(count=len(frames))
    return dataclasses.replace(
        ct_slice,
        frame_of_reference_uid=min(frames),
        notes=(*ct_slice.notes, note),
    )
