"""Where L3 is, from VerSe's files of centres of vertebral bodies."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from l3spot.ct import nifti
from l3spot.ct.slices import File
from l3spot.ct.volumes import Volume
from l3spot.labels import csv_labels
from l3spot.labels.csv_labels import Label
from mtl.host.errors import DataError

OPPOSITE = dict(zip("LRAPSI", "RLPAIS", strict=True))


class Centroids(NamedTuple):
    """A JSON file of centres, in voxels of an image; value: the label of L3."""

    path: Path
    image: Path
    value: int

    def __str__(self) -> str:
        return self.path.name

    def find(self, volume: Volume) -> Label:
        """The label of a volume.

        Raises:
          DataError: the file is broken, or L3 is outside of the volume.
        """
        found = read(self.path, self.image, self.value)
        return csv_labels.within(found, volume, str(self.path))


def read(path: Path, image: Path, value: int) -> Label:
    """The z of a centre; not in view if there is none.

    Args:
      path: a list of {"direction": [...]} and of {"label": .., "X": .., ..}.
      image: the NIfTI file whose voxels these are.
      value: the label.

    Raises:
      DataError: a file is broken.
    """
    try:
        entries = json.loads(path.read_text())
        toward = next(e["direction"] for e in entries if "direction" in e)
        found = [e for e in entries if e.get("label") == value]
        if not found:
            return Label(csv_labels.OUT)
        voxel = [float(found[0][k]) for k in "XYZ"]
        affine, shape = nifti.grid(File(image))
        middle = affine @ [*_turned(voxel, toward, affine, shape), 1.0]
    except (OSError, AttributeError, KeyError, StopIteration, TypeError) as e:
        raise DataError(f"{path} is no file of VerSe's centroids ({e!r})") from e
    except ValueError as e:
        raise DataError(f"{path} is no file of VerSe's centroids ({e})") from e
    return Label(csv_labels.IN, float(middle[2]))


def _turned(
    voxel: list[float], toward: list[str], affine: np.ndarray, shape: tuple[int, ...]
) -> list[float]:
    """A voxel along the image's own axes, from axes that run toward `toward`."""
    import nibabel

    ras = np.vstack([nifti.LPS[:, None] * affine, [0, 0, 0, 1]])
    given = dict(zip(toward, voxel, strict=True))
    turned = []
    for own, count in zip(nibabel.aff2axcodes(ras), shape, strict=True):
        if own in given:
            turned.append(given[own])
        else:
            turned.append(count - 1 - given[OPPOSITE[own]])
    return turned
