"""From planes to volumes: which planes belong together, in which order, with what gaps.

A volume is planes of one series with one orientation, shape and pixel spacing, in the
order of their positions along the normal. Neither file names nor instance numbers nor
slice locations are looked at. What cannot be used is told, with the reason.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from l3spot.ct import orientation
from l3spot.ct.slices import INEXACT, Plane
from mtl.host.errors import DataError

SAME = 0.01  # mm: planes that are nearer have the same position.
FEW = 3  # Planes of two acquisitions that may lie between each other.
LEAST = 8  # Planes of a volume; fewer are a localizer or a leftover.
NARROW = 4  # Rows and columns; what has fewer is a localizer that lies across.
AXIAL = 0.7  # Least cosine between normal and body of what may be a tilted gantry.
SHEAR = 0.02  # Tangent of the tilt from which a gantry was tilted: 1.1 degrees.
JUMP = 5.0  # mm that a plane may lie aside of the one before.
GAP = 10.0  # mm: planes further apart leave out too much to be filled.
NO_HU = "its values may be no HU: the files give no rescale, and none is below 0"


class Volume(NamedTuple):
    """A stack of axial planes.

    planes: from the feet to the head.
    z: float64 [N], increasing: the positions of the planes' centres, mm.
    warnings: what a user should know of it.
    """

    planes: tuple[Plane, ...]
    z: np.ndarray
    warnings: tuple[str, ...]


class Rejected(NamedTuple):
    """Planes that make no volume, and why."""

    planes: tuple[Plane, ...]
    why: str


def assemble(planes: Sequence[Plane]) -> tuple[list[Volume], list[Rejected]]:
    """All the volumes in some planes, and what is in none of them."""
    volumes: list[Volume] = []
    rejected: list[Rejected] = []
    for group in _groups(planes):
        parts = _apart(group)
        for part in parts:
            made = _stack(part)
            if isinstance(made, Rejected):
                rejected.append(made)
            elif len(parts) == 1:
                volumes.append(made)
            else:
                volumes.append(made._replace(warnings=(*made.warnings, _told(part))))
    return volumes, rejected


def coverage(volume: Volume) -> float:
    """From end to end, mm."""
    return float(volume.z[-1] - volume.z[0] + step(volume))


def step(volume: Volume) -> float:
    """The usual distance between planes, mm."""
    return float(np.median(np.diff(volume.z)))


def rank(volume: Volume) -> tuple:
    """Sorts volumes: most coverage first, in centimetres, and of equals the thinnest.

    Those whose values may be no HU come last. What is left of a tie is decided by UIDs,
    so the order of the files does not matter.
    """
    first = volume.planes[0]
    length = -round(coverage(volume) / 10)
    doubtful = NO_HU in volume.warnings
    return doubtful, length, step(volume), first.series, first.sop


def positive(plane: Plane) -> bool:
    """Whether none of its values is below 0; in HU there would be air.

    Raises:
      DataError: it cannot be decoded.
    """
    return not np.nanmin(plane.hu(), initial=0) < 0


def _groups(planes: Sequence[Plane]) -> list[list[Plane]]:
    """Planes of one series, orientation, shape and pixel spacing.

    Headers round in many ways, so what is nearly the same is the same.
    """
    groups: dict[tuple, list[list[Plane]]] = {}
    for plane in planes:
        alike = groups.setdefault((plane.series, plane.shape), [])
        for group in alike:
            if _fits(plane, group[0]):
                group.append(plane)
                break
        else:
            alike.append([plane])
    return [group for alike in groups.values() for group in alike]


def _fits(a: Plane, b: Plane) -> bool:
    if a.spacing == b.spacing and np.array_equal(a.axes, b.axes):
        return True  # Nearly always, and ten times as fast to find.
    return np.allclose(a.axes, b.axes, atol=INEXACT) and np.allclose(
        a.spacing, b.spacing, rtol=INEXACT
    )


def _apart(group: list[Plane]) -> list[list[Plane]]:
    """Its acquisitions, put together where none lies between the planes of another."""
    acquisitions: dict[int, list[Plane]] = {}
    for plane in sorted(group, key=lambda p: p.number):
        acquisitions.setdefault(plane.number[0], []).append(plane)
    if len(acquisitions) == 1:
        return [group]
    normal = group[0].normal
    parts: list[tuple[list[Plane], list[np.ndarray]]] = []
    for planes in acquisitions.values():
        where = np.sort([p.origin @ normal for p in planes])
        for part, others in parts:
            if not any(_interleaved(where, other) for other in others):
                part += planes
                others.append(where)
                break
        else:
            parts.append((planes, [where]))
    return [part for part, _ in parts]


def _interleaved(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether most positions that could be of both are not, of two sorted arrays."""
    low, high = max(a[0], b[0]) - SAME, min(a[-1], b[-1]) + SAME
    if low > high:
        return False
    a, b = (v[(v >= low) & (v <= high)] for v in (a, b))
    if min(len(a), len(b)) <= FEW:
        return False
    away = np.abs(a[:, None] - b).min(axis=1)
    return bool(np.sum(away > SAME) > len(a) / 2)


def _told(part: list[Plane]) -> str:
    numbers = sorted({p.number[0] for p in part})
    first = ", ".join(map(str, numbers[:FEW])) + (", ..." * (len(numbers) > FEW))
    return (
        f"other acquisitions of its series lie between its planes; acquisition {first} "
        "is a volume of its own"
    )


def _stack(group: list[Plane]) -> Volume | Rejected:
    normal = group[0].normal * np.sign(group[0].normal[2] or 1)
    where = np.array([p.origin @ normal for p in group])
    order = np.argsort(where, kind="stable")
    planes, where = [group[i] for i in order], where[order]
    if normal[2] < AXIAL:
        return Rejected(tuple(planes), orientation.tilted(normal))
    if min(planes[0].shape) < NARROW:
        rows, columns = planes[0].shape
        why = f"its planes are {rows} x {columns} pixels; a localizer, maybe"
        return Rejected(tuple(planes), why)
    planes, warnings = _one_each(planes, where)
    if len(planes) < LEAST:
        why = f"{len(planes)} planes are too few for a volume; a localizer, maybe"
        return Rejected(tuple(planes), why)
    centres = np.array([_centre(p) for p in planes])
    why = (
        _crooked(centres, normal)
        or orientation.tilted(normal)
        or orientation.turned(planes[0])
    )
    if why:
        return Rejected(tuple(planes), why)
    warnings += orientation.told(normal, planes[0])
    z = centres[:, 2]
    gaps = np.diff(z)
    if gaps.max() > GAP + SAME:
        i = int(gaps.argmax())
        why = f"there is nothing for {gaps[i]:.1f} mm above {planes[i].file}"
        return Rejected(tuple(planes), f"{why}; at most {GAP:g} mm may be lacking")
    lacking = int(np.sum(gaps > 1.5 * np.median(gaps)))
    if lacking:
        warnings.append(f"planes are missing in {lacking} places")
    if _doubtful(planes[len(planes) // 2]):
        warnings.append(NO_HU)
    return Volume(tuple(planes), z, tuple(warnings))


def _doubtful(plane: Plane) -> bool:
    """Whether its values may be no HU; no, if it is only later told to be broken."""
    try:
        return not plane.scaled and positive(plane)
    except DataError:
        return False


def _centre(plane: Plane) -> np.ndarray:
    """float64 [3], the middle of the image."""
    rows, columns = plane.shape
    along, down = plane.spacing
    half = np.array([along * (columns - 1) / 2, down * (rows - 1) / 2])
    return plane.origin + half @ plane.axes


def _crooked(centres: np.ndarray, normal: np.ndarray) -> str:
    """Why the planes do not lie straight above each other, or ""."""
    along = centres @ normal
    aside = centres - along[:, None] * normal
    slope, _ = np.polyfit(along - along.mean(), aside, 1)
    tangent = float(np.linalg.norm(slope))
    if tangent > SHEAR:
        angle = np.degrees(np.arctan(tangent))
        return f"the gantry was tilted by {angle:.1f} degrees; its rows are not level"
    jump = float(np.linalg.norm(np.diff(aside, axis=0), axis=1).max())
    if jump > JUMP:
        return f"its planes are shifted sideways, by up to {jump:.1f} mm"
    return ""


def _one_each(planes: list[Plane], where: np.ndarray) -> tuple[list[Plane], list[str]]:
    """One plane for each position, of planes that are in order."""
    starts = np.flatnonzero(np.diff(where, prepend=-np.inf) > SAME)
    places = [list(p) for p in np.split(np.array(planes, object), starts[1:])]
    if len(places) == len(planes):
        return planes, []
    looked = [_look(place) for place in places]
    kept = [at.distinct for at in looked]
    warnings = []
    broken = [plane for at in looked for plane in at.broken]
    if broken:
        warnings.append(
            f"{len(broken)} planes cannot be decoded (first {broken[0].file}); others "
            "with the same positions were taken"
        )
    copies = sum(at.copies for at in looked)
    if copies:
        warnings.append(f"{copies} planes were there twice; one of each was left out")
    shared = sum(len(place) > 1 for place in kept)
    if shared:
        acquisition = _largest(kept)
        warnings.append(
            f"{shared} positions have several images (phases?); those of acquisition "
            f"{acquisition} were taken, else the first by instance number"
        )
        kept = [
            [min(p, key=lambda q: (q.number[0] != acquisition, q.number, q.sop))]
            for p in kept
        ]
    return [place[0] for place in kept], warnings


def _largest(places: list[list[Plane]]) -> int:
    """The acquisition that has the most positions; the first of equals."""
    count = Counter(n for place in places for n in {p.number[0] for p in place})
    return min(count, key=lambda n: (-count[n], n))


class _Place(NamedTuple):
    """The planes of one position: those that differ, how many copies, the broken."""

    distinct: list[Plane]
    copies: int
    broken: list[Plane]


def _look(place: list[Plane]) -> _Place:
    """Decodes the planes of a position, if it has more than one.

    If none can be decoded, one is left: whoever decodes it later is told why.
    """
    if len(place) == 1:
        return _Place(place, 0, [])
    found: dict[bytes, Plane] = {}
    broken = []
    for plane in sorted(place, key=lambda p: (p.number, p.sop, str(p.file))):
        try:
            found.setdefault(plane.hu().tobytes(), plane)
        except DataError:
            broken.append(plane)
    if not found:
        return _Place(place[:1], 0, [])
    return _Place(list(found.values()), len(place) - len(broken) - len(found), broken)
