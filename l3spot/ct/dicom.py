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
from typing import IO

import numpy as np
from pydicom import uid

from l3spot.ct import header, header_values, pixels
from l3spot.ct.extracted_files import ExtractedFile
from l3spot.ct.header import Header
from l3spot.ct.header_values import ABSENT
from l3spot.ct.pixels import PixelLayout
from l3spot.ct.slices import ScanFile, SeriesKey, Slice, StoredValues
from mtl.host.errors import DataError

# Old archives omit the preamble: such a file begins with an element of group 2 or 8.
NO_PREAMBLE = re.compile(rb"[\x02\x08]\x00.\x00(?:[A-Z]{2}|..\x00\x00)", re.DOTALL)
CT_CLASSES = frozenset(
    [
        *(uid.CTImageStorage, uid.EnhancedCTImageStorage),
        uid.LegacyConvertedEnhancedCTImageStorage,
    ]
)
# Values of RescaleType that mean HU, or "not specified" (US). Some programs write the
# words, also misspelt.
HU_TYPES = re.compile(rf"{ABSENT}|HU|US|houn\w*( units?)?", re.IGNORECASE)
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
    except header.TransferSyntaxError as e:
        raise DataError(
            f"{file} has the transfer syntax {_one_line(e)}, which is not in the "
            "standard; export it again, uncompressed"
        ) from e
    except READ_ERRORS as e:
        raise DataError(
            f"{file} is no DICOM file, or is cut short or broken ({_one_line(e)})"
        ) from e
    _check_is_ct_image(file, head)
    if head.length == header.NO_PIXELS:
        raise DataError(f"{file} holds no pixels")
    try:
        count = _frame_count(head)
        source, head = _frame_source(file, head) if count > 1 else (file, head)
        return [_make_slice(file, source, head, frame) for frame in range(count)]
    except (KeyError, TypeError, ValueError, OverflowError) as e:
        raise DataError(f"{file} lacks a usable {_one_line(e)}") from e


def study_uid(file: ScanFile) -> str:
    """Returns the StudyInstanceUID of a file; "" if it has none or cannot be read."""
    try:
        with file.open() as stream:
            return header.read(stream).elements.get("StudyInstanceUID", "")
    except (*READ_ERRORS, DataError):
        return ""


def _check_is_ct_image(file: ScanFile, head: Header) -> None:
    """Refuses reports, other modalities, and pictures such as a dose report.

    Some programs store slices as secondary captures. These have a position.

    Raises:
      NotCtImageError: the file is no CT image.
    """
    elements = head.elements
    modality = elements.get("Modality", "")
    if modality != "CT":
        raise NotCtImageError(
            f"{file} is no CT image: its modality is {modality or 'not given'}"
        )
    kind = elements.get("SOPClassUID", "")
    placed = "ImagePositionPatient" in elements or kind in CT_CLASSES
    if kind and not placed:
        name, *_ = uid.UID_dictionary.get(kind, (f"of the class {kind}",))
        raise NotCtImageError(f"{file} is no CT slice: it is {name}")
    colours = elements.get("PhotometricInterpretation", "")
    if elements.get("SamplesPerPixel", 1) != 1:
        raise NotCtImageError(f"{file} is no CT slice: {colours} is no grey image")


def _frame_count(head: Header) -> int:
    """Returns the number of frames; checks that each of several has a position."""
    text = head.elements.get("NumberOfFrames", "1")
    count = header_values.integer(text)
    if count is None:
        raise ValueError(f"NumberOfFrames: {text} is not a whole number")
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
    find = partial(header_values.find, elements, frame)
    position = find("PlanePosition", "ImagePositionPatient")
    axes = find("PlaneOrientation", "ImageOrientationPatient")
    spacing = find("PixelMeasures", "PixelSpacing")
    slope, intercept, unit = (
        find("PixelValueTransformation", name, ABSENT)
        for name in ("RescaleSlope", "RescaleIntercept", "RescaleType")
    )
    if not HU_TYPES.fullmatch(unit):
        raise ValueError(f"RescaleType: its values are {unit}, no HU")
    numbers = header_values.parse_numbers
    down, along = numbers(spacing, 2, "PixelSpacing")
    layout = pixels.parse_layout(elements)
    to_hu = (
        header_values.parse_number(slope, 1.0, "RescaleSlope"),
        header_values.parse_number(intercept, 0.0, "RescaleIntercept"),
        header_values.padding_range(elements, layout),
    )
    if not to_hu[0]:
        raise ValueError(f"RescaleSlope: {slope}")
    directions = np.array(numbers(axes, 6, "ImageOrientationPatient"))
    return Slice(
        file=file,
        series=SeriesKey(
            elements.get("PatientID", ""),
            elements.get("StudyInstanceUID", ""),
            elements.get("SeriesInstanceUID", ""),
        ),
        sop_instance_uid=elements.get("SOPInstanceUID", ""),
        acquisition_number=header_values.integer(elements.get("AcquisitionNumber", "0"))
        or 0,
        instance_number=header_values.integer(elements.get("InstanceNumber", "0")) or 0,
        origin_mm=np.array(numbers(position, 3, "ImagePositionPatient")),
        axes=header_values.unit_axes(directions),
        spacing_mm=header_values.checked_spacing((along, down), layout.shape),
        shape=layout.shape,
        decode=partial(_decode, file, source, head, layout, frame, to_hu),
        has_rescale=ABSENT not in (slope, intercept),
        frame_of_reference_uid=elements.get("FrameOfReferenceUID", ""),
        thickness_mm=header_values.length_mm(
            find("PixelMeasures", "SliceThickness", ABSENT)
        ),
        is_localizer="LOCALIZER" in elements.get("ImageType", "").upper(),
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


def _one_line(e: Exception) -> str:
    return " ".join(str(e).split())[:200] or type(e).__name__
