"""Reads the slices of DICOM files.

From a header only UIDs, the PatientID, and the placement and scaling of images are
kept: no name and no birth date.
"""

import lzma
import re
import shutil
import struct
import zipfile
import zlib
from functools import partial
from typing import IO, Any

import numpy as np
from pydicom import uid

from l3spot.ct import header, pixels
from l3spot.ct.extracted_files import ExtractedFile
from l3spot.ct.header import Header
from l3spot.ct.pixels import PixelLayout
from l3spot.ct.slices import (
    HEADER_TOLERANCE,
    MAX_HEADER_NUMBER,
    ScanFile,
    SeriesKey,
    Slice,
    StoredValues,
)
from mtl.host.errors import DataError

# Old archives omit the preamble: such a file begins with an element of group 2 or 8.
NO_PREAMBLE = re.compile(rb"[\x02\x08]\x00.\x00(?:[A-Z]{2}|..\x00\x00)", re.DOTALL)
MAX_FIELD_MM = 5000.0  # No scanner has a wider field of view.
ABSENT = "ABSENT"
# Accepted values of RescaleType; US means "not specified".
RESCALE_TYPES = (ABSENT, "HU", "US")
# The errors that reading a file or a member of a zip file raises. RuntimeError covers
# NotImplementedError (an unknown feature of a zip file) and a missing password.
READ_ERRORS = (
    *(OSError, ValueError, EOFError, RuntimeError, struct.error),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)


class NotCtImageError(DataError):
    """A whole DICOM file holds no CT image: it is a report, or another modality."""


def is_dicom(file: ScanFile) -> bool:
    """Returns whether a file begins as DICOM files do, with or without the preamble.

    Raises:
      DataError: the file cannot be read.
    """
    try:
        with file.open() as stream:
            start = stream.read(132)
            return start[128:] == header.MAGIC or bool(NO_PREAMBLE.match(start))
    except READ_ERRORS as e:
        raise DataError(f"{file} cannot be read ({_one_line(e)})") from e


def read(file: ScanFile) -> list[Slice]:
    """Reads the slices of a DICOM file, one for each of its frames.

    Raises:
      DataError: the file is broken, is no CT image, or does not place its image in the
        patient.
    """
    try:
        with file.open() as stream:
            head = header.read(stream)
    except READ_ERRORS as e:
        raise DataError(
            f"{file} is no DICOM file, or is cut short or broken ({_one_line(e)})"
        ) from e
    modality = head.elements.get("Modality", "")
    if modality != "CT":
        raise NotCtImageError(
            f"{file} is no CT image: its modality is {modality or 'not given'}"
        )
    if head.length == header.NO_PIXELS:
        raise DataError(f"{file} holds no pixels")
    try:
        count = _frame_count(head)
        source, head = _frame_source(file, head) if count > 1 else (file, head)
        return [_make_slice(file, source, head, frame) for frame in range(count)]
    except (KeyError, TypeError, ValueError, OverflowError) as e:
        raise DataError(f"{file} lacks a usable {_one_line(e)}") from e


def _frame_count(head: Header) -> int:
    """Returns the number of frames; checks that each of several has a position."""
    count = int(head.elements.get("NumberOfFrames", 1))
    positions = len(head.elements.get("PerFrameFunctionalGroupsSequence", ()))
    if count != max(positions, 1):
        raise ValueError(f"NumberOfFrames: {count}, but positions for {positions}")
    return count


def _frame_source(
    file: ScanFile, head: Header
) -> tuple[ScanFile | ExtractedFile, Header]:
    """Returns the file to read frames from; a compressed file is extracted once."""
    if (
        file.zip_file is None
        and head.transfer_syntax != uid.DeflatedExplicitVRLittleEndian
    ):
        return file, head
    extracted = ExtractedFile(str(file), partial(_extract, file, head.transfer_syntax))
    if head.transfer_syntax == uid.DeflatedExplicitVRLittleEndian:
        head = head._replace(transfer_syntax=uid.ExplicitVRLittleEndian)
    return extracted, head


def _extract(file: ScanFile, transfer_syntax: str, to: IO[bytes]) -> None:
    with file.open() as stream:
        shutil.copyfileobj(header.inflated(stream, transfer_syntax), to)


def _make_slice(
    file: ScanFile, source: ScanFile | ExtractedFile, head: Header, frame: int
) -> Slice:
    elements = head.elements
    position = _find(elements, frame, "PlanePosition", "ImagePositionPatient")
    axes = _find(elements, frame, "PlaneOrientation", "ImageOrientationPatient")
    spacing = _find(elements, frame, "PixelMeasures", "PixelSpacing")
    slope, intercept, unit = (
        _find(elements, frame, "PixelValueTransformation", name, ABSENT)
        for name in ("RescaleSlope", "RescaleIntercept", "RescaleType")
    )
    if unit.upper() not in RESCALE_TYPES:
        raise ValueError(f"RescaleType: its values are {unit}, no HU")
    down, along = _parse_numbers(spacing, 2, "PixelSpacing")
    layout = pixels.parse_layout(elements)
    to_hu = (
        _parse_number(slope, 1.0, "RescaleSlope"),
        _parse_number(intercept, 0.0, "RescaleIntercept"),
        _padding_range(elements, layout),
    )
    if not to_hu[0]:
        raise ValueError(f"RescaleSlope: {slope}")
    return Slice(
        file=file,
        series=SeriesKey(
            elements.get("PatientID", ""),
            elements.get("StudyInstanceUID", ""),
            elements.get("SeriesInstanceUID", ""),
        ),
        sop_instance_uid=elements.get("SOPInstanceUID", ""),
        acquisition_number=int(elements.get("AcquisitionNumber", 0)),
        instance_number=int(elements.get("InstanceNumber", 0)),
        origin_mm=np.array(_parse_numbers(position, 3, "ImagePositionPatient")),
        axes=_unit_axes(np.array(_parse_numbers(axes, 6, "ImageOrientationPatient"))),
        spacing_mm=_checked_spacing((along, down), layout.shape),
        shape=layout.shape,
        decode=partial(_decode, file, source, head, layout, frame, to_hu),
        has_rescale=ABSENT not in (slope, intercept),
    )


def _decode(
    file: ScanFile,
    source: ScanFile | ExtractedFile,
    head: Header,
    layout: PixelLayout,
    frame: int,
    to_hu: tuple[float, float, tuple[int, int] | None],
) -> StoredValues:
    """Decodes a frame; `to_hu` has the slope, intercept and padding of StoredValues."""
    try:
        with source.open() as stream:
            return StoredValues(pixels.read(stream, head, layout, frame), *to_hu)
    except READ_ERRORS as e:
        raise DataError(
            f"{file}: its pixels cannot be decoded ({_one_line(e)}); the file is cut "
            "short or broken, or compressed in an unknown way"
        ) from e


def _find(
    elements: dict[str, Any], frame: int, group: str, name: str, default: str = ""
) -> str:
    """Returns an element of the frame, else of all frames, else of the header."""
    per_frame = elements.get("PerFrameFunctionalGroupsSequence", ())
    shared = elements.get("SharedFunctionalGroupsSequence", ())
    for groups in (*per_frame[frame : frame + 1], *shared[:1]):
        for item in groups.get(f"{group}Sequence", ()):
            if name in item:
                return item[name]
    return elements.get(name) or default or elements[name]


def _parse_number(text: str, default: float, name: str) -> float:
    return default if text == ABSENT else _parse_numbers(text, 1, name)[0]


def _parse_numbers(text: str, size: int, name: str) -> list[float]:
    numbers = [float(part) for part in text.split("\\")]
    valid = all(abs(v) < MAX_HEADER_NUMBER for v in numbers)  # NaN is not.
    if len(numbers) != size or not valid:
        raise ValueError(f"{name}: {text}")
    return numbers


def _unit_axes(value: np.ndarray) -> np.ndarray:
    """Returns unit vectors [2, 3]; checks lengths and right angle within rounding."""
    axes = value.reshape(2, 3)
    length = np.sqrt((axes * axes).sum(axis=1, keepdims=True))
    if (
        np.abs(length - 1).max() > HEADER_TOLERANCE
        or abs(axes[0] @ axes[1]) > HEADER_TOLERANCE
    ):
        raise ValueError(f"ImageOrientationPatient: {value.tolist()}")
    return axes / length


def _checked_spacing(
    spacing_mm: tuple[float, float], shape: tuple[int, int]
) -> tuple[float, float]:
    field_mm = max(s * n for s, n in zip(spacing_mm, reversed(shape), strict=True))
    if not min(spacing_mm) > 0 or field_mm > MAX_FIELD_MM:
        raise ValueError(f"PixelSpacing: {spacing_mm}")
    return spacing_mm


def _padding_range(
    elements: dict[str, Any], layout: PixelLayout
) -> tuple[int, int] | None:
    """Returns the stored values from PixelPaddingValue to PixelPaddingRangeLimit.

    Some writers give an unsigned value for signed pixels, such as 63536 for -2000, or
    the reverse. So the value is reduced modulo 2^16 to the range of the pixels.
    """
    first = elements.get("PixelPaddingValue")
    if first is None:
        return None
    ends = [first, elements.get("PixelPaddingRangeLimit", first)]
    modulus = 1 << min(layout.bits_allocated, 16)
    ends = [v % modulus for v in ends]
    if layout.signed:
        ends = [v - modulus if v >= modulus // 2 else v for v in ends]
    return min(ends), max(ends)


def _one_line(e: Exception) -> str:
    return " ".join(str(e).split())[:200] or type(e).__name__
