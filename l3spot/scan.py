"""A scan as users have it, a folder or a zip file, to the one volume that is meant."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from l3spot import dicom, volumes
from l3spot.planes import File, Plane, files
from l3spot.volumes import Rejected, Volume
from mtl.errors import DataError

NAMED = 5  # Reasons that an error message lists.


class Scan(NamedTuple):
    """What was found.

    volumes: the usable ones, longest and thinnest first (`volumes.rank`).
    rejected: planes that make no volume, and why.
    unread: files that look like DICOM and cannot be used, and why.
    """

    volumes: list[Volume]
    rejected: list[Rejected]
    unread: list[tuple[File, str]]


def read(root: Path, workers: int | None = None) -> Scan:
    """Reads the headers of all DICOM files below a folder or in a zip file.

    Other files are passed over. Two planes that have the same position are decoded.

    Args:
      root: a folder, a zip file or a single file.
      workers: threads; None lets Python choose.

    Raises:
      DataError: there is no such file, or a zip file is broken.
    """
    planes: list[Plane] = []
    unread = []
    todo = list(files(root))
    with ThreadPoolExecutor(workers) as pool:
        for file, found in zip(todo, pool.map(_try, todo), strict=True):
            if isinstance(found, str):
                unread.append((file, found))
            else:
                planes += found
    made, rejected = volumes.assemble(planes)
    return Scan(sorted(made, key=volumes.rank), rejected, unread)


def choose(scan: Scan, root: Path, series: str = "") -> Volume:
    """The volume that is meant: the first by `volumes.rank`, or that of a series.

    Args:
      scan: what `read` found.
      root: where; for messages.
      series: a SeriesInstanceUID; "" takes the first.

    Raises:
      DataError: there is no such volume, and why.
    """
    asked = [v for v in scan.volumes if series in ("", v.planes[0].series[-1])]
    if asked:
        return asked[0]
    if scan.volumes:
        there = ", ".join(v.planes[0].series[-1] for v in scan.volumes)
        raise DataError(f"{root} has no series {series}; it has {there}")
    why = [f"{r.planes[0].file}: {r.why}" for r in scan.rejected]
    why += [reason for _, reason in scan.unread]
    if not why:
        raise DataError(f"{root} holds no DICOM file; it should hold a CT scan")
    raise DataError(f"{root} holds no usable CT volume\n  " + _first(why))


def _try(file: File) -> list[Plane] | str:
    try:
        return dicom.read(file) if dicom.is_dicom(file) else []
    except DataError as e:
        return str(e)


def _first(why: Sequence[str]) -> str:
    more = [f"and {len(why) - NAMED} more"] if len(why) > NAMED else []
    return "\n  ".join([*why[:NAMED], *more])
