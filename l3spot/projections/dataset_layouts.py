"""Finds the scans of a dataset and their labels.

folders           each sub-folder, zip file and NIfTI file is a scan; or the folder is
                  one scan; or the path is a single file
totalsegmentator  sXXXX/ct.nii.gz, sXXXX/segmentations/vertebrae_L3.nii.gz (v1, v2)
verse             rawdata/sub-*/*_ct.nii.gz, derivatives/sub-*/* (2019, 2020; also in
                  folders of splits)
ctspine1k         volumes/**/NAME.nii.gz, labels/**/NAME_seg.nii.gz; also data, label
kanavati          l3_dataset.npz (`kanavati`)
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from absl import logging

from l3spot.ct import dicom, nifti
from l3spot.ct.slices import ScanFile
from l3spot.labels.centroids import Centroids
from l3spot.labels.csv_labels import LabelSource
from l3spot.labels.masks import Mask
from mtl.host.errors import DataError

L3_VALUE = 22  # The label of L3 in VerSe and CTSpine1K.
IMAGE_AND_MASK_FOLDERS = (("volumes", "labels"), ("data", "label"))
LAYOUTS = ("folders", "totalsegmentator", "verse", "ctspine1k", "kanavati")
KANAVATI_FILE = "l3_dataset.npz"


class Case(NamedTuple):
    """A scan of a dataset.

    name: its unique name. path: its folder or file. label: the origin of its label.
    """

    name: str
    path: Path
    label: LabelSource | None = None


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
    if any(os.path.isdir(p.parent / "segmentations") for p in root.glob("*/ct.nii*")):
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
        "folders": _find_folders,
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
    count = Counter(case.name for case in cases)
    return [
        case._replace(name="_".join(case.path.relative_to(root).parts))
        if count[case.name] > 1
        else case
        for case in cases
    ]


def _find_folders(root: Path) -> Iterator[Case]:
    if root.is_file():
        yield Case(root.name, root)
        return
    paths = [p for p in sorted(root.iterdir()) if not p.name.startswith(".")]
    files = (p for p in paths if p.is_file() and p.name.upper() != "DICOMDIR")
    if any(dicom.is_dicom(ScanFile(p)) for p in files):
        yield Case(root.resolve().name, root)
        return
    for path in paths:
        is_file = path.suffix.lower() == ".zip" or nifti.is_nifti(ScanFile(path))
        if path.is_dir() or is_file:
            yield Case(path.name, path)


def _find_totalsegmentator(root: Path) -> Iterator[Case]:
    for folder in sorted(root.glob("*/")):
        if not any(folder.glob("ct.nii*")):
            logging.warning("%s is left out: it has no ct.nii.gz", folder)
    for path in sorted(root.glob("*/ct.nii*")):
        mask = _nifti_file(path.parent / "segmentations", "vertebrae_L3")
        yield Case(path.parent.name, path, Mask(mask) if mask else None)


def _find_verse(root: Path) -> Iterator[Case]:
    for rawdata in sorted([*root.glob("rawdata"), *root.glob("*/rawdata")]):
        for path in sorted(rawdata.glob("sub-*/*_ct.nii*")):
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
    for folder in (root, *sorted(root.glob("*/")), *sorted(root.glob("*/*/"))):
        for images, masks in IMAGE_AND_MASK_FOLDERS:
            if not os.path.isdir(folder / masks):
                continue
            for path in sorted((folder / images).rglob("*.nii*")):
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
