"""Says which slices, series and files of a scan a result does not use."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from l3spot.ct import duplicates, volumes
from l3spot.ct.content import Scan
from l3spot.ct.slices import Slice
from l3spot.ct.volumes import MIN_AXIAL_COSINE, MIN_SLICES, Volume
from mtl.host.wording import counted

MIN_BEYOND_MM = 10.0  # Slices so far beyond the ends of a volume may hold a vertebra.
MAX_LISTED = 8  # Groups of slices and files in a text.


class _Group(NamedTuple):
    """Slices that a result does not use, the reason, and whether they are a volume."""

    slices: Sequence[Slice]
    reason: str
    usable: bool


def describe(scan: Scan, volume: Volume) -> str:
    """Returns a text of all slices and files that are not in a volume; "" if none."""
    series = volume.slices[0].series
    texts = []
    groups = _groups(scan, volume)
    for group in groups[:MAX_LISTED]:
        first = group.slices[0].series
        owner = "its series" if first == series else f"series {first.series_uid}"
        if first.study_uid != series.study_uid and first.study_uid:
            owner += " of another study"
        count = counted(len(group.slices), "slice")
        texts.append(f"{count} of {owner}{_extent(group.slices)}: {group.reason}")
    files = [f"{u.file.name}: {_without_path(u.reason, u.file)}" for u in scan.unread]
    more = sum(len(g.slices) for g in groups[MAX_LISTED:])
    texts += [f"{counted(more, 'slice')} more"] if more else []
    return "; ".join([*texts, *_first(files)])


def warnings(scan: Scan, volume: Volume) -> list[str]:
    """Returns warnings about slices that may belong to a volume, and are not used."""
    messages = []
    groups = [g for g in _same_series(scan, volume) if _matters(g, volume)]
    if groups:
        unused = [s for g in groups for s in g.slices]
        reasons = "; ".join(_first([g.reason for g in groups]))
        total = len(volume.slices) + sum(
            len(g.slices) for g in _same_series(scan, volume)
        )
        messages.append(
            f"{len(unused)} of {counted(total, 'slice')} of its series are not used: "
            f"{reasons}{_extent(unused)}"
        )
    broken = [u for u in scan.unread if u.broken]
    if broken:
        count = counted(len(broken), "file")
        messages.append(
            f"{count} cannot be read and may be missing from the volume: "
            f"{broken[0].reason}"
        )
    return messages


def beyond(scan: Scan, volume: Volume) -> str:
    """Returns which unused slices may show a vertebra that is not in view, or ""."""
    for group in _same_series(scan, volume):
        outside = [s for s in _axial(group.slices) if _mm_beyond(s, volume) > 0]
        if any(_mm_beyond(s, volume) > MIN_BEYOND_MM for s in outside):
            verb = "lies" if len(outside) == 1 else "lie"
            return (
                f"{counted(len(outside), 'slice')} of its series {verb} beyond the "
                f"{len(volume.slices)} slices that are used{_extent(outside)}: "
                f"{group.reason}"
            )
    broken = [u for u in scan.unread if u.broken]
    spacing_mm = volumes.slice_spacing_mm(volume)
    steps = np.round(np.diff(volume.z) / spacing_mm)
    inside = int(np.sum(steps[steps > 1] - 1))  # Slices that are missing within.
    if (len(broken) - inside) * spacing_mm > MIN_BEYOND_MM:
        count = counted(len(broken), "file")
        return f"{count} cannot be read: {broken[0].reason}"
    return ""


def _groups(scan: Scan, volume: Volume) -> list[_Group]:
    """Returns all slices that are not in a volume, in groups."""
    groups = [_Group(r.slices, r.reason, False) for r in scan.rejected]
    for other in scan.volumes:
        if other.slices[0] is volume.slices[0]:
            continue
        reason = f"another volume of {volumes.coverage_mm(other):.0f} mm"
        groups.append(_Group((*other.slices, *other.left_out), reason, True))
    if volume.left_out:
        groups.append(_Group(volume.left_out, "at positions of other slices", False))
    return groups


def _same_series(scan: Scan, volume: Volume) -> list[_Group]:
    series = volume.slices[0].series
    return [g for g in _groups(scan, volume) if g.slices[0].series == series]


def _matters(group: _Group, volume: Volume) -> bool:
    """Returns whether a warning is due: axial slices at positions of no used slice.

    Copies have a warning of their own; so have images of another phase.
    """
    if group.slices[0] in volume.left_out:
        return False
    axial = _axial(group.slices)
    if group.usable or len(axial) >= MIN_SLICES:
        return True
    heights = np.array([s.centre_mm[2] for s in axial])
    distance = np.abs(heights[:, None] - volume.z).min(axis=1)
    return bool((distance > duplicates.SAME_POSITION_MM).any())


def _axial(slices: Iterable[Slice]) -> list[Slice]:
    return [s for s in slices if abs(s.normal[2]) >= MIN_AXIAL_COSINE]


def _mm_beyond(ct_slice: Slice, volume: Volume) -> float:
    """Returns how far a slice lies beyond the ends of a volume; 0 within them."""
    frame = volume.slices[0].frame_of_reference_uid
    if ct_slice.frame_of_reference_uid != frame:
        return np.inf  # Its coordinates are others.
    z = float(ct_slice.centre_mm[2])
    return max(0.0, float(volume.z[0]) - z, z - float(volume.z[-1]))


def _extent(slices: Iterable[Slice]) -> str:
    """Returns the lowest and highest z of axial slices as text."""
    heights = [float(s.centre_mm[2]) for s in _axial(slices)]
    if not heights:
        return ""
    low, high = min(heights), max(heights)
    if low == high:
        return f" at z = {low:.1f} mm"
    return f" at z = {low:.1f} to {high:.1f} mm"


def _without_path(reason: str, file: object) -> str:
    return reason.removeprefix(str(file)).lstrip(": ")


def _first(texts: list[str]) -> list[str]:
    more = len(texts) - MAX_LISTED
    return texts if more <= 0 else [*texts[:MAX_LISTED], f"and {more} more"]
