"""Slices of a CT scan: their pixels, their place in the patient, and their files.

Coordinates are those of DICOM: millimetres, LPS (x increases to the patient's left, y
to the back, z to the head).
"""

import contextlib
import dataclasses
import functools
import os
import stat
import weakref
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple, cast

import numpy as np

from l3spot.ct import formats
from mtl.host.errors import DataError

HEADER_TOLERANCE = 1e-3  # Rounding error of direction vectors and spacings in headers.
MAX_HEADER_NUMBER = 1e9  # Larger numbers in a header are treated as errors.


class ScanFile(NamedTuple):
    """A file of a scan, or a member of a zip file.

    path: the file, or the zip file that holds the member.
    zip_member: the member's path within the zip file; "" if `path` is the file itself.
    zip_file: the open zip file. All its members share it, so its directory is read
      once, and many threads may read from it. It is closed with its last reference.
    """

    path: Path
    zip_member: str = ""
    zip_file: zipfile.ZipFile | None = None

    def __str__(self) -> str:
        return f"{self.path}:{self.zip_member}" if self.zip_member else str(self.path)

    @property
    def name(self) -> str:
        """The file name without its folders."""
        if self.zip_member:
            return PurePosixPath(self.zip_member).name
        return self.path.name

    def open(self) -> BinaryIO:
        """Opens the file for reading bytes.

        Raises:
          DataError: the file cannot be opened, or is encrypted within its zip file.
        """
        try:
            if self.zip_file is None:
                return self.path.open("rb")
            return cast(BinaryIO, self.zip_file.open(self.zip_member))
        # zipfile raises RuntimeError if a member needs a password.
        except (OSError, RuntimeError, zipfile.BadZipFile) as e:
            raise DataError(f"{self} cannot be opened ({e})") from e


class StoredValues(NamedTuple):
    """The stored pixel values of a slice, and their conversion to HU.

    stored: numbers [rows, columns].
    slope, intercept: HU = slope * stored value + intercept.
    padding: the lowest and the highest stored value that mark pixels without data; None
      if no value does.
    """

    stored: np.ndarray
    slope: float = 1.0
    intercept: float = 0.0
    padding: tuple[int, int] | None = None

    def hu(self) -> np.ndarray:
        """Returns HU, float32 [rows, columns]; padding and infinite values are NaN."""
        with np.errstate(over="ignore", invalid="ignore"):
            hu = self.stored.astype(np.float32, order="C")
            if self.slope != 1:
                hu *= np.float32(self.slope)
            hu += np.float32(self.intercept)
        if self.padding is not None:
            low, high = self.padding
            hu[(self.stored >= low) & (self.stored <= high)] = np.nan
        if not self._always_finite:
            hu[~np.isfinite(hu)] = np.nan
        return hu

    @property
    def increasing(self) -> bool:
        """Whether HU increase with the stored values, so that their maxima agree."""
        return self._always_finite and self.padding is None and self.slope > 0

    @property
    def _always_finite(self) -> bool:
        """Whether the stored values are integers with finite HU; nearly always true."""
        integer = self.stored.dtype.kind in "iu"
        return (
            integer
            and abs(self.slope) < MAX_HEADER_NUMBER
            and abs(self.intercept) < MAX_HEADER_NUMBER
        )


class SeriesKey(NamedTuple):
    """The identifiers that all slices of a volume share.

    patient_id: PatientID; "" if the file is NIfTI.
    study_uid: StudyInstanceUID, or the folder of a NIfTI file.
    series_uid: SeriesInstanceUID, or the name of a NIfTI file.
    """

    patient_id: str
    study_uid: str
    series_uid: str


@dataclasses.dataclass(frozen=True, eq=False)
class Slice:
    """One axial image of a scan.

    Attributes:
      file: the file that holds the pixels.
      series: the identifiers of the series.
      sop_instance_uid: SOPInstanceUID; "" if the file is NIfTI.
      acquisition_number: AcquisitionNumber; 0 if it is missing.
      instance_number: InstanceNumber, or the index of a NIfTI slice; 0 if it is
        missing.
      origin_mm: float64 [3], the centre of the first pixel.
      axes: float64 [2, 3], unit vectors along a row and down a column.
      spacing_mm: distance between the pixels of a row, and between those of a column.
      shape: number of rows and columns.
      decode: decodes the stored values; raises DataError if that fails.
      has_rescale: whether the file states how stored values become HU.
      frame_of_reference_uid: FrameOfReferenceUID; "" if it is missing.
      thickness_mm: SliceThickness; 0 if it is missing.
      is_localizer: whether the file says that the image is a localizer.
      notes: messages for the user about the file.
    """

    file: ScanFile
    series: SeriesKey
    sop_instance_uid: str
    acquisition_number: int
    instance_number: int
    origin_mm: np.ndarray
    axes: np.ndarray
    spacing_mm: tuple[float, float]
    shape: tuple[int, int]
    decode: Callable[[], StoredValues]
    has_rescale: bool = True
    frame_of_reference_uid: str = ""
    thickness_mm: float = 0.0
    is_localizer: bool = False
    notes: tuple[str, ...] = ()

    def hu(self) -> np.ndarray:
        """Decodes the slice; returns HU, float32 [rows, columns], NaN for padding.

        Raises:
          DataError: the slice cannot be decoded.
        """
        return self.decode().hu()

    @property
    def normal(self) -> np.ndarray:
        """The unit vector perpendicular to the image, float64 [3]."""
        return np.cross(*self.axes)

    @functools.cached_property
    def centre_mm(self) -> np.ndarray:
        """The position of the middle of the image, float64 [3]."""
        rows, columns = self.shape
        along, down = self.spacing_mm
        half = np.array([along * (columns - 1) / 2, down * (rows - 1) / 2])
        return self.origin_mm + half @ self.axes

    @property
    def field_mm(self) -> np.ndarray:
        """The lowest x and y of pixels, and the highest, float64 [4]."""
        rows, columns = self.shape
        along, down = self.spacing_mm
        half = np.array([along * (columns - 1) / 2, down * (rows - 1) / 2])
        reach = np.abs(half[:, None] * self.axes[:, :2]).sum(0)
        return np.concatenate([self.centre_mm[:2] - reach, self.centre_mm[:2] + reach])


def iter_files(root: Path, recursive: bool = True) -> Iterator[ScanFile]:
    """Yields all files below a folder in order, also those within zip files.

    Links are followed; a link to nothing and a broken zip file are yielded, and raise
    when they are read. Files and folders that are `formats.is_clutter` are left out.

    Args:
      root: a folder or a file.
      recursive: whether files in folders of the folder are yielded.

    Raises:
      DataError: the folder or file does not exist or cannot be read, or is a broken zip
        file.
    """
    is_file = stat.S_ISREG(_stat(root).st_mode)
    for path in [root] if is_file else sorted(files_below(root, recursive)):
        if path.suffix.lower() != ".zip":
            yield ScanFile(path)
            continue
        try:
            archive = _open_zip(path)
        except DataError:
            if is_file:
                raise
            yield ScanFile(path)
            continue
        members = sorted({i.filename for i in archive.infolist() if i.file_size})
        inside = (m for m in members if not formats.in_clutter(m))
        yield from (ScanFile(path, member, archive) for member in inside)


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except FileNotFoundError as e:
        what = "there is no such file or folder"
        if path.is_symlink():
            what = "it is a link to a file or folder that does not exist"
        raise DataError(f"{path}: {what}") from e
    except OSError as e:
        raise DataError(f"{path} cannot be read ({e.strerror})") from e


def _open_zip(path: Path) -> zipfile.ZipFile:
    """Opens a zip file; its stream is closed with it."""
    with contextlib.ExitStack() as opened:
        try:
            stream = opened.enter_context(path.open("rb"))
            archive = zipfile.ZipFile(stream)
        # Broken names raise ValueError, unknown features NotImplementedError.
        except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as e:
            raise DataError(f"{path} is no zip file, or is broken ({e})") from e
        # In a reference cycle, the stream might be collected first, still open.
        weakref.finalize(archive, opened.pop_all().close)
        return archive


def files_below(root: Path, recursive: bool = True) -> Iterator[Path]:
    """Yields all files below a folder, also behind links; visits each folder once.

    Raises:
      DataError: a folder cannot be read.
    """

    def refuse(e: OSError) -> None:
        raise DataError(f"{e.filename} cannot be read ({e.strerror})") from e

    visited = set()
    for folder, subfolders, names in os.walk(root, onerror=refuse, followlinks=True):
        real_path = os.path.realpath(folder)
        if real_path in visited:
            subfolders.clear()
            continue
        visited.add(real_path)
        kept = [n for n in subfolders if recursive and not formats.is_clutter(n)]
        subfolders[:] = kept
        paths = (Path(folder, n) for n in names if not formats.is_clutter(n))
        yield from (path for path in paths if not _is_device(path))


def _is_device(path: Path) -> bool:
    """Returns whether a path is a pipe, socket or device, and reading might not end."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False  # Opening the file raises the error.
    return not stat.S_ISREG(mode)
