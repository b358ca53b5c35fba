"""Where L3 is, from a mask of vertebrae.

A mask has the whole vertebra, whose arch and processes hang lower than its body. The
body is what a ball fits into whose radius is most of that of the largest ball in the
vertebra: pedicles, laminae and processes are all thinner. Its middle is the label.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from l3spot.ct import nifti
from l3spot.ct.slices import File, Plane
from l3spot.ct.volumes import Volume
from l3spot.labels import csv_labels
from l3spot.labels.csv_labels import Label
from mtl.host.errors import DataError

FINE = 1.5  # mm: voxels that are finer are skipped to about this.
BALL = 0.6  # Radius of the ball that tells the body, of that of the largest ball.
THIN = 4.0  # mm: a largest ball that is smaller is in no body.


class Mask(NamedTuple):
    """A NIfTI file with vertebrae; it need not have the grid of the scan.

    value: that of L3; None takes all that is not 0.
    """

    path: Path
    value: int | None = None

    def __str__(self) -> str:
        return self.path.name

    def find(self, volume: Volume) -> Label:
        """The label of a volume.

        Raises:
          DataError: the file is broken, or L3 is outside of the volume.
        """
        return csv_labels.within(read(self.path, self.value), volume, str(self.path))


def read(path: Path, value: int | None = None) -> Label:
    """The middle of a vertebra's body; not in view if the mask is empty.

    Raises:
      DataError: the file cannot be read.
    """
    planes = nifti.read(File(path))
    if len(planes) < 2:
        raise DataError(f"{path} has one plane; it should be the mask of a scan")
    skip = _skip(planes)
    pieces = [_marked(p, value)[:: skip[1], :: skip[2]] for p in planes[:: skip[0]]]
    where = np.argwhere([p.any() for p in pieces]).ravel()
    if not len(where):
        return Label(csv_labels.OUT)
    marked = np.stack(pieces[where[0] : where[-1] + 1])
    found = body(marked, _steps(planes) * skip)
    if found is None:
        told = f"{path.name} has too little of L3 for its body"
        return Label(csv_labels.OUT, warnings=(told,))
    found += [where[0], 0, 0]
    number, row, column = found.mean(axis=0) * skip
    warnings: tuple[str, ...] = ()
    if found[:, 0].min() == 0 or found[:, 0].max() == len(pieces) - 1:
        warnings = (
            f"in {path.name} the body of L3 reaches the end of the scan and may be "
            "cut; its middle is that of what is there",
        )
    first = planes[0]
    across = first.axes * np.array(first.spacing)[:, None]
    up = planes[1].origin - first.origin
    middle = first.origin + number * up + column * across[0] + row * across[1]
    return Label(csv_labels.IN, float(middle[2]), warnings)


def body(marked: np.ndarray, mm: np.ndarray) -> np.ndarray | None:
    """The voxels of the body of a vertebra, [M, 3].

    Args:
      marked: bool [N, R, C], the vertebra.
      mm: [3], between voxels.

    Returns:
      None if not even a ball of `THIN` fits in.
    """
    boxes = ndimage.find_objects(marked.astype(np.uint8))
    inside = np.pad(ndimage.binary_fill_holes(marked[boxes[0]]), 1)
    depth = ndimage.distance_transform_edt(inside, mm) - mm.min() / 2
    if depth.max() < THIN:
        return None
    kept = depth >= BALL * depth.max()
    pieces, count = ndimage.label(kept)
    sizes = ndimage.sum_labels(kept, pieces, range(1, count + 1))
    kept = pieces == 1 + int(np.argmax(sizes))
    reach = BALL * depth.max() + mm.min()  # A voxel more, so that ends are reached.
    ball = ndimage.distance_transform_edt(~kept, mm) <= reach
    return np.argwhere(ball & inside) - 1 + [s.start for s in boxes[0]]


def _marked(plane: Plane, value: int | None) -> np.ndarray:
    hu = plane.hu()
    return np.abs(hu) > 0.5 if value is None else np.abs(hu - value) < 0.5


def _steps(planes: list[Plane]) -> np.ndarray:
    """Between planes, rows and columns, mm."""
    up = float(np.linalg.norm(planes[1].origin - planes[0].origin))
    along, down = planes[0].spacing
    return np.array([up, down, along])


def _skip(planes: list[Plane]) -> np.ndarray:
    return np.maximum(1, np.round(FINE / _steps(planes))).astype(int)
