"""The scans of a data set, and where their labels are.

folders           each sub-folder, zip file and NIfTI file is a scan; or the folder is,
                  or a single file
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
from l3spot.ct.slices import File
from l3spot.labels.centroids import Centroids
from l3spot.labels.csv_labels import Source
from l3spot.labels.masks import Mask
from mtl.host.errors import DataError

L3 = 22  # In VerSe and CTSpine1K.
PAIRS = (("volumes", "labels"), ("data", "label"))  # Folders of images and of masks.
LAYOUTS = ("folders", "totalsegmentator", "verse", "ctspine1k", "kanavati")
PROJECTIONS = "l3_dataset.npz"


class Case(NamedTuple):
    """A scan: what it is called, its folder or file, where its label is."""

    name: str
    path: Path
    label: Source | None = None


def detect(root: Path) -> str:
    """Which of `LAYOUTS` a folder or a file has.

    Raises:
      DataError: there is no such folder.
    """
    if root.is_file():
        return "kanavati" if root.suffix.lower() == ".npz" else "folders"
    if not root.is_dir():
        raise DataError(f"--scans={str(root)!r} is no folder; it should hold CT scans")
    if (root / PROJECTIONS).is_file():
        return "kanavati"
    if any(os.path.isdir(p.parent / "segmentations") for p in root.glob("*/ct.nii*")):
        return "totalsegmentator"
    if next(_verse(root), None):
        return "verse"
    if any(case.label for case in _ctspine1k(root)):
        return "ctspine1k"
    return "folders"


def find(root: Path, layout: str) -> list[Case]:
    """The scans of a data set, in order; each has another name.

    Raises:
      DataError: there are none.
    """
    kinds = {
        "folders": _folders,
        "totalsegmentator": _totalsegmentator,
        "verse": _verse,
        "ctspine1k": _ctspine1k,
    }
    cases = list(kinds[layout](root))
    if not cases:
        what = f"no scan as {layout} has them"
        if layout == "folders":
            what = "no folder, zip file, DICOM or NIfTI file"
        raise DataError(f"{root} holds {what}")
    often = Counter(case.name for case in cases)
    return [
        case._replace(name="_".join(case.path.relative_to(root).parts))
        if often[case.name] > 1
        else case
        for case in cases
    ]


def _folders(root: Path) -> Iterator[Case]:
    if root.is_file():
        yield Case(root.name, root)
        return
    inside = [p for p in sorted(root.iterdir()) if not p.name.startswith(".")]
    loose = (p for p in inside if p.is_file() and p.name.upper() != "DICOMDIR")
    if any(dicom.is_dicom(File(p)) for p in loose):
        yield Case(root.resolve().name, root)
        return
    for path in inside:
        packed = path.suffix.lower() == ".zip" or nifti.is_nifti(File(path))
        if path.is_dir() or packed:
            yield Case(path.name, path)


def _totalsegmentator(root: Path) -> Iterator[Case]:
    for folder in sorted(root.glob("*/")):
        if not any(folder.glob("ct.nii*")):
            logging.warning("%s is left out: it has no ct.nii.gz", folder)
    for path in sorted(root.glob("*/ct.nii*")):
        mask = _there(path.parent / "segmentations", "vertebrae_L3")
        yield Case(path.parent.name, path, Mask(mask) if mask else None)


def _verse(root: Path) -> Iterator[Case]:
    for raw in sorted([*root.glob("rawdata"), *root.glob("*/rawdata")]):
        for path in sorted(raw.glob("sub-*/*_ct.nii*")):
            name = nifti.stem(path.name).removesuffix("_ct")
            beside = raw.parent / "derivatives" / path.parent.name
            mask = _there(beside, f"{name}_seg-vert_msk")
            centres = beside / f"{name}_seg-subreg_ctd.json"
            label: Source | None = None
            if _is_file(centres):
                label = Centroids(centres, path, L3)
            elif mask:
                label = Mask(mask, L3)
            yield Case(name, path, label)


def _ctspine1k(root: Path) -> Iterator[Case]:
    for folder in (root, *sorted(root.glob("*/")), *sorted(root.glob("*/*/"))):
        for images, masks in PAIRS:
            if not os.path.isdir(folder / masks):
                continue
            for path in sorted((folder / images).rglob("*.nii*")):
                there = folder / masks / path.parent.relative_to(folder / images)
                name = nifti.stem(path.name)
                mask = _there(there, f"{name}_seg") or _there(there, name)
                yield Case(name, path, Mask(mask, L3) if mask else None)


def _there(folder: Path, name: str) -> Path | None:
    """The NIfTI file of that name, if there is one."""
    paths = (folder / f"{name}{end}" for end in nifti.SUFFIXES[::-1])
    return next((p for p in paths if _is_file(p)), None)


def _is_file(path: Path) -> bool:
    """Whether it is there, or in a folder that is closed: reading it then says so."""
    try:
        return path.is_file()
    except OSError:
        return True
