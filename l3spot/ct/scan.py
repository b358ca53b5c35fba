"""Reads a scan from a folder or a zip file, and chooses its volume."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from l3spot.ct import dicom, nifti, threads, volumes
from l3spot.ct.slices import ScanFile, Slice, iter_files
from l3spot.ct.volumes import Rejected, Volume
from mtl.host.errors import DataError

MASK_REASON = (
    "no value of its middle slice is below 0; it is a mask, or its values are not HU"
)
MAX_LISTED_REASONS = 5  # Of an error message.


class Unread(NamedTuple):
    """A file that cannot be used, and the reason.

    broken: whether the file may belong to a scan; False if it is whole and no CT image.
    """

    file: ScanFile
    reason: str
    broken: bool


class Scan(NamedTuple):
    """The content of a folder or a zip file.

    volumes: the usable volumes, sorted by `volumes.sort_key`.
    rejected: slices that make no volume, with the reason.
    unread: DICOM and NIfTI files that cannot be used, with the reason.
    """

    volumes: list[Volume]
    rejected: list[Rejected]
    unread: list[Unread]


def read(root: Path, workers: int | None = None) -> Scan:
    """Reads the headers of all DICOM and NIfTI files in a folder or a zip file.

    Other files are skipped. Pixels are decoded only for slices with equal positions,
    and for the middle slice of a volume without a rescale.

    Args:
      root: a folder, a zip file or a single file.
      workers: number of threads; None lets Python choose.

    Raises:
      DataError: the file does not exist, or a zip file is broken.
    """
    slices: list[Slice] = []
    unread = []
    files = list(iter_files(root))
    results = threads.map_ordered(_read_or_error, files, workers)
    for file, result in zip(files, results, strict=True):
        if isinstance(result, DataError):
            broken = not isinstance(result, dicom.NotCtImageError)
            unread.append(Unread(file, str(result), broken))
        else:
            slices += result
    found, rejected = volumes.assemble(slices)
    return Scan(sorted(found, key=volumes.sort_key), rejected, unread)


def choose(scan: Scan, root: Path, series: str = "") -> Volume:
    """Returns the volume of a series, or the first volume by `volumes.sort_key`.

    Args:
      scan: the result of `read`.
      root: the path of the scan, for messages.
      series: a SeriesInstanceUID or the name of a NIfTI file; "" chooses the first
        volume that is no mask.

    Raises:
      DataError: there is no such volume; the message gives the reason.
    """
    candidates = [
        v for v in scan.volumes if series in ("", v.slices[0].series.series_uid)
    ]
    patients = {v.slices[0].series.patient_id for v in candidates} - {""}
    if len(patients) > 1:
        raise DataError(
            f"{root} holds scans of {len(patients)} patients; give each a folder or a "
            "zip file of its own, or name the series with --series"
        )
    masks = []
    for volume in candidates:
        if not is_mask(volume):
            return _with_unread_warning(volume, scan.unread)
        masks.append(f"{volume.slices[0].file}: {MASK_REASON}")
    if scan.volumes and not masks:
        names = ", ".join(v.slices[0].series.series_uid for v in scan.volumes)
        raise DataError(f"{root} has no series {series}; it has {names}")
    reasons = masks + [f"{r.slices[0].file}: {r.reason}" for r in scan.rejected]
    reasons += [u.reason for u in scan.unread]
    if not reasons:
        raise DataError(f"{root} holds no DICOM file and no NIfTI file of a CT scan")
    raise DataError(f"{root} holds no usable CT volume\n  " + _first_reasons(reasons))


def is_mask(volume: Volume) -> bool:
    """Returns whether a NIfTI file holds no CT: its middle slice has no negative value.

    DICOM files state their modality, so they only get a warning
    (`volumes.NOT_HU_WARNING`).

    Raises:
      DataError: the slice cannot be decoded.
    """
    middle = volume.slices[len(volume.slices) // 2]
    return nifti.is_nifti(middle.file) and volumes.has_no_negative_value(middle)


def _with_unread_warning(volume: Volume, unread: Sequence[Unread]) -> Volume:
    """Adds a warning about broken files that may belong to the volume."""
    broken = [u for u in unread if u.broken]
    if not broken:
        return volume
    warning = (
        f"{len(broken)} files cannot be read and may be missing from the volume: "
        f"{broken[0].reason}"
    )
    return volume._replace(warnings=(*volume.warnings, warning))


def _read_or_error(file: ScanFile) -> list[Slice] | DataError:
    try:
        if nifti.is_nifti(file):
            return nifti.read(file)
        return dicom.read(file) if dicom.is_dicom(file) else []
    except DataError as e:
        return e


def _first_reasons(reasons: Sequence[str]) -> str:
    more = len(reasons) - MAX_LISTED_REASONS
    listed = [
        *reasons[:MAX_LISTED_REASONS],
        *([f"and {more} more"] if more > 0 else []),
    ]
    return "\n  ".join(listed)
