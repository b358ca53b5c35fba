"""Finds the scans of a dataset and their labels.

folders           each sub-folder, zip file and NIfTI file is a scan; or the folder is
                  one scan; or the path is a single file (`scan_folders`)
totalsegmentator  sXXXX/ct.nii.gz, sXXXX/segmentations/vertebrae_L3.nii.gz (v1, v2)
verse             rawdata/sub-*/*_ct.nii.gz, derivatives/sub-*/* (2019, 2020; also in
                  folders of splits)
ctspine1k         volumes/**/NAME.nii.gz, labels/**/NAME_seg.nii.gz; also data, label
kanavati          l3_dataset.npz (`kanavati`)
"""

import glob
import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from absl import logging

from l3spot.ct import nifti
from l3spot.labels.centroids import Centroids
from l3spot.labels.csv_labels import LabelSource
from l3spot.labels.masks import Mask
from l3spot.projections import scan_folders
from l3spot.projections.scan_folders import Case
from mtl.host.errors import DataError

L3_VALUE = 22  # The label of L3 in VerSe and CTSpine1K.
IMAGE_AND_MASK_FOLDERS = (("volumes", "labels"), ("data", "label"))
LAYOUTS = ("folders", "totalsegmentator", "verse", "ctspine1k", "kanavati")
KANAVATI_FILE = "l3_dataset.npz"


def detect(root: Path) -> str:
    """Returns the layout of a folder or file, one of `LAYOUTS`.

    Raises:
      DataError: the folder does not exist.
    """
    if root.is_file():
        return "kanavati" if root.suffix.lower() == ".npz" else "folders"
    if not root.is_dir():
        raise DataError(f"--scans={str(root)!r} is no folder; it should hold CT scans")
    if (root / KANAVATI_FILE).is_file():
        return "kanavati"
    if any(os.path.isdir(p.parent / "segmentations") for p in _glob(root, "*/ct.nii*")):
        return "totalsegmentator"
    if next(_find_verse(root), None):
        return "verse"
    if any(case.label for case in _find_ctspine1k(root)):
        return "ctspine1k"
    return "folders"


def find(root: Path, layout: str) -> list[Case]:
    """Returns the scans of a dataset, in order.

    Scans with equal names are named after their whole path below the root.

    Raises:
      DataError: the dataset has no scans.
    """
    finders = {
        "folders": scan_folders.find,
        "totalsegmentator": _find_totalsegmentator,
        "verse": _find_verse,
        "ctspine1k": _find_ctspine1k,
    }
    cases = list(finders[layout](root))
    if not cases:
        missing = f"no scan in the layout {layout}"
        if layout == "folders":
            missing = "no folder, zip file, DICOM or NIfTI file"
        raise DataError(f"{root} holds {missing}")
    return _with_unique_names(cases, root)


def _with_unique_names(cases: list[Case], root: Path) -> list[Case]:
    count = Counter(case.name for case in cases)
    paths = [case.path.relative_to(root) for case in cases]
    named = [
        case._replace(name="_".join(path.parts)) if count[case.name] > 1 else case
        for case, path in zip(cases, paths, strict=True)
    ]
    count = Counter(case.name for case in named)
    return [
        case._replace(name=f"{case.name}~{_checksum(path)}")
        if count[case.name] > 1
        else case
        for case, path in zip(named, paths, strict=True)
    ]


def _checksum(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:8]


def _glob(root: Path, pattern: str) -> list[Path]:
    """Returns the paths below a folder that fit, sorted; unreadable ones are left out.

    `Path.glob` raises if a name or a link cannot be read.
    """
    found = glob.glob(pattern, root_dir=root, recursive=True)
    return sorted(root / path for path in found)


def _find_totalsegmentator(root: Path) -> Iterator[Case]:
    for folder in _glob(root, "*/"):
        if not _glob(folder, "ct.nii*"):
            logging.warning("%s is left out: it has no ct.nii.gz", folder)
    for path in _glob(root, "*/ct.nii*"):
        mask = _nifti_file(path.parent / "segmentations", "vertebrae_L3")
        yield Case(path.parent.name, path, Mask(mask) if mask else None)


def _find_verse(root: Path) -> Iterator[Case]:
    for rawdata in [*_glob(root, "rawdata"), *_glob(root, "*/rawdata")]:
        for path in _glob(rawdata, "sub-*/*_ct.nii*"):
            name = nifti.stem(path.name).removesuffix("_ct")
            folder = rawdata.parent / "derivatives" / path.parent.name
            mask = _nifti_file(folder, f"{name}_seg-vert_msk")
            centres = folder / f"{name}_seg-subreg_ctd.json"
            label: LabelSource | None = None
            if _is_file(centres):
                label = Centroids(centres, path, L3_VALUE)
            elif mask:
                label = Mask(mask, L3_VALUE)
            yield Case(name, path, label)


def _find_ctspine1k(root: Path) -> Iterator[Case]:
    for folder in (root, *_glob(root, "*/"), *_glob(root, "*/*/")):
        for images, masks in IMAGE_AND_MASK_FOLDERS:
            if not os.path.isdir(folder / masks):
                continue
            for path in _glob(folder / images, "**/*.nii*"):
                parent = folder / masks / path.parent.relative_to(folder / images)
                name = nifti.stem(path.name)
                mask = _nifti_file(parent, f"{name}_seg") or _nifti_file(parent, name)
                yield Case(name, path, Mask(mask, L3_VALUE) if mask else None)


def _nifti_file(folder: Path, name: str) -> Path | None:
    """Returns the NIfTI file with this stem, or None if it does not exist."""
    paths = (folder / f"{name}{end}" for end in nifti.SUFFIXES[::-1])
    return next((p for p in paths if _is_file(p)), None)


def _is_file(path: Path) -> bool:
    """Returns whether a file exists; True in an unreadable folder.

    Reading the file then raises the error.
    """
    try:
        return path.is_file()
    except OSError:
        return True
