"""Reads labels of L3 from VerSe's files of vertebral body centres."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from l3spot.ct import nifti, nifti_affine
from l3spot.ct.slices import ScanFile
from l3spot.ct.volumes import Volume
from l3spot.labels import csv_labels
from l3spot.labels.csv_labels import Label
from mtl.host.errors import DataError

OPPOSITE_DIRECTION = dict(zip("LRAPSI", "RLPAIS", strict=True))


class Centroids(NamedTuple):
    """A JSON file of vertebral body centres.

    path: the JSON file. image: the NIfTI file that its voxel indices belong to.
    value: the label of L3.
    """

    path: Path
    image: Path
    value: int

    def __str__(self) -> str:
        return self.path.name

    def find(self, volume: Volume) -> Label:
        """Returns the label of L3 in a volume.

        Raises:
          DataError: the file is broken, or L3 lies outside the volume.
        """
        label = read(self.path, self.image, self.value)
        return csv_labels.check_within(label, volume, str(self.path))


def read(path: Path, image: Path, value: int) -> Label:
    """Reads the z of a centre; the label is "not in view" if the centre is missing.

    Args:
      path: a JSON list of {"direction": [...]} and {"label": .., "X": .., ..}.
      image: the NIfTI file that the voxel indices belong to.
      value: the label of the vertebra.

    Raises:
      DataError: a file is broken.
    """
    try:
        entries = json.loads(path.read_text())
        directions = next(e["direction"] for e in entries if "direction" in e)
        centres = [e for e in entries if e.get("label") == value]
        if not centres:
            return Label(csv_labels.NOT_IN_VIEW)
        voxel = [float(centres[0][k]) for k in "XYZ"]
        affine, shape = nifti.read_grid(ScanFile(image))
        x_y_z = affine @ [*_to_image_axes(voxel, directions, affine, shape), 1.0]
    except (OSError, AttributeError, KeyError, StopIteration, TypeError) as e:
        raise DataError(f"{path} is no file of VerSe's centroids ({e!r})") from e
    except ValueError as e:
        raise DataError(f"{path} is no file of VerSe's centroids ({e})") from e
    return Label(csv_labels.IN_VIEW, float(x_y_z[2]))


def _to_image_axes(
    voxel: list[float],
    directions: list[str],
    affine: np.ndarray,
    shape: tuple[int, ...],
) -> list[float]:
    """Converts a voxel index along `directions` to an index along the image's axes."""
    import nibabel

    ras = np.vstack([nifti_affine.RAS_TO_LPS[:, None] * affine, [0, 0, 0, 1]])
    index_by_direction = dict(zip(directions, voxel, strict=True))
    index = []
    for direction, count in zip(nibabel.aff2axcodes(ras), shape, strict=True):
        if direction in index_by_direction:
            index.append(index_by_direction[direction])
        else:
            opposite = index_by_direction[OPPOSITE_DIRECTION[direction]]
            index.append(count - 1 - opposite)
    return index
