"""From NIfTI files to planes.

The planes lie across the voxel axis that runs most along the body. A file is read plane
by plane: the voxels stay on the disk, those of compressed files in a temporary one.
nibabel is imported where it is used, for it takes 40 MB, and most scans are DICOM.
"""

import gzip
import logging
import math
import mmap
import tempfile
import threading
import zipfile
import zlib
from functools import partial
from typing import Any, BinaryIO, cast

import numpy as np

from l3spot.ct.slices import INEXACT, File, Plane, Values
from mtl.host.errors import DataError

QUIET = logging.Logger("quiet")  # For what nibabel mends and would tell on stderr.
QUIET.addHandler(logging.NullHandler())
SUFFIXES = (".nii", ".nii.gz")
LPS = np.array([-1.0, -1.0, 1.0])  # What turns RAS into it.
MM = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}
CHUNK = 2**22  # Bytes that are decompressed at a time.
BROKEN = (OSError, EOFError, zlib.error, zipfile.BadZipFile)


def is_nifti(file: File) -> bool:
    """Whether its name says so."""
    return file.name.lower().endswith(SUFFIXES)


def stem(name: str) -> str:
    """A file's name without the end that tells NIfTI."""
    lower = name.lower()
    return next((name[: -len(s)] for s in SUFFIXES if lower.endswith(s)), name)


def read(file: File) -> list[Plane]:
    """The planes of a NIfTI file of one volume.

    Their series is the file's name. NaN and infinite values are padding.

    Raises:
      DataError: it is no NIfTI file, or does not say where its voxels are in the
        patient.
    """
    header = _header(file)
    shape = _shape(file, header)
    kind = header.get_data_dtype()
    if kind.kind not in "iuf":
        raise DataError(f"{file} holds {kind} values, not one number a voxel")
    affine = _affine(file, header)
    steps = np.linalg.norm(affine[:, :3], axis=0)
    units = affine[:, :3] / steps
    slices = int(np.abs(units[2]).argmax())
    along, down = (a for a in range(3) if a != slices)
    if abs(units[:, along] @ units[:, down]) > INEXACT:
        raise DataError(f"{file}: its in-plane axes are sheared; resample it")
    voxels = _Voxels(file, kind, shape, int(header.get_data_offset()))
    slope, shift = _scale(file, header)
    return [
        Plane(
            file=file,
            series=("", str(file.path.parent), file.name),
            sop="",
            number=(0, number),
            origin=affine[:, 3] + number * affine[:, slices],
            axes=units[:, [along, down]].T,
            spacing=(float(steps[along]), float(steps[down])),
            shape=(shape[down], shape[along]),
            values=partial(_decode, voxels, slices, number, slope, shift),
        )
        for number in range(shape[slices])
    ]


def grid(file: File) -> tuple[np.ndarray, tuple[int, ...]]:
    """Voxel numbers to mm, LPS, float64 [3, 4]; and how many voxels along each axis.

    Raises:
      DataError: it is no NIfTI file, or does not say where its voxels are.
    """
    header = _header(file)
    return _affine(file, header), _shape(file, header)


class _Voxels:
    """The stored voxels of a file, mapped into memory when first asked for."""

    def __init__(
        self, file: File, kind: np.dtype, shape: tuple[int, ...], offset: int
    ) -> None:
        self._open = partial(_mapped, file, kind, shape, offset)
        self._lock = threading.Lock()
        self._array: np.ndarray | None = None

    def get(self) -> np.ndarray:
        """[i, j, k], read only; raises DataError."""
        with self._lock:
            if self._array is None:
                self._array = self._open()
            return self._array


def _decode(
    voxels: _Voxels, axis: int, number: int, slope: float, shift: float
) -> Values:
    return Values(np.moveaxis(voxels.get(), axis, 0)[number].T, slope, shift)


def _mapped(
    file: File, kind: np.dtype, shape: tuple[int, ...], offset: int
) -> np.ndarray:
    """The voxels [i, j, k], on the disk.

    The temporary file has no name, so it goes with the map.
    """
    size = offset + kind.itemsize * math.prod(shape)
    if file.archive is None and not _packed(file):
        with file.open() as stream:
            return _map(file, stream, kind, shape, offset, size)
    try:
        with tempfile.TemporaryFile() as whole:
            with _unpacked(file) as stream:
                _copy(file, stream, whole, size)
            return _map(file, cast(BinaryIO, whole), kind, shape, offset, size)
    except DataError:
        raise
    except OSError as e:
        raise DataError(
            f"{file} cannot be unpacked in {tempfile.gettempdir()} ({e}); set TMPDIR "
            f"to a folder with {size / 1e9:.1f} GB of room"
        ) from e


def _copy(file: File, stream: BinaryIO, to: Any, size: int) -> None:
    """Copies at most `size` bytes, in chunks, and one read more: it checks the sum."""
    while True:
        try:
            chunk = stream.read(min(CHUNK, size) or 1)
        except BROKEN as e:
            raise DataError(f"{file} cannot be unpacked ({e}); get it again") from e
        if not (chunk and size):
            return
        to.write(chunk)
        size -= len(chunk)


def _map(
    file: File,
    stream: BinaryIO,
    kind: np.dtype,
    shape: tuple[int, ...],
    offset: int,
    size: int,
) -> np.ndarray:
    there = stream.seek(0, 2)
    if there < size:
        raise DataError(
            f"{file} is cut short: it holds {there} of {size} bytes; get it again"
        )
    flat = mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ)
    return np.ndarray(shape, kind, flat, offset, order="F")


def _packed(file: File) -> bool:
    return file.name.lower().endswith(".gz")


def _unpacked(file: File) -> BinaryIO:
    """Its bytes, decompressed as they are read."""
    stream = file.open()
    return cast(BinaryIO, _Gzip(stream)) if _packed(file) else stream


class _Gzip(gzip.GzipFile):
    """Closes what it reads from, too."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(fileobj=stream, mode="rb")
        self._stream = stream

    def close(self) -> None:
        super().close()
        self._stream.close()


def _header(file: File) -> Any:
    """Its header, of either version of the format.

    Raises:
      DataError: it has none.
    """
    import nibabel
    from nibabel.spatialimages import HeaderDataError

    try:
        with _unpacked(file) as stream:
            start = stream.read(540)
    except BROKEN as e:
        raise DataError(f"{file} is no NIfTI file, or is broken ({e})") from e
    for kind in (nibabel.Nifti1Header, nibabel.Nifti2Header):
        size = kind.sizeof_hdr
        magic = start[344:348] if size == 348 else start[4:12]
        if len(start) >= size and magic.startswith((b"n+1", b"n+2")):
            try:
                header = kind(start[:size], check=False)
                header.check_fix(logger=QUIET)
                header.get_data_offset()
                return header
            except (HeaderDataError, ValueError, OverflowError) as e:
                raise DataError(f"{file} has a broken NIfTI header ({e})") from e
    raise DataError(f"{file} is no NIfTI file of header and voxels in one")


def _shape(file: File, header: Any) -> tuple[int, ...]:
    shape = tuple(int(n) for n in header.get_data_shape())
    if len(shape) < 3 or min(shape) < 1 or math.prod(shape[3:]) != 1:
        raise DataError(
            f"{file} has the shape {list(shape)}; it must hold one volume of three "
            "dimensions"
        )
    return shape[:3]


def _affine(file: File, header: Any) -> np.ndarray:
    """float64 [3, 4]: voxel numbers to mm, LPS; from the sform, else the qform.

    Raises:
      DataError: there is neither, or it makes no sense.
    """
    from nibabel.spatialimages import HeaderDataError

    try:
        unit = header.get_xyzt_units()[0]
        affine = header.get_sform(coded=True)[0]
        if affine is None:
            affine = header.get_qform(coded=True)[0]
    except (HeaderDataError, KeyError, ValueError) as e:
        raise DataError(f"{file} does not say how its voxels lie ({e})") from e
    if affine is None:
        raise DataError(
            f"{file} does not say where it is in the patient: it has neither an sform "
            "nor a qform; convert it again from DICOM"
        )
    affine = MM[unit] * LPS[:, None] * np.asarray(affine, float)[:3]
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:, :3])) < 1e-9:
        raise DataError(f"{file} says nonsense of where it is: {affine.tolist()}")
    return affine


def _scale(file: File, header: Any) -> tuple[float, float]:
    """HU = slope * stored value + shift."""
    from nibabel.spatialimages import HeaderDataError

    try:
        slope, shift = header.get_slope_inter()
    except HeaderDataError as e:
        raise DataError(f"{file} has a broken NIfTI header ({e})") from e
    return (1.0, 0.0) if slope is None else (slope, shift or 0.0)
