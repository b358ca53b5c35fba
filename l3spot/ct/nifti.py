"""Reads the slices of NIfTI files.

Slices lie across the voxel axis that is nearest to the body axis. Each slice is read
when it is needed: the voxels stay on the disk, those of compressed files in a temporary
file. nibabel takes 40 MB of memory and most scans are DICOM, so functions import it.
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

from l3spot.ct import nifti_affine
from l3spot.ct.slices import (
    HEADER_TOLERANCE,
    ScanFile,
    SeriesKey,
    Slice,
    StoredValues,
)
from mtl.host.errors import DataError

SILENT_LOGGER = logging.Logger("silent")  # nibabel reports repaired headers to it.
SILENT_LOGGER.addHandler(logging.NullHandler())
SUFFIXES = (".nii", ".nii.gz")
CHUNK_BYTES = 2**22  # Files are decompressed in chunks of this size.
HEADER_BYTES = 540  # Of the longer header, NIfTI-2.
READ_ERRORS = (OSError, EOFError, zlib.error, zipfile.BadZipFile)


def is_nifti(file: ScanFile) -> bool:
    """Returns whether the file name has a suffix of NIfTI."""
    return file.name.lower().endswith(SUFFIXES)


def stem(name: str) -> str:
    """Returns a file name without the suffix of NIfTI."""
    lower = name.lower()
    return next((name[: -len(s)] for s in SUFFIXES if lower.endswith(s)), name)


def read(file: ScanFile, is_mask: bool = False) -> list[Slice]:
    """Reads the slices of a NIfTI file of one volume.

    The file name is the name of the series. NaN and infinite values are padding.

    Args:
      file: the file.
      is_mask: whether the voxels are compared with those of a scan alone, so that their
        affine may be the identity.

    Raises:
      DataError: the file is no NIfTI file, or does not place its voxels in the patient.
    """
    header = _read_header(file)
    shape = _volume_shape(file, header)
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf":
        raise DataError(f"{file} holds {dtype} values, not one number a voxel")
    affine = nifti_affine.read(file, header)
    if not is_mask:
        nifti_affine.check_geometry(file, affine, shape)
    notes = nifti_affine.notes(header)
    voxel_mm = np.linalg.norm(affine[:, :3], axis=0)
    units = affine[:, :3] / voxel_mm
    slice_axis = int(np.abs(units[2]).argmax())
    along, down = (a for a in range(3) if a != slice_axis)
    if abs(units[:, along] @ units[:, down]) > HEADER_TOLERANCE:
        raise DataError(f"{file}: its in-plane axes are sheared; resample it")
    voxels = _Voxels(file, dtype, shape, int(header.get_data_offset()))
    slope, intercept = _rescale(file, header)
    return [
        Slice(
            file=file,
            series=SeriesKey("", str(file.path.parent), file.name),
            sop_instance_uid="",
            acquisition_number=0,
            instance_number=index,
            origin_mm=affine[:, 3] + index * affine[:, slice_axis],
            axes=units[:, [along, down]].T,
            spacing_mm=(float(voxel_mm[along]), float(voxel_mm[down])),
            shape=(shape[down], shape[along]),
            decode=partial(_decode, voxels, slice_axis, index, slope, intercept),
            notes=notes,
        )
        for index in range(shape[slice_axis])
    ]


def read_grid(file: ScanFile) -> tuple[np.ndarray, tuple[int, ...]]:
    """Returns the affine from voxel indices to mm, LPS, float64 [3, 4], and the shape.

    Raises:
      DataError: the file is no NIfTI file, or does not place its voxels in the patient.
    """
    header = _read_header(file)
    return nifti_affine.read(file, header), _volume_shape(file, header)


class _Voxels:
    """The stored voxels of a file; the first access maps them into memory."""

    def __init__(
        self, file: ScanFile, dtype: np.dtype, shape: tuple[int, ...], offset: int
    ) -> None:
        self._map = partial(_map_voxels, file, dtype, shape, offset)
        self._lock = threading.Lock()
        self._array: np.ndarray | None = None

    def get(self) -> np.ndarray:
        """Returns the voxels [i, j, k], read only; raises DataError."""
        with self._lock:
            if self._array is None:
                self._array = self._map()
            return self._array


def _decode(
    voxels: _Voxels, axis: int, index: int, slope: float, intercept: float
) -> StoredValues:
    stored = np.moveaxis(voxels.get(), axis, 0)[index].T
    return StoredValues(stored, slope, intercept)


def _map_voxels(
    file: ScanFile, dtype: np.dtype, shape: tuple[int, ...], offset: int
) -> np.ndarray:
    """Maps the voxels [i, j, k] of a file into memory.

    Compressed files are first decompressed to a temporary file without a name, which is
    deleted with the memory map.
    """
    size = offset + dtype.itemsize * math.prod(shape)
    if file.zip_file is None and not _is_gzip(file):
        with file.open() as stream:
            return _map_stream(file, stream, dtype, shape, offset, size)
    try:
        with tempfile.TemporaryFile() as extracted:
            with _open_decompressed(file) as stream:
                _copy(file, stream, extracted, size)
            copied = cast(BinaryIO, extracted)
            return _map_stream(file, copied, dtype, shape, offset, size)
    except DataError:
        raise
    except OSError as e:
        raise DataError(
            f"{file} cannot be unpacked in {tempfile.gettempdir()} ({e}); set TMPDIR "
            f"to a folder with {size / 1e9:.1f} GB of space"
        ) from e


def _copy(file: ScanFile, stream: BinaryIO, to: Any, size: int) -> None:
    """Copies at most `size` bytes in chunks; the last read verifies the checksum."""
    while True:
        try:
            chunk = stream.read(min(CHUNK_BYTES, size) or 1)
        except READ_ERRORS as e:
            raise DataError(f"{file} cannot be unpacked ({e}); get it again") from e
        if not (chunk and size):
            return
        to.write(chunk)
        size -= len(chunk)


def _map_stream(
    file: ScanFile,
    stream: BinaryIO,
    dtype: np.dtype,
    shape: tuple[int, ...],
    offset: int,
    size: int,
) -> np.ndarray:
    available = stream.seek(0, 2)
    if available < size:
        raise DataError(
            f"{file} is cut short: it holds {available} of {size} bytes; get it again"
        )
    memory = mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ)
    return np.ndarray(shape, dtype, memory, offset, order="F")


def _is_gzip(file: ScanFile) -> bool:
    return file.name.lower().endswith(".gz")


def _open_decompressed(file: ScanFile) -> BinaryIO:
    """Opens a file; its bytes are decompressed during reading."""
    stream = file.open()
    return cast(BinaryIO, _ClosingGzip(stream)) if _is_gzip(file) else stream


class _ClosingGzip(gzip.GzipFile):
    """A gzip reader that also closes the stream it reads from."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(fileobj=stream, mode="rb")
        self._stream = stream

    def close(self) -> None:
        super().close()
        self._stream.close()


def _read_header(file: ScanFile) -> Any:
    """Reads the header of a NIfTI-1 or NIfTI-2 file.

    Raises:
      DataError: the file has no such header.
    """
    import nibabel
    from nibabel.spatialimages import HeaderDataError

    try:
        with _open_decompressed(file) as stream:
            start = stream.read(HEADER_BYTES)
    except READ_ERRORS as e:
        raise DataError(f"{file} is no NIfTI file, or is broken ({e})") from e
    for header_class in (nibabel.Nifti1Header, nibabel.Nifti2Header):
        size = header_class.sizeof_hdr
        magic = start[344:348] if size == 348 else start[4:12]
        if len(start) >= size and magic.startswith((b"n+1", b"n+2")):
            try:
                header = header_class(start[:size], check=False)
                header.check_fix(logger=SILENT_LOGGER)
                header.get_data_offset()
                return header
            except (HeaderDataError, ValueError, OverflowError) as e:
                raise DataError(f"{file} has a broken NIfTI header ({e})") from e
    raise DataError(f"{file} is no NIfTI file of header and voxels in one")


def _volume_shape(file: ScanFile, header: Any) -> tuple[int, ...]:
    shape = tuple(int(n) for n in header.get_data_shape())
    if len(shape) < 3 or min(shape) < 1 or math.prod(shape[3:]) != 1:
        raise DataError(
            f"{file} has the shape {list(shape)}; it must hold one volume of three "
            "dimensions"
        )
    return shape[:3]


def _rescale(file: ScanFile, header: Any) -> tuple[float, float]:
    """Returns slope and intercept: HU = slope * stored value + intercept."""
    from nibabel.spatialimages import HeaderDataError

    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError as e:
        raise DataError(f"{file} has a broken NIfTI header ({e})") from e
    return (1.0, 0.0) if slope is None else (slope, intercept or 0.0)
