"""Datasets of projections: phantoms, drawn once and kept, or labelled scans."""

import csv
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from l3spot.labels import csv_labels
from l3spot.localize.preprocess import (
    AIR_HU,
    FRONTAL,
    MARGIN_PX,
    WIDTH_PX,
    crop_to_spine,
    downsample,
)
from l3spot.phantom import pictures
from l3spot.phantom.draw import PhantomRanges
from l3spot.projections.projection_files import Example
from l3spot.training import augmentation
from l3spot.training.augmentation_ranges import AugmentationRanges
from mtl.data.readers import load_npz
from mtl.host import csv_text, workdir
from mtl.host.errors import DataError

IMAGE_ROWS = 400  # 800 mm.
IMAGE_COLUMNS = WIDTH_PX + 2 * MARGIN_PX
PHANTOMS_PER_FILE = 250
USUAL = PhantomRanges()
FILE_ARRAYS = ("hu", "height", "l3")  # Names of the arrays in phantom files.


class ProjectionDataset(NamedTuple):
    """Images of N scans with labels.

    Attributes:
      hu: int16 [N, IMAGE_ROWS, IMAGE_COLUMNS] with 2 mm pixels. Each scan begins at the
        top of its image.
      height_mm: float32 [N], the height of each scan.
      l3_mm: float32 [N], L3 below the top of the scan. It lies outside the scan where
        L3 is not in view, and is NaN for scans without a label.
      patient: int32 [N], the same number for all scans of a patient.
    """

    hu: np.ndarray
    height_mm: np.ndarray
    l3_mm: np.ndarray
    patient: np.ndarray


def checksum(*datasets: ProjectionDataset) -> str:
    """Returns the checksum of the arrays of datasets."""
    total = 0
    for array in (array for dataset in datasets for array in dataset):
        total = zlib.crc32(np.ascontiguousarray(array).data, total)
    return f"{total:08x}"


def phantoms(
    folder: str | Path, seed: int, count: int, ranges: PhantomRanges = USUAL
) -> ProjectionDataset:
    """Returns the first `count` phantoms of a seed; draws those that `folder` lacks.

    Raises:
      WorkdirError: the folder has phantoms of another seed or of other ranges, or
        cannot be written.
    """
    root = Path(folder)
    workdir.make(root, f"data.path={folder}")
    settings = {"seed": seed, "ranges": ranges.to_text()}
    workdir.same(root / "how.json", settings, f"data.path={folder}")
    files = []
    for first in range(0, count, PHANTOMS_PER_FILE):
        path = root / f"{first:06d}.npz"
        if not path.exists():
            p = pictures.draw(seed, first, PHANTOMS_PER_FILE, ranges)
            hu = np.stack([crop_to_spine(downsample(a), IMAGE_COLUMNS) for a in p.hu])
            # Pictures count to the middle of a row, datasets to its upper edge.
            workdir.write_npz(path, hu=hu, height=p.height_px, l3=p.l3_px + 0.5)
        files.append(load_npz(path, FILE_ARRAYS))
    hu, height_mm, l3_mm = (
        np.concatenate([arrays[k] for arrays in files])[:count] for k in FILE_ARRAYS
    )
    patient = np.arange(count, dtype=np.int32)
    return ProjectionDataset(
        hu, height_mm.astype(np.float32), l3_mm.astype(np.float32), patient
    )


def augmented(
    dataset: ProjectionDataset, seed: int, ranges: AugmentationRanges
) -> ProjectionDataset:
    """Returns randomly changed scans (`augmentation.random_scan`) of a dataset."""
    keys = jax.random.split(jax.random.key(seed), len(dataset.hu))
    one = jax.jit(partial(augmentation.random_scan, ranges=ranges))
    scans = [one(*row) for row in zip(keys, *dataset[:3], strict=True)]
    hu, height_mm, l3_mm = (np.stack(a) for a in zip(*scans, strict=True))
    hu = np.rint(hu).astype(np.int16)
    return ProjectionDataset(hu, height_mm, l3_mm, dataset.patient)


def projections(
    examples: Sequence[Example], patients_csv: str | Path = "", view: str = FRONTAL
) -> ProjectionDataset:
    """Returns the projections with L3 in view, and those without a label.

    Scans longer than an image are cut at the end that is far from L3, or else below.

    Args:
      examples: projections of `l3spot.project`.
      patients_csv: a CSV file with the columns scan and patient; without it, each scan
        is of another patient.
      view: "frontal" or "lateral".

    Raises:
      DataError: no scan has L3 in view, or the file is broken or lacks a scan.
    """
    used = [e for e in examples if e.label != csv_labels.NOT_IN_VIEW]
    if not any(e.label == csv_labels.IN_VIEW for e in used):
        raise DataError("no projection has a label with L3 in view")
    names = (
        _patients(Path(patients_csv)) if patients_csv else {e.id: e.id for e in used}
    )
    unknown = [e.id for e in used if e.id not in names]
    if unknown:
        raise DataError(f"{patients_csv} has no patient for the scan {unknown[0]}")
    images = (_image(e, view) for e in used)
    hu, height_mm, l3_mm = (np.stack(a) for a in zip(*images, strict=True))
    _, patient = np.unique([names[e.id] for e in used], return_inverse=True)
    return ProjectionDataset(hu, height_mm, l3_mm, patient.astype(np.int32))


def _patients(path: Path) -> dict[str, str]:
    """Returns the patients by scan."""
    try:
        table = csv_text.open_table(path)
        return {csv_text.unprotect(row["scan"]): row["patient"] for row in table}
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as e:
        raise DataError(
            f"{path} is no CSV file with the columns scan and patient "
            f"({type(e).__name__})"
        ) from e


def _image(e: Example, view: str) -> tuple[np.ndarray, np.float32, np.float32]:
    """Returns hu, height_mm and l3_mm of a projection with 1 mm rows."""
    l3_mm = (e.z[0] - e.l3_z) + 0.5  # NaN without a label.
    cut_above = len(e.z) > 2 * IMAGE_ROWS and l3_mm > 400
    first = int(l3_mm) - 400 if cut_above else 0
    part = getattr(e, view)[first : first + 2 * IMAGE_ROWS]
    hu = crop_to_spine(downsample(part), IMAGE_COLUMNS, view)
    height_mm = min(len(e.z) - first, 2 * IMAGE_ROWS)
    hu = np.pad(hu, ((0, IMAGE_ROWS - len(hu)), (0, 0)), constant_values=AIR_HU)
    return hu.astype(np.int16), np.float32(height_mm), np.float32(l3_mm - first)
