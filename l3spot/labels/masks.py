"""Finds the middle of the L3 body in a mask of vertebrae.

A mask holds the whole vertebra, and its arch and processes reach lower than its body.
The pedicles, laminae and processes are thinner than the body. So the body is found as
the union of all balls in the vertebra with a radius near that of the largest one.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from l3spot.ct import nifti
from l3spot.ct.slices import ScanFile, Slice
from l3spot.ct.volumes import Volume
from l3spot.labels import csv_labels
from l3spot.labels.csv_labels import Label
from mtl.host.errors import DataError

SAMPLING_MM = 1.5  # Finer voxels are subsampled to about this distance.
BODY_RADIUS_FRACTION = 0.6  # Radius of the body's balls over the largest radius.
MIN_BODY_RADIUS_MM = 4.0  # If the largest ball is smaller, the body is missing.


class Mask(NamedTuple):
    """A NIfTI file with a mask of vertebrae; its grid may differ from the scan's.

    path: the file. value: the value of L3; None takes all voxels that are not 0.
    """

    path: Path
    value: int | None = None

    def __str__(self) -> str:
        return self.path.name

    def find(self, volume: Volume) -> Label:
        """Returns the label of L3 in a volume.

        Raises:
          DataError: the file is broken, or L3 lies outside the volume.
        """
        label = read(self.path, self.value)
        return csv_labels.check_within(label, volume, str(self.path))


def read(path: Path, value: int | None = None) -> Label:
    """Returns the middle of a vertebra's body; "not in view" if the mask is empty.

    Args:
      path: the NIfTI file.
      value: the value of the vertebra; None takes all voxels that are not 0.

    Raises:
      DataError: the file cannot be read.
    """
    slices = nifti.read(ScanFile(path), is_mask=True)
    if len(slices) < 2:
        raise DataError(f"{path} has one slice; it should be the mask of a scan")
    stride = _strides(slices)
    images = [
        _vertebra_pixels(s, value)[:: stride[1], :: stride[2]]
        for s in slices[:: stride[0]]
    ]
    occupied = np.argwhere([image.any() for image in images]).ravel()
    if not len(occupied):
        return Label(csv_labels.NOT_IN_VIEW)
    vertebra = np.stack(images[occupied[0] : occupied[-1] + 1])
    body = find_body(vertebra, _voxel_mm(slices) * stride)
    if body is None:
        warning = f"{path.name} has too little of L3 for its body"
        return Label(csv_labels.NOT_IN_VIEW, warnings=(warning,))
    body += [occupied[0], 0, 0]
    index, row, column = body.mean(axis=0) * stride
    warnings: tuple[str, ...] = ()
    if body[:, 0].min() == 0 or body[:, 0].max() == len(images) - 1:
        warnings = (
            f"in {path.name} the body of L3 reaches the end of the scan and may be "
            "cut; the label is the middle of the visible part",
        )
    first = slices[0]
    along, down = first.axes * np.array(first.spacing_mm)[:, None]
    up = slices[1].origin_mm - first.origin_mm
    middle = first.origin_mm + index * up + column * along + row * down
    return Label(csv_labels.IN_VIEW, float(middle[2]), warnings)


def find_body(vertebra: np.ndarray, voxel_mm: np.ndarray) -> np.ndarray | None:
    """Returns the voxel indices of a vertebra's body, int [M, 3].

    Args:
      vertebra: bool [slices, rows, columns].
      voxel_mm: [3], the distances between its voxels.

    Returns:
      None if no ball with a radius of `MIN_BODY_RADIUS_MM` fits into the vertebra.
    """
    boxes = ndimage.find_objects(vertebra.astype(np.uint8))
    inside = np.pad(ndimage.binary_fill_holes(vertebra[boxes[0]]), 1)
    radius = ndimage.distance_transform_edt(inside, voxel_mm) - voxel_mm.min() / 2
    if radius.max() < MIN_BODY_RADIUS_MM:
        return None
    centres = radius >= BODY_RADIUS_FRACTION * radius.max()
    pieces, count = ndimage.label(centres)
    sizes = ndimage.sum_labels(centres, pieces, range(1, count + 1))
    centres = pieces == 1 + int(np.argmax(sizes))
    # One more voxel, so that the balls reach the ends of the body.
    ball_mm = BODY_RADIUS_FRACTION * radius.max() + voxel_mm.min()
    balls = ndimage.distance_transform_edt(~centres, voxel_mm) <= ball_mm
    return np.argwhere(balls & inside) - 1 + [s.start for s in boxes[0]]


def _vertebra_pixels(ct_slice: Slice, value: int | None) -> np.ndarray:
    """Returns the pixels of a vertebra in a slice of a mask, bool [rows, columns]."""
    values = ct_slice.hu()
    return np.abs(values) > 0.5 if value is None else np.abs(values - value) < 0.5


def _voxel_mm(slices: list[Slice]) -> np.ndarray:
    """Returns the distances between slices, rows and columns, float64 [3]."""
    up = float(np.linalg.norm(slices[1].origin_mm - slices[0].origin_mm))
    along, down = slices[0].spacing_mm
    return np.array([up, down, along])


def _strides(slices: list[Slice]) -> np.ndarray:
    """Returns the subsampling of slices, rows and columns, int [3]."""
    return np.maximum(1, np.round(SAMPLING_MM / _voxel_mm(slices))).astype(int)
