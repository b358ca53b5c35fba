"""From DICOM files to planes.

Nothing of a header but what is named here is kept: no name, no birth date.
"""

import zipfile
import zlib
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array

from l3spot.planes import INEXACT, File, Plane
from mtl.errors import DataError

MAGIC = b"DICM"  # At byte 128 of a DICOM file.
TAGS = [
    *("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID"),
    *("Modality", "NumberOfFrames"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("Rows", "Columns", "BitsAllocated", "PixelRepresentation"),
    *("RescaleSlope", "RescaleIntercept", "PixelPaddingValue"),
    *("PixelPaddingRangeLimit", "AcquisitionNumber", "InstanceNumber"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]


class Stored(NamedTuple):
    """What stored values mean.

    slope, intercept: HU = slope * stored value + intercept.
    padding: lowest and highest stored value that mean "nothing here"; None: no value.
    """

    slope: float
    intercept: float
    padding: tuple[int, int] | None


def is_dicom(file: File) -> bool:
    """Whether it begins as DICOM files do.

    Raises:
      DataError: it cannot be read.
    """
    with file.open() as stream:
        try:
            return stream.read(132)[128:] == MAGIC
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as e:
            raise DataError(f"{file} cannot be read ({_one_line(e)})") from e


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
    shape = int(header.Rows), int(header.Columns)
    stored = Stored(float(slope), float(shift), _padding(header))
    return Plane(
        file=file,
        series=tuple(
            str(header.get(name, ""))
            for name in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
        ),
        sop=str(header.get("SOPInstanceUID", "")),
        number=(_whole(header, "AcquisitionNumber"), _whole(header, "InstanceNumber")),
        origin=_vector(position, 3, "ImagePositionPatient"),
        axes=_axes(_vector(axes, 6, "ImageOrientationPatient")),
        spacing=_positive((along, down)),
        shape=shape,
        hu=partial(_decode, file, frame, shape, stored),
    )


def _decode(
    file: File, frame: int, shape: tuple[int, int], meaning: Stored
) -> np.ndarray:
    try:
        with file.open() as stream:
            stored = pixel_array(stream, index=frame, raw=True)
    except MemoryError:
        raise
    # Decoders raise what they like, and a broken file can lead them anywhere.
    except Exception as e:
        raise DataError(
            f"{file}: its pixels cannot be decoded ({_one_line(e)}); the file is cut "
            "short or broken, or its compression needs a plug-in of pydicom"
        ) from e
    if stored.shape != shape:
        raise DataError(f"{file} holds {stored.shape} pixels, not {shape}")
    hu = np.float32(meaning.slope) * stored.astype(np.float32)
    hu += np.float32(meaning.intercept)
    if meaning.padding is not None:
        low, high = meaning.padding
        hu[(stored >= low) & (stored <= high)] = np.nan
    return hu


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
