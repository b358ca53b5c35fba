"""Reads the projections of Kanavati et al. (2018), with the rows that readers marked.

The file has object arrays, which NumPy reads by unpickling, and a pickle can run any
code. This module only unpickles NumPy's arrays.

Rows count from the head, in the spacing of the scan. The label is the mean of the
readers' rows, at the middle of L3. The authors' code (sarcopenia-ai,
`slice_detection/dataloader.py`) reads the file in the same way.
"""

import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from l3spot.labels import csv_labels
from l3spot.labels.csv_labels import Label
from l3spot.projections.mip import Projection, resample
from mtl.host.errors import DataError

ALLOWED_GLOBALS = {("numpy", "ndarray"), ("numpy", "dtype")} | {
    (f"numpy.{core}.multiarray", name)
    for core in ("core", "_core")
    for name in ("_reconstruct", "scalar")
}
ARRAY_NAMES = ("images_f", "images_s", "spacings", "names", "ydata")


class KanavatiScan(NamedTuple):
    """A scan of the file.

    name: its unique name. projection, label: the projection and its label.
    slice_z: float64 [N], mm, increasing: the z of the file's rows. The highest row has
      z = 0, because the file does not place the scan in the patient.
    """

    name: str
    projection: Projection
    label: Label
    slice_z: np.ndarray


def read(
    path: Path, row_mm: float = 1.0, column_mm: float = 1.0
) -> Iterator[KanavatiScan]:
    """Yields the scans of a file; all its arrays stay in memory meanwhile.

    Args:
      path: the .npz file.
      row_mm: distance between the rows of the projections.
      column_mm: distance between their columns.

    Raises:
      DataError: the file has other contents, or a pickle in it asks for other objects
        than NumPy's arrays.
    """
    arrays = load_arrays(path, ARRAY_NAMES)
    count = len(arrays["names"])
    for name in ARRAY_NAMES[:-1]:
        if len(arrays[name]) != count:
            raise DataError(f"{path}: {name} has not {count} entries, as names has")
    l3_rows = _mean_l3_rows(path, arrays["ydata"], count)
    used_names: set[str] = set()
    for i in range(count):
        name = str(arrays["names"][i]).replace("/", "_").lstrip(".") or "scan"
        name = f"{name}_{i}" if name in used_names else name
        used_names.add(name)
        spacing_mm = np.asarray(arrays["spacings"][i], float)
        frontal, lateral = (np.asarray(arrays[k][i], float) for k in ARRAY_NAMES[:2])
        if spacing_mm.shape != (3,) or not (spacing_mm > 0).all():
            raise DataError(f"{path}: {name} has the spacing {spacing_mm.tolist()}")
        shapes = frontal.shape, lateral.shape
        if any(len(s) != 2 or min(s) < 2 or s[0] != shapes[0][0] for s in shapes):
            raise DataError(f"{path}: {name} has views of the shapes {shapes}")
        slice_z = -spacing_mm[2] * np.arange(len(frontal))[::-1]
        projection = _projection(frontal, lateral, spacing_mm, row_mm, column_mm)
        label = _label(float(l3_rows[i]), spacing_mm[2], slice_z)
        yield KanavatiScan(name, projection, label, slice_z)


def load_arrays(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Loads arrays of an .npz, also arrays of objects, without running any code.

    Raises:
      DataError: the file is no .npz, an array is missing, or a pickle asks for other
        objects than NumPy's arrays.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            missing = [n for n in names if f"{n}.npy" not in members]
            if missing:
                raise DataError(f"{path} has no {', '.join(missing)}")
            arrays = {}
            for name in names:
                with archive.open(f"{name}.npy") as stream:
                    arrays[name] = _read_npy(stream)
            return arrays
    except DataError:
        raise
    except Exception as e:  # A broken pickle may raise any exception.
        raise DataError(f"{path} is no .npz of arrays ({e})") from e


def _read_npy(stream: IO[bytes]) -> np.ndarray:
    """Reads an .npy as NumPy does; object arrays are unpickled safely."""
    version = np.lib.format.read_magic(stream)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, fortran, dtype = read_header(stream)
    if dtype.hasobject:
        array = np.asarray(_Unpickler(stream).load())
        return array if array.shape == shape else array.reshape(shape)
    flat = np.frombuffer(stream.read(), dtype)
    return flat.reshape(shape, order="F" if fortran else "C")


class _Unpickler(pickle.Unpickler):
    """Unpickles arrays, and objects that need no import, such as dicts and numbers."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(stream, encoding="latin1")

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in ALLOWED_GLOBALS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module.replace(".core.", "._core."), name)


def _mean_l3_rows(path: Path, ydata: np.ndarray, count: int) -> np.ndarray:
    """Returns the mean of the readers' rows, float64 [count]; NaN if one is missing."""
    readers = ydata.item() if ydata.shape == () else None
    if not isinstance(readers, dict) or not readers:
        raise DataError(f"{path}: ydata is no dict of readers")
    rows = [np.asarray(v, float) for v in readers.values()]
    if any(r.shape != (count,) for r in rows):
        raise DataError(f"{path}: ydata has not {count} rows of each reader")
    return np.mean(rows, axis=0)


def _label(row: float, spacing_mm: float, slice_z: np.ndarray) -> Label:
    z = -row * spacing_mm
    if not slice_z[0] <= z <= slice_z[-1]:  # Also NaN, and rows such as -1.
        return Label(csv_labels.UNKNOWN)
    return Label(csv_labels.IN_VIEW, z)


def _projection(
    frontal: np.ndarray,
    lateral: np.ndarray,
    spacing_mm: np.ndarray,
    row_mm: float,
    column_mm: float,
) -> Projection:
    """Resamples the two views; the rows stay in the file's order, from the head."""
    depth = spacing_mm[2] * np.arange(len(frontal))
    depth_to = np.arange(0, depth[-1] + 1e-6, row_mm)

    def resample_view(
        view: np.ndarray, pixel_mm: float
    ) -> tuple[np.ndarray, np.ndarray]:
        side = pixel_mm * np.arange(view.shape[1])
        side_to = np.arange(0, side[-1] + 1e-6, column_mm)
        rows = resample(view.astype(np.float32), depth, depth_to, 0)
        return resample(rows, side, side_to, 1), side_to

    frontal_view, x = resample_view(frontal, spacing_mm[0])
    lateral_view, y = resample_view(lateral, spacing_mm[1])
    nearest = np.abs(depth[::-1] - depth_to[:, None]).argmin(axis=1)
    return Projection(frontal_view, lateral_view, -depth_to, x, y, nearest)
