"""From DICOM files to planes.

Nothing of a header is kept but what places and scales images, and UIDs: no name, no
birth date.
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

from l3spot.ct import header, pixels
from l3spot.ct.header import Header
from l3spot.ct.pixels import Layout
from l3spot.ct.slices import INEXACT, LARGEST, File, Plane, Values
from l3spot.ct.unpacked import Unpacked
from mtl.host.errors import DataError

# Old archives leave out the preamble: what begins with an element of group 2 or 8.
BARE = re.compile(rb"[\x02\x08]\x00.\x00(?:[A-Z]{2}|..\x00\x00)", re.DOTALL)
WIDEST = 5000.0  # mm: a field that is wider is none of a scanner.
ABSENT = "ABSENT"
UNITS = (ABSENT, "HU", "US")  # Of CT values; the last is "not specified".
# What reading a file raises, or a member of a zip file. NotImplementedError, of what
# zipfile cannot read, is a RuntimeError, and so is that of a password.
BROKEN = (
    *(OSError, ValueError, EOFError, RuntimeError, struct.error),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)


class OtherError(DataError):
    """A whole DICOM file that holds no CT image: a report, another modality."""


def is_dicom(file: File) -> bool:
    """Whether it begins as DICOM files do, with or without the preamble.

    Raises:
      DataError: it cannot be read.
    """
    try:
        with file.open() as stream:
            start = stream.read(132)
            return start[128:] == header.MAGIC or bool(BARE.match(start))
    except BROKEN as e:
        raise DataError(f"{file} cannot be read ({_one_line(e)})") from e


def read(file: File) -> list[Plane]:
    """The planes of a DICOM file: one, or as many as it has frames.

    Raises:
      DataError: it is broken, no CT image, or lacks what places it in the patient.
    """
    try:
        with file.open() as stream:
            head = header.read(stream)
    except BROKEN as e:
        raise DataError(
            f"{file} is no DICOM file, or is cut short or broken ({_one_line(e)})"
        ) from e
    modality = head.elements.get("Modality", "")
    if modality != "CT":
        raise OtherError(
            f"{file} is no CT image: its modality is {modality or 'not given'}"
        )
    if head.length == header.NONE:
        raise DataError(f"{file} holds no pixels")
    try:
        count = _frames(head)
        source, head = _source(file, head) if count > 1 else (file, head)
        return [_plane(file, source, head, frame) for frame in range(count)]
    except (KeyError, TypeError, ValueError, OverflowError) as e:
        raise DataError(f"{file} lacks a usable {_one_line(e)}") from e


def _frames(head: Header) -> int:
    """How many there are; of several, each must have a position of its own."""
    count = int(head.elements.get("NumberOfFrames", 1))
    placed = len(head.elements.get("PerFrameFunctionalGroupsSequence", ()))
    if count != max(placed, 1):
        raise ValueError(
            f"NumberOfFrames: {count}, but places in the patient for {placed}"
        )
    return count


def _source(file: File, head: Header) -> tuple[File | Unpacked, Header]:
    """Where many frames are read, and how; what is compressed is unpacked once."""
    if file.archive is None and head.syntax != header.DEFLATED:
        return file, head
    whole = Unpacked(str(file), partial(_unpack, file, head.syntax))
    plain = header.EXPLICIT if head.syntax == header.DEFLATED else head.syntax
    return whole, head._replace(syntax=plain)


def _unpack(file: File, syntax: str, to: IO[bytes]) -> None:
    with file.open() as stream:
        shutil.copyfileobj(header.dataset(stream, syntax), to)


def _plane(file: File, source: File | Unpacked, head: Header, frame: int) -> Plane:
    elements = head.elements
    position = _find(elements, frame, "PlanePosition", "ImagePositionPatient")
    axes = _find(elements, frame, "PlaneOrientation", "ImageOrientationPatient")
    spacing = _find(elements, frame, "PixelMeasures", "PixelSpacing")
    slope, shift, unit = (
        _find(elements, frame, "PixelValueTransformation", name, ABSENT)
        for name in ("RescaleSlope", "RescaleIntercept", "RescaleType")
    )
    if unit.upper() not in UNITS:
        raise ValueError(f"RescaleType: its values are {unit}, no HU")
    down, along = _numbers(spacing, 2, "PixelSpacing")
    layout = pixels.layout(elements)
    (factor,) = [1.0] if slope == ABSENT else _numbers(slope, 1, "RescaleSlope")
    (term,) = [0.0] if shift == ABSENT else _numbers(shift, 1, "RescaleIntercept")
    if not factor:
        raise ValueError(f"RescaleSlope: {slope}")
    meaning = factor, term, _padding(elements, layout)
    return Plane(
        file=file,
        series=tuple(
            elements.get(name, "")
            for name in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
        ),
        sop=elements.get("SOPInstanceUID", ""),
        number=tuple(  # type: ignore[arg-type]
            _whole(elements, name) for name in ("AcquisitionNumber", "InstanceNumber")
        ),
        origin=np.array(_numbers(position, 3, "ImagePositionPatient")),
        axes=_axes(np.array(_numbers(axes, 6, "ImageOrientationPatient"))),
        spacing=_spacing((along, down), layout.shape),
        shape=layout.shape,
        values=partial(_decode, file, source, head, layout, frame, meaning),
        scaled=ABSENT not in (slope, shift),
    )


def _decode(
    file: File,
    source: File | Unpacked,
    head: Header,
    layout: Layout,
    frame: int,
    meaning: tuple[float, float, tuple[int, int] | None],
) -> Values:
    """meaning: slope, intercept and padding of `Values`."""
    try:
        with source.open() as stream:
            return Values(pixels.read(stream, head, layout, frame), *meaning)
    except BROKEN as e:
        raise DataError(
            f"{file}: its pixels cannot be decoded ({_one_line(e)}); the file is cut "
            "short or broken, or compressed in a way that is not known"
        ) from e


def _find(
    elements: dict[str, Any], frame: int, group: str, name: str, default: str = ""
) -> str:
    """An element: the frame's own, the one all frames share, or the header's."""
    own = elements.get("PerFrameFunctionalGroupsSequence", ())
    shared = elements.get("SharedFunctionalGroupsSequence", ())
    for place in (*own[frame : frame + 1], *shared[:1]):
        for item in place.get(f"{group}Sequence", ()):
            if name in item:
                return item[name]
    return elements.get(name) or default or elements[name]


def _numbers(text: str, size: int, name: str) -> list[float]:
    found = [float(part) for part in text.split("\\")]
    if len(found) != size or not all(abs(v) < LARGEST for v in found):
        raise ValueError(f"{name}: {text}")
    return found


def _axes(value: np.ndarray) -> np.ndarray:
    """Unit vectors [2, 3], at right angles as far as headers are exact."""
    axes = value.reshape(2, 3)
    length = np.sqrt((axes * axes).sum(axis=1, keepdims=True))
    if np.abs(length - 1).max() > INEXACT or abs(axes[0] @ axes[1]) > INEXACT:
        raise ValueError(f"ImageOrientationPatient: {value.tolist()}")
    return axes / length


def _spacing(
    spacing: tuple[float, float], shape: tuple[int, int]
) -> tuple[float, float]:
    wide = max(s * n for s, n in zip(spacing, reversed(shape), strict=True))
    if not min(spacing) > 0 or wide > WIDEST:
        raise ValueError(f"PixelSpacing: {spacing}")
    return spacing


def _whole(elements: dict[str, Any], name: str) -> int:
    return int(elements.get(name, 0))


def _padding(elements: dict[str, Any], layout: Layout) -> tuple[int, int] | None:
    """Stored values from PixelPaddingValue to PixelPaddingRangeLimit.

    Writers give the value as signed or unsigned, whatever the pixels are: -2000 is
    63536. So it is taken modulo 2^16 into the range of the pixels.
    """
    first = elements.get("PixelPaddingValue")
    if first is None:
        return None
    ends = [first, elements.get("PixelPaddingRangeLimit", first)]
    whole = 1 << min(layout.allocated, 16)
    ends = [v % whole for v in ends]
    if layout.signed:
        ends = [v - whole if v >= whole // 2 else v for v in ends]
    return min(ends), max(ends)


def _one_line(e: Exception) -> str:
    return " ".join(str(e).split())[:200] or type(e).__name__
