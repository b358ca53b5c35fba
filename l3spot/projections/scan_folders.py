"""Finds the scans in a folder: each sub-folder, zip file and NIfTI file is one."""

import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from l3spot.ct import dicom, formats, nifti, slices
from l3spot.ct.slices import ScanFile
from l3spot.labels.csv_labels import LabelSource
from mtl.host.errors import DataError


class Case(NamedTuple):
    """A scan of a dataset.

    name: its unique name. path: its folder or file. label: the origin of its label.
    top_only: whether the folders within its folder are other scans.
    """

    name: str
    path: Path
    label: LabelSource | None = None
    top_only: bool = False


def find(root: Path) -> Iterator[Case]:
    """Yields the scans of a folder, or the one of a file.

    If DICOM files lie directly in the folder, the whole folder is one scan, unless
    other scans beside them belong to other studies. Entries that cannot be read are
    scans, so that reading them raises the error.

    Raises:
      DataError: the folder cannot be listed.
    """
    if root.is_file():
        yield Case(root.name, root)
        return
    try:
        paths = sorted(p for p in root.iterdir() if not formats.is_clutter(p.name))
    except OSError as e:
        raise DataError(f"{root} cannot be read ({e.strerror})") from e
    direct, entries = [], []
    for path in paths:
        if _is_scan(path):
            entries.append(path)
        elif _is_dicom_file(path):
            direct.append(path)
    name = root.resolve().name
    if direct and _is_one_study(direct, entries):
        yield Case(name, root)
        return
    yield from (Case(path.name, path) for path in entries)
    if direct:
        yield Case(f"{name} (files)", root, top_only=True)


def _is_scan(path: Path) -> bool:
    """Returns whether a path is a scan of its own, by its kind or its suffix.

    So are archives that cannot be read, and links to nothing.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return True
    if not stat.S_ISREG(mode):
        return stat.S_ISDIR(mode)
    if path.suffix.lower() == ".zip" or nifti.is_nifti(ScanFile(path)):
        return True
    return formats.is_known(path.name) and not _is_dicom_file(path)


def _is_dicom_file(path: Path) -> bool:
    """Returns whether a path is a DICOM file, or a file that cannot be read."""
    try:
        return path.is_file() and dicom.is_dicom(ScanFile(path))
    except DataError:
        return True


def _is_one_study(files: Sequence[Path], entries: Sequence[Path]) -> bool:
    """Returns whether DICOM files, and the scans beside them, are of one study."""
    if not entries:
        return True
    studies = {dicom.study_uid(ScanFile(path)) for path in files}
    studies |= {_first_study(path) for path in entries}
    return len(studies - {""}) <= 1


def _first_study(path: Path) -> str:
    """Returns the StudyInstanceUID of the first DICOM file that has one, or ""."""
    try:
        for file in slices.iter_files(path):
            if not nifti.is_nifti(file) and dicom.is_dicom(file):
                study = dicom.study_uid(file)
                if study:
                    return study
    except DataError:
        pass  # Reading the scan raises the error.
    return ""
