"""Reads a scan from a folder or a zip file, and chooses its volume."""

from collections.abc import Sequence
from pathlib import Path

from l3spot.ct import dicom, formats, left_out, nifti, threads, volumes
from l3spot.ct.content import Scan, Unread
from l3spot.ct.slices import ScanFile, Slice, iter_files
from l3spot.ct.volumes import MIN_SLICES, Volume
from mtl.host.errors import DataError

MASK_REASON = (
    "no value of its middle slice is below 0; it is a mask, or its values are not HU"
)
MAX_LISTED_REASONS = 5  # Of an error message.


def read(root: Path, workers: int | None = None, recursive: bool = True) -> Scan:
    """Reads the headers of all DICOM and NIfTI files in a folder or a zip file.

    Other files are skipped. Pixels are decoded only for slices with equal positions,
    and for the middle slice of a volume without a rescale.

    Args:
      root: a folder, a zip file or a single file.
      workers: number of threads; None lets Python choose.
      recursive: whether folders within the folder are read.

    Raises:
      DataError: the file does not exist, or a zip file is broken.
    """
    slices: list[Slice] = []
    unread = []
    files = list(iter_files(root, recursive))
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

    Its warnings also name slices and files that it may lack (`left_out.warnings`).

    Args:
      scan: the result of `read`.
      root: the path of the scan, for messages.
      series: a SeriesInstanceUID or the name of a NIfTI file; "" chooses the first
        volume that is no mask.

    Raises:
      DataError: there is no such volume, or there are several studies; the message
        gives the reason.
    """
    candidates = _of_series(scan, series)
    patients = {v.slices[0].series.patient_id for v in candidates} - {""}
    if len(patients) > 1:
        raise DataError(
            f"{root} holds scans of {len(patients)} patients; give each a folder or a "
            "zip file of its own, or name the series with --series"
        )
    studies = _count_studies(candidates)
    if studies > 1:
        raise DataError(
            f"{root} holds {studies} studies, perhaps of several patients or dates: "
            f"{_series_names(candidates)}; give each study a folder or a zip file of "
            "its own, or name the series with --series"
        )
    for volume in candidates:
        if not is_mask(volume):
            return _with_warnings(scan, volume)
    raise _no_volume(scan, root, series)


def usable(scan: Scan, root: Path, series: str = "") -> list[Volume]:
    """Returns all volumes that `choose` may return, of any patient and study.

    Raises:
      DataError: there are none; the message gives the reason.
    """
    found = [v for v in _of_series(scan, series) if not is_mask(v)]
    if not found:
        raise _no_volume(scan, root, series)
    return [_with_warnings(scan, v) for v in found]


def _with_warnings(scan: Scan, volume: Volume) -> Volume:
    warnings = left_out.warnings(scan, volume)
    return volume._replace(warnings=(*volume.warnings, *warnings))


def _of_series(scan: Scan, series: str) -> list[Volume]:
    return [v for v in scan.volumes if series in ("", v.slices[0].series.series_uid)]


def _series_names(candidates: Sequence[Volume]) -> str:
    return ", ".join(dict.fromkeys(v.slices[0].series.series_uid for v in candidates))


def _count_studies(candidates: Sequence[Volume]) -> int:
    """Returns the number of studies of DICOM files.

    Studies with the same frame of reference are one: some programs that remove names
    give each series a StudyInstanceUID of its own.
    """
    firsts = [v.slices[0] for v in candidates if not nifti.is_nifti(v.slices[0].file)]
    groups: list[set[str]] = []
    for first in firsts:
        uids = {f"study {first.series.study_uid}"}
        if first.frame_of_reference_uid:
            uids.add(f"frame {first.frame_of_reference_uid}")
        joined = [g for g in groups if g & uids]
        groups = [g for g in groups if not g & uids] + [uids.union(*joined)]
    return len(groups)


def _no_volume(scan: Scan, root: Path, series: str) -> DataError:
    """Returns the error of a scan without a usable volume."""
    candidates = _of_series(scan, series)
    if scan.volumes and not candidates:
        names = _series_names(scan.volumes)
        return DataError(f"{root} has no series {series}; it has {names}")
    reasons = [f"{v.slices[0].file}: {MASK_REASON}" for v in candidates]
    singles = {r.slices[0].series for r in scan.rejected if len(r.slices) == 1}
    if len(singles) >= MIN_SLICES:
        reasons.append(
            f"{len(singles)} series have one slice each: the slices of a volume must "
            "share their SeriesInstanceUID; export them again as one series"
        )
    reasons += [f"{r.slices[0].file}: {r.reason}" for r in scan.rejected]
    reasons += [u.reason for u in scan.unread]
    if not reasons:
        return DataError(f"{root} holds no DICOM file and no NIfTI file of a CT scan")
    return DataError(f"{root} holds no usable CT volume\n  " + _first_reasons(reasons))


def is_mask(volume: Volume) -> bool:
    """Returns whether a NIfTI file holds no CT: its middle slice has no negative value.

    DICOM files state their modality, so they only get a warning
    (`volumes.NOT_HU_WARNING`).

    Raises:
      DataError: the slice cannot be decoded.
    """
    middle = volume.slices[len(volume.slices) // 2]
    return nifti.is_nifti(middle.file) and volumes.has_no_negative_value(middle)


def _read_or_error(file: ScanFile) -> list[Slice] | DataError:
    try:
        if nifti.is_nifti(file):
            return nifti.read(file)
        if dicom.is_dicom(file):
            return dicom.read(file)
        formats.refuse(str(file))
        return []
    except DataError as e:
        return e


def _first_reasons(reasons: Sequence[str]) -> str:
    more = len(reasons) - MAX_LISTED_REASONS
    listed = [
        *reasons[:MAX_LISTED_REASONS],
        *([f"and {more} more"] if more > 0 else []),
    ]
    return "\n  ".join(listed)
