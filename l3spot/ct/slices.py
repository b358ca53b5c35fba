"""A plane: one image of a scan, where it lies in the patient, and how to read it.

Coordinates are DICOM's: millimetres, LPS (x to the patient's left, y to the back, z to
the head).
"""

import contextlib
import dataclasses
import os
import weakref
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple, cast

import numpy as np

from mtl.host.errors import DataError

INEXACT = 1e-3  # How far direction vectors may be from unit length and right angles.
LARGEST = 1e9  # Of numbers that make sense in a header.


class File(NamedTuple):
    """A file, or a member of a zip file.

    archive: the open zip file, which all its members share, so that its directory is
    read once; many threads may read from it. It is closed when the last of them goes.
    """

    path: Path
    member: str = ""
    archive: zipfile.ZipFile | None = None

    def __str__(self) -> str:
        return f"{self.path}:{self.member}" if self.member else str(self.path)

    @property
    def name(self) -> str:
        """The last part of its path."""
        return PurePosixPath(self.member).name if self.member else self.path.name

    def open(self) -> BinaryIO:
        """Its bytes.

        Raises:
          DataError: it cannot be opened, or is encrypted within its zip file.
        """
        try:
            if self.archive is None:
                return self.path.open("rb")
            return cast(BinaryIO, self.archive.open(self.member))
        # zipfile raises RuntimeError where a password is needed.
        except (OSError, RuntimeError, zipfile.BadZipFile) as e:
            raise DataError(f"{self} cannot be opened ({e})") from e


class Values(NamedTuple):
    """What is stored of a plane, and what it means.

    stored: numbers [rows, columns].
    slope, intercept: HU = slope * stored value + intercept.
    padding: lowest and highest stored value that mean "nothing here"; None: no value.
    """

    stored: np.ndarray
    slope: float = 1.0
    intercept: float = 0.0
    padding: tuple[int, int] | None = None

    def hu(self) -> np.ndarray:
        """float32 [rows, columns], NaN where there is padding or nothing finite."""
        with np.errstate(over="ignore", invalid="ignore"):
            hu = self.stored.astype(np.float32, order="C")
            if self.slope != 1:
                hu *= np.float32(self.slope)
            hu += np.float32(self.intercept)
        if self.padding is not None:
            low, high = self.padding
            hu[(self.stored >= low) & (self.stored <= high)] = np.nan
        if not self._whole:
            hu[~np.isfinite(hu)] = np.nan
        return hu

    @property
    def ordered(self) -> bool:
        """Whether the largest stored value always is the largest HU."""
        return self._whole and self.padding is None and self.slope > 0

    @property
    def _whole(self) -> bool:
        """Whether they are whole numbers, whose HU are finite, as nearly always."""
        whole = self.stored.dtype.kind in "iu"
        return whole and abs(self.slope) < LARGEST and abs(self.intercept) < LARGEST


@dataclasses.dataclass(frozen=True, eq=False)
class Plane:
    """One image of a scan.

    Attributes:
      file: where its pixels are.
      series: what the planes of a volume share: patient, study and series.
      sop: SOPInstanceUID, "" where files have none.
      number: AcquisitionNumber and InstanceNumber, 0 where there is none.
      origin: float64 [3], the centre of the first pixel.
      axes: float64 [2, 3], unit vectors along a row and down a column.
      spacing: mm between the pixels of a row and between those of a column.
      shape: rows, columns.
      values: decodes what is stored; raises DataError where that fails.
      scaled: whether the file says how its values become HU.
    """

    file: File
    series: tuple[str, ...]
    sop: str
    number: tuple[int, int]
    origin: np.ndarray
    axes: np.ndarray
    spacing: tuple[float, float]
    shape: tuple[int, int]
    values: Callable[[], Values]
    scaled: bool = True

    def hu(self) -> np.ndarray:
        """float32 [rows, columns], NaN where there is padding.

        Raises:
          DataError: it cannot be decoded.
        """
        return self.values().hu()

    @property
    def normal(self) -> np.ndarray:
        """float64 [3], the unit vector out of the plane."""
        return np.cross(*self.axes)


def files(root: Path) -> Iterator[File]:
    """All files below a folder, in order; those within zip files as well.

    Links are followed.

    Raises:
      DataError: there is no such folder or file, one may not be read, or a zip file is
        broken.
    """
    if not root.exists():
        raise DataError(f"{root}: there is no such file or folder")
    paths = [root] if root.is_file() else sorted(_walk(root))
    for path in paths:
        if not path.is_file() or path.name.startswith("."):
            continue
        if path.suffix.lower() != ".zip":
            yield File(path)
            continue
        archive = _archive(path)
        members = sorted(i.filename for i in archive.infolist() if i.file_size)
        inside = (File(path, member, archive) for member in members)
        yield from (file for file in inside if not file.name.startswith("."))


def _archive(path: Path) -> zipfile.ZipFile:
    """An open zip file, whose stream is closed with it."""
    with contextlib.ExitStack() as opened:
        try:
            stream = opened.enter_context(path.open("rb"))
            archive = zipfile.ZipFile(stream)
        # ValueError: names; NotImplementedError: what zipfile cannot read.
        except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as e:
            raise DataError(f"{path} is no zip file, or is broken ({e})") from e
        # Left to the garbage of a cycle, the stream might go first, unclosed.
        weakref.finalize(archive, opened.pop_all().close)
        return archive


def _walk(root: Path) -> Iterator[Path]:
    """All below a folder, that behind links as well, each folder once."""

    def refuse(e: OSError) -> None:
        raise DataError(f"{e.filename} cannot be read ({e.strerror})") from e

    seen = set()
    for folder, inside, names in os.walk(root, onerror=refuse, followlinks=True):
        where = os.path.realpath(folder)
        if where in seen:
            inside.clear()
            continue
        seen.add(where)
        yield from (Path(folder, name) for name in names)
