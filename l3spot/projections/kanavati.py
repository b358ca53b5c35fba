"""The projections of Kanavati et al. (2018), with the rows that two readers marked.

Their file has object arrays, which NumPy reads by unpickling: whoever made such a file
can have it run anything. Here nothing is unpickled but NumPy's arrays.

Rows count from the head, in the scan's own spacing; a label is the mean of the readers'
rows, at the middle of L3. Their code (sarcopenia-ai, `slice_detection/dataloader.py`)
reads the file in the same way.
"""

import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from l3spot.labels import csv_labels
from l3spot.labels.csv_labels import Label
from l3spot.projections.mip import Projection, resample
from mtl.host.errors import DataError

ALLOWED = {("numpy", "ndarray"), ("numpy", "dtype")} | {
    (f"numpy.{core}.multiarray", name)
    for core in ("core", "_core")
    for name in ("_reconstruct", "scalar")
}
NAMES = ("images_f", "images_s", "spacings", "names", "ydata")


class Found(NamedTuple):
    """A scan of the file.

    planes: float64 [N], z of the rows as they were, increasing. z is 0 at the highest:
    where the scan was in the patient is not known.
    """

    name: str
    projection: Projection
    label: Label
    planes: np.ndarray


def read(path: Path, row: float = 1.0, column: float = 1.0) -> Iterator[Found]:
    """The scans of a file; row, column: mm between rows and columns.

    The file's arrays are in memory meanwhile.

    Raises:
      DataError: it is another file, or it would run something.
    """
    arrays = load(path, NAMES)
    count = len(arrays["names"])
    for name in NAMES[:-1]:
        if len(arrays[name]) != count:
            raise DataError(f"{path}: {name} has not {count} entries, as names has")
    marked = _marked(path, arrays["ydata"], count)
    seen: set[str] = set()
    for number in range(count):
        name = str(arrays["names"][number]).replace("/", "_").lstrip(".") or "scan"
        name = f"{name}_{number}" if name in seen else name
        seen.add(name)
        spacing = np.asarray(arrays["spacings"][number], float)
        frontal, lateral = (np.asarray(arrays[k][number], float) for k in NAMES[:2])
        if spacing.shape != (3,) or not (spacing > 0).all():
            raise DataError(f"{path}: {name} has the spacing {spacing.tolist()}")
        shapes = frontal.shape, lateral.shape
        if any(len(s) != 2 or min(s) < 2 or s[0] != shapes[0][0] for s in shapes):
            raise DataError(f"{path}: {name} has views of the shapes {shapes}")
        planes = -spacing[2] * np.arange(len(frontal))[::-1]
        p = _projection(frontal, lateral, spacing, row, column)
        yield Found(name, p, _label(float(marked[number]), spacing[2], planes), planes)


def load(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Arrays of an .npz, of objects too; runs nothing.

    Raises:
      DataError: it is no such file, an array is missing, or it asks for more than
        NumPy's arrays.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            there = archive.namelist()
            lacking = [n for n in names if f"{n}.npy" not in there]
            if lacking:
                raise DataError(f"{path} has no {', '.join(lacking)}")
            arrays = {}
            for name in names:
                with archive.open(f"{name}.npy") as stream:
                    arrays[name] = _array(stream)
            return arrays
    except DataError:
        raise
    except Exception as e:  # Pickles that make no sense raise anything.
        raise DataError(f"{path} is no .npz of arrays ({e})") from e


def _array(stream: Any) -> np.ndarray:
    """One .npy: as NumPy reads it, unless it holds objects."""
    version = np.lib.format.read_magic(stream)
    header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, fortran, kind = header(stream)
    if kind.hasobject:
        array = np.asarray(_Unpickler(stream).load())
        return array if array.shape == shape else array.reshape(shape)
    flat = np.frombuffer(stream.read(), kind)
    return flat.reshape(shape, order="F" if fortran else "C")


class _Unpickler(pickle.Unpickler):
    """Makes arrays, and what Python has without a name to look up: dicts, numbers."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream, encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module.replace(".core.", "._core."), name)


def _marked(path: Path, given: np.ndarray, count: int) -> np.ndarray:
    """float64 [count], the mean of the readers' rows; NaN where one has none."""
    readers = given.item() if given.shape == () else None
    if not isinstance(readers, dict) or not readers:
        raise DataError(f"{path}: ydata is no dict of readers")
    rows = [np.asarray(v, float) for v in readers.values()]
    if any(r.shape != (count,) for r in rows):
        raise DataError(f"{path}: ydata has not {count} rows of each reader")
    return np.mean(rows, axis=0)


def _label(row: float, step: float, planes: np.ndarray) -> Label:
    z = -row * step
    if not planes[0] <= z <= planes[-1]:  # NaN is not; nor is a mark such as -1.
        return Label(csv_labels.NONE)
    return Label(csv_labels.IN, z)


def _projection(
    frontal: np.ndarray,
    lateral: np.ndarray,
    spacing: np.ndarray,
    row: float,
    column: float,
) -> Projection:
    """Resampled; the rows stay from the head to the feet, as they are in the file."""
    down = spacing[2] * np.arange(len(frontal))
    down_to = np.arange(0, down[-1] + 1e-6, row)

    def fine(view: np.ndarray, mm: float) -> tuple[np.ndarray, np.ndarray]:
        side = mm * np.arange(view.shape[1])
        side_to = np.arange(0, side[-1] + 1e-6, column)
        rows = resample(view.astype(np.float32), down, down_to, 0)
        return resample(rows, side, side_to, 1), side_to

    (front, x), (side, y) = fine(frontal, spacing[0]), fine(lateral, spacing[1])
    nearest = np.abs(down[::-1] - down_to[:, None]).argmin(axis=1)
    return Projection(front, side, -down_to, x, y, nearest)
