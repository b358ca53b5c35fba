"""A scan as users have it, a folder or a zip file, to the one volume that is meant."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from l3spot.ct import dicom, nifti, threads, volumes
from l3spot.ct.slices import File, Plane, files
from l3spot.ct.volumes import Rejected, Volume
from mtl.host.errors import DataError

MASK = "no value of its middle plane is below 0; a mask, or values that are no HU"
NAMED = 5  # Reasons that an error message lists.


class Unread(NamedTuple):
    """A file that cannot be used, why, and whether it may be a part of a scan."""

    file: File
    why: str
    broken: bool


class Scan(NamedTuple):
    """What was found.

    volumes: the usable ones, longest and thinnest first (`volumes.rank`).
    rejected: planes that make no volume, and why.
    unread: files that look like DICOM or NIfTI and cannot be used, and why.
    """

    volumes: list[Volume]
    rejected: list[Rejected]
    unread: list[Unread]


def read(root: Path, workers: int | None = None) -> Scan:
    """Reads the headers of all DICOM and NIfTI files below a folder or in a zip file.

    Other files are passed over. Two planes that have the same position are decoded, and
    of a volume without a rescale the one in the middle.

    Args:
      root: a folder, a zip file or a single file.
      workers: threads; None lets Python choose.

    Raises:
      DataError: there is no such file, or a zip file is broken.
    """
    planes: list[Plane] = []
    unread = []
    todo = list(files(root))
    for file, found in zip(todo, threads.each(_try, todo, workers), strict=True):
        if isinstance(found, DataError):
            broken = not isinstance(found, dicom.OtherError)
            unread.append(Unread(file, str(found), broken))
        else:
            planes += found
    made, rejected = volumes.assemble(planes)
    return Scan(sorted(made, key=volumes.rank), rejected, unread)


def choose(scan: Scan, root: Path, series: str = "") -> Volume:
    """The volume that is meant: the first by `volumes.rank`, or that of a series.

    Args:
      scan: what `read` found.
      root: where; for messages.
      series: a SeriesInstanceUID, or the name of a NIfTI file; "" takes the first that
        is no mask.

    Raises:
      DataError: there is no such volume, and why.
    """
    asked = [v for v in scan.volumes if series in ("", v.planes[0].series[-1])]
    patients = {v.planes[0].series[0] for v in asked} - {""}
    if len(patients) > 1:
        raise DataError(
            f"{root} holds scans of {len(patients)} patients; give each a folder or a "
            "zip file of its own, or name the series with --series"
        )
    masks = []
    for volume in asked:
        if not is_mask(volume):
            return _with_unread(volume, scan.unread)
        masks.append(f"{volume.planes[0].file}: {MASK}")
    if scan.volumes and not masks:
        there = ", ".join(v.planes[0].series[-1] for v in scan.volumes)
        raise DataError(f"{root} has no series {series}; it has {there}")
    why = masks + [f"{r.planes[0].file}: {r.why}" for r in scan.rejected]
    why += [u.why for u in scan.unread]
    if not why:
        raise DataError(f"{root} holds no DICOM file and no NIfTI file of a CT scan")
    raise DataError(f"{root} holds no usable CT volume\n  " + _first(why))


def is_mask(volume: Volume) -> bool:
    """Whether a NIfTI file holds no CT: its middle plane has nothing below 0.

    DICOM files say what they hold, or get a warning (`volumes.NO_HU`).

    Raises:
      DataError: the plane cannot be decoded.
    """
    middle = volume.planes[len(volume.planes) // 2]
    return nifti.is_nifti(middle.file) and volumes.positive(middle)


def _with_unread(volume: Volume, unread: Sequence[Unread]) -> Volume:
    """The volume, and a warning of files that may belong to it."""
    broken = [u for u in unread if u.broken]
    if not broken:
        return volume
    told = f"{len(broken)} files cannot be read and may be lacking: {broken[0].why}"
    return volume._replace(warnings=(*volume.warnings, told))


def _try(file: File) -> list[Plane] | DataError:
    try:
        if nifti.is_nifti(file):
            return nifti.read(file)
        return dicom.read(file) if dicom.is_dicom(file) else []
    except DataError as e:
        return e


def _first(why: Sequence[str]) -> str:
    more = [f"and {len(why) - NAMED} more"] if len(why) > NAMED else []
    return "\n  ".join([*why[:NAMED], *more])
