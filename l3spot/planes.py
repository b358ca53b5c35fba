"""From DICOM files to planes: where each image lies in the patient, and its HU values.

Coordinates are DICOM's: millimetres, LPS (x to the patient's left, y to the back, z to
the head). Nothing of a header but what is named here is kept: no name, no birth date.
"""

import dataclasses
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array

from mtl.errors import DataError

MAGIC = b"DICM"  # At byte 128 of a DICOM file.
INEXACT = 1e-3  # How far direction vectors may be from unit length and right angles.
TAGS = [
    *("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID"),
    *("Modality", "SeriesNumber", "SeriesDescription", "NumberOfFrames"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "PixelRepresentation"),
    *("RescaleSlope", "RescaleIntercept", "PixelPaddingValue"),
    *("PixelPaddingRangeLimit", "AcquisitionNumber", "InstanceNumber"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]


class File(NamedTuple):
    """A file, or a member of a zip file."""

    path: Path
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.member}" if self.member else str(self.path)

    def open(self) -> BinaryIO:
        """Its bytes."""
        if not self.member:
            return self.path.open("rb")
        with zipfile.ZipFile(self.path) as archive:
            return cast(BinaryIO, archive.open(self.member))


@dataclasses.dataclass(frozen=True, eq=False)
class Plane:
    """One image of a scan.

    Attributes:
      file, frame: where its pixels are; frame counts from 0.
      series: what the planes of a volume share: patient, study and series.
      sop: SOPInstanceUID.
      number: AcquisitionNumber and InstanceNumber, 0 where there is none.
      origin: float64 [3], the centre of the first pixel.
      axes: float64 [2, 3], unit vectors along a row and down a column.
      spacing: mm between the pixels of a row and between those of a column.
      shape: rows, columns.
      slope, intercept: HU = slope * stored value + intercept.
      padding: lowest and highest stored value that mean "nothing here"; None: no value.
    """

    file: File
    frame: int
    series: tuple[str, ...]
    sop: str
    number: tuple[int, int]
    origin: np.ndarray
    axes: np.ndarray
    spacing: tuple[float, float]
    shape: tuple[int, int]
    slope: float
    intercept: float
    padding: tuple[int, int] | None

    @property
    def normal(self) -> np.ndarray:
        """float64 [3], the unit vector out of the plane."""
        return np.cross(*self.axes)

    def hu(self) -> np.ndarray:
        """float32 [rows, columns], NaN where there is padding.

        Raises:
          DataError: the pixels cannot be decoded, or are not as the header says.
        """
        try:
            with self.file.open() as stream:
                stored = pixel_array(stream, index=self.frame, raw=True)
        except MemoryError:
            raise
        # Decoders raise what they like, and a broken file can lead them anywhere.
        except Exception as e:
            raise DataError(
                f"{self.file}: its pixels cannot be decoded ({_one_line(e)}); the file "
                "is cut short or broken, or its compression needs a plug-in of pydicom"
            ) from e
        if stored.shape != self.shape:
            raise DataError(
                f"{self.file} holds {stored.shape} pixels, not {self.shape}"
            )
        hu = np.float32(self.slope) * stored.astype(np.float32)
        hu += np.float32(self.intercept)
        if self.padding is not None:
            low, high = self.padding
            hu[(stored >= low) & (stored <= high)] = np.nan
        return hu


def files(root: Path) -> Iterator[File]:
    """All files below a folder, in order; those within zip files as well.

    Raises:
      DataError: there is no such folder or file, or a zip file is broken.
    """
    if not root.exists():
        raise DataError(f"{root}: there is no such file or folder")
    paths = [root] if root.is_file() else sorted(p for p in root.rglob("*"))
    for path in paths:
        if not path.is_file() or path.name.startswith("."):
            continue
        if path.suffix.lower() != ".zip":
            yield File(path)
            continue
        try:
            with zipfile.ZipFile(path) as archive:
                members = sorted(i.filename for i in archive.infolist() if i.file_size)
        except (OSError, zipfile.BadZipFile) as e:
            raise DataError(f"{path} is no zip file, or is broken ({e})") from e
        yield from (File(path, member) for member in members)


def is_dicom(file: File) -> bool:
    """Whether it begins as DICOM files do."""
    with file.open() as stream:
        return stream.read(132)[128:] == MAGIC


def read(file: File) -> list[Plane]:
    """The planes of a DICOM file: one, or as many as it has frames.

    Raises:
      DataError: it is broken, no CT image, or lacks what places it in the patient.
    """
    try:
        with file.open() as stream:
            header = pydicom.dcmread(
                stream, stop_before_pixels=True, specific_tags=list(TAGS)
            )
    # pydicom raises many kinds on files that are cut or not DICOM.
    except Exception as e:
        raise DataError(
            f"{file} is no DICOM file, or is cut short ({_one_line(e)})"
        ) from e
    modality = header.get("Modality", "")
    if modality != "CT":
        raise DataError(
            f"{file} is no CT image: its modality is {modality or 'not given'}"
        )
    try:
        count = int(header.get("NumberOfFrames") or 1)
        return [_plane(file, header, frame) for frame in range(count)]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as e:
        raise DataError(f"{file} lacks a usable {_one_line(e)}") from e


def _plane(file: File, header: Dataset, frame: int) -> Plane:
    position = _find(header, frame, "PlanePositionSequence", "ImagePositionPatient")
    axes = _find(header, frame, "PlaneOrientationSequence", "ImageOrientationPatient")
    spacing = _find(header, frame, "PixelMeasuresSequence", "PixelSpacing")
    slope = _find(header, frame, "PixelValueTransformationSequence", "RescaleSlope", 1)
    shift = _find(
        header, frame, "PixelValueTransformationSequence", "RescaleIntercept", 0
    )
    down, along = (float(v) for v in spacing)
    return Plane(
        file=file,
        frame=frame,
        series=tuple(
            str(header.get(name, ""))
            for name in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
        ),
        sop=str(header.get("SOPInstanceUID", "")),
        number=(_whole(header, "AcquisitionNumber"), _whole(header, "InstanceNumber")),
        origin=_vector(position, 3, "ImagePositionPatient"),
        axes=_axes(_vector(axes, 6, "ImageOrientationPatient")),
        spacing=_positive((along, down)),
        shape=(int(header.Rows), int(header.Columns)),
        slope=float(slope),
        intercept=float(shift),
        padding=_padding(header),
    )


def _find(
    header: Dataset, frame: int, group: str, name: str, default: object = None
) -> Any:
    """An element: the frame's own, the one all frames share, or the header's."""
    own = header.get("PerFrameFunctionalGroupsSequence") or []
    shared = header.get("SharedFunctionalGroupsSequence") or []
    for place in (*own[frame : frame + 1], *shared[:1]):
        for item in place.get(group) or []:
            if item.get(name) is not None:
                return item.get(name)
    value = header.get(name)
    if value is None and default is None:
        raise KeyError(name)
    return default if value is None else value


def _vector(value: Iterable, size: int, name: str) -> np.ndarray:
    found = np.array([float(v) for v in value])
    if found.shape != (size,) or not np.isfinite(found).all():
        raise ValueError(f"{name}: {value}")
    return found


def _axes(value: np.ndarray) -> np.ndarray:
    """Unit vectors [2, 3], at right angles as far as headers are exact."""
    axes = value.reshape(2, 3)
    length = np.linalg.norm(axes, axis=1, keepdims=True)
    if np.abs(length - 1).max() > INEXACT or abs(axes[0] @ axes[1]) > INEXACT:
        raise ValueError(f"ImageOrientationPatient: {value.tolist()}")
    return axes / length


def _positive(spacing: tuple[float, float]) -> tuple[float, float]:
    if not all(np.isfinite(s) and s > 0 for s in spacing):
        raise ValueError(f"PixelSpacing: {spacing}")
    return spacing


def _whole(header: Dataset, name: str) -> int:
    value = header.get(name)
    return 0 if value in (None, "") else int(value)


def _padding(header: Dataset) -> tuple[int, int] | None:
    """Stored values from PixelPaddingValue to PixelPaddingRangeLimit.

    Writers give the value as signed or unsigned, whatever the pixels are: -2000 is
    63536. So it is taken modulo 2^16 into the range of the pixels.
    """
    first = header.get("PixelPaddingValue")
    if first is None:
        return None
    last = header.get("PixelPaddingRangeLimit")
    ends = [int(first), int(first if last is None else last)]
    whole = 2 ** int(header.BitsAllocated)
    ends = [v % whole for v in ends]
    if int(header.PixelRepresentation):
        ends = [v - whole if v >= whole // 2 else v for v in ends]
    return min(ends), max(ends)


def _one_line(e: Exception) -> str:
    return " ".join(str(e).split())[:200] or type(e).__name__
