"""Reads the elements of a DICOM header that place and scale images, and no others.

A scan has hundreds of headers, and this reader takes a tenth of pydicom's time. A
broken header raises ValueError; there are no warnings and no deep recursion.
"""

import io
import struct
import zlib
from typing import Any, BinaryIO, NamedTuple

MAGIC = b"DICM"  # At byte 128 of a DICOM file.
IMPLICIT, BIG_ENDIAN, DEFLATED = (
    f"1.2.840.10008.1.2{end}" for end in ("", ".2", ".1.99")
)
EXPLICIT = "1.2.840.10008.1.2.1"
UNDEFINED_LENGTH, NO_PIXELS = 0xFFFFFFFF, -1
PIXEL_DATA, META_END = 0x7FE00010, 0x00030000
ITEM, SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
FIRST_READ_BYTES = 1 << 14  # Holds most headers; the rest are read in larger blocks.
MAX_INFLATED_BYTES = 1 << 28  # A deflated file with more bytes is refused.
MAX_SEQUENCE_DEPTH = 16
# Value representations with a length field of four bytes.
LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())

TEXT_ELEMENTS = {
    0x00020010: "TransferSyntaxUID",
    0x00080018: "SOPInstanceUID",
    0x00080060: "Modality",
    0x00100020: "PatientID",
    0x0020000D: "StudyInstanceUID",
    0x0020000E: "SeriesInstanceUID",
    0x00200012: "AcquisitionNumber",
    0x00200013: "InstanceNumber",
    0x00200032: "ImagePositionPatient",
    0x00200037: "ImageOrientationPatient",
    0x00280004: "PhotometricInterpretation",
    0x00280008: "NumberOfFrames",
    0x00280030: "PixelSpacing",
    0x00281052: "RescaleIntercept",
    0x00281053: "RescaleSlope",
    0x00281054: "RescaleType",
}
INTEGER_ELEMENTS = {
    0x00280002: "SamplesPerPixel",
    0x00280010: "Rows",
    0x00280011: "Columns",
    0x00280100: "BitsAllocated",
    0x00280101: "BitsStored",
    0x00280102: "HighBit",
    0x00280103: "PixelRepresentation",
    0x00280120: "PixelPaddingValue",
    0x00280121: "PixelPaddingRangeLimit",
}
SEQUENCES = {
    0x00209113: "PlanePositionSequence",
    0x00209116: "PlaneOrientationSequence",
    0x00289110: "PixelMeasuresSequence",
    0x00289145: "PixelValueTransformationSequence",
    0x52009229: "SharedFunctionalGroupsSequence",
    0x52009230: "PerFrameFunctionalGroupsSequence",
}


class Header(NamedTuple):
    """The header of a DICOM file.

    elements: values by keyword: texts, integers from 0 to 65535, and for sequences
      lists of items. Empty elements are left out.
    transfer_syntax: TransferSyntaxUID.
    start, length: bytes, the place of the PixelData value in the stream that `inflated`
      returns. The length may be UNDEFINED_LENGTH; it is NO_PIXELS without PixelData.
    """

    elements: dict[str, Any]
    transfer_syntax: str
    start: int
    length: int


class _NeedMoreBytesError(Exception):
    """The header continues beyond the bytes that were read."""


class _Encoding(NamedTuple):
    """The byte order of elements, and whether they state their value representation."""

    explicit: bool
    tag_and_length: struct.Struct
    long_length: struct.Struct


ENCODINGS = {
    order: {
        explicit: _Encoding(
            explicit, struct.Struct(order + "HH2sH"), struct.Struct(order + "I")
        )
        for explicit in (True, False)
    }
    for order in "<>"
}


def read(stream: BinaryIO) -> Header:
    """Reads a header, from the start of the file to its pixels.

    Raises:
      ValueError: the file is no DICOM file, is cut short or broken.
    """
    size = FIRST_READ_BYTES
    while True:
        data = stream.read(size)
        try:
            return _parse(data, complete=len(data) < size)
        except (_NeedMoreBytesError, struct.error):
            if len(data) < size:
                raise ValueError("it ends within its header") from None
        stream.seek(0)
        size *= 8


def inflated(stream: BinaryIO, transfer_syntax: str) -> BinaryIO:
    """Returns the stream of a file, inflated if its transfer syntax is deflated.

    Raises:
      ValueError: the file cannot be inflated.
    """
    if transfer_syntax != DEFLATED:
        return stream
    stream.seek(0)
    return io.BytesIO(_inflate(stream.read()))


def _parse(data: bytes, complete: bool) -> Header:
    """Parses a header; complete: whether the data end with the file."""
    if data[128:132] != MAGIC:
        raise ValueError("it lacks the 128 bytes and DICM that DICOM files begin with")
    meta, start, _ = _read_elements(data, 132, ENCODINGS["<"][True], 0, META_END)
    syntax = meta.get("TransferSyntaxUID", "")
    if syntax == DEFLATED:
        data = _inflate(data)
    order = ">" if syntax == BIG_ENDIAN else "<"
    explicit = syntax != IMPLICIT
    if not syntax:
        explicit = data[start + 4 : start + 6].isupper()
        syntax = EXPLICIT if explicit else IMPLICIT
    encoding = ENCODINGS[order][explicit]
    end = len(data) if complete else 0
    elements, at, length = _read_elements(data, start, encoding, 0, PIXEL_DATA, end)
    if length == NO_PIXELS and at != len(data):
        raise _NeedMoreBytesError
    return Header(elements, syntax, at, length)


def _inflate(data: bytes) -> bytes:
    """Inflates all bytes after the meta group; a file cut short is inflated in part."""
    _, start, _ = _read_elements(data, 132, ENCODINGS["<"][True], 0, META_END)
    try:
        inflator = zlib.decompressobj(-zlib.MAX_WBITS)
        rest = inflator.decompress(data[start:], MAX_INFLATED_BYTES)
    except zlib.error as e:
        raise ValueError(f"it cannot be inflated: {e}") from e
    if inflator.unconsumed_tail:
        raise ValueError(f"it inflates to more than {MAX_INFLATED_BYTES} bytes")
    return data[:start] + rest


def _read_elements(
    data: bytes, at: int, encoding: _Encoding, depth: int, stop: int = 0, end: int = 0
) -> tuple[dict[str, Any], int, int]:
    """Reads elements up to the tag `stop`, to the byte `end`, or to an item's end.

    Returns:
      The elements; the byte where they end: the start of the value if `stop` was
      PIXEL_DATA, else of the element; and the length of that value, or NO_PIXELS.
    """
    if depth > MAX_SEQUENCE_DEPTH:
        raise ValueError("its sequences are nested too deeply")
    elements: dict[str, Any] = {}
    explicit, tag_and_length, long_length = encoding
    while not end or at < end:
        group, element, vr, short = tag_and_length.unpack_from(data, at)
        tag = group << 16 | element
        if stop == META_END and tag >= stop:
            return elements, at, NO_PIXELS
        if explicit and group != 0xFFFE and vr in LONG_VRS:
            (length,) = long_length.unpack_from(data, at + 8)
            value = at + 12
        elif explicit and group != 0xFFFE and vr.isalpha() and vr.isupper():
            length, value = short, at + 8
        else:  # Implicit; some explicit files have implicit parts.
            (length,) = long_length.unpack_from(data, at + 4)
            value = at + 8
        if tag == stop == PIXEL_DATA:
            return elements, value, length
        if group == 0xFFFE and depth:
            return elements, value, length
        if tag in SEQUENCES or length == UNDEFINED_LENGTH:
            inner = ENCODINGS["<"][False] if vr == b"UN" else encoding
            skip = tag == PIXEL_DATA
            items, at = _read_items(data, value, length, inner, depth, skip)
            if tag in SEQUENCES:
                elements[SEQUENCES[tag]] = items
            continue
        at = value + length
        if tag in TEXT_ELEMENTS or tag in INTEGER_ELEMENTS:
            if at > len(data):
                raise _NeedMoreBytesError
            _add_element(elements, tag, data[value:at], tag_and_length.format[0])
    return elements, at, NO_PIXELS


def _read_items(
    data: bytes, at: int, length: int, encoding: _Encoding, depth: int, skip: bool
) -> tuple[list[dict[str, Any]], int]:
    """Returns the items of a sequence, and the byte where it ends.

    skip: whether the items are fragments of pixels, which are skipped.
    """
    items = []
    end = at + length if length != UNDEFINED_LENGTH else None
    while end is None or at < end:
        group, element, _, _ = encoding.tag_and_length.unpack_from(data, at)
        (size,) = encoding.long_length.unpack_from(data, at + 4)
        tag, at = group << 16 | element, at + 8
        if tag == SEQUENCE_END and end is None:
            break
        if tag != ITEM:
            raise ValueError("a sequence that holds something else than items")
        if skip:
            at += size
        elif size == UNDEFINED_LENGTH:
            elements, at, _ = _read_elements(data, at, encoding, depth + 1)
            items.append(elements)
        elif size:
            elements, _, _ = _read_elements(
                data, at, encoding, depth + 1, end=at + size
            )
            items.append(elements)
            at += size
        else:
            items.append({})
    return items, at


def _add_element(elements: dict[str, Any], tag: int, value: bytes, order: str) -> None:
    if tag in INTEGER_ELEMENTS:
        if len(value) >= 2:
            (number,) = struct.unpack_from(order + "H", value)
            elements[INTEGER_ELEMENTS[tag]] = number
        return
    text = value.decode("latin-1").strip(" \0")
    if text:
        elements[TEXT_ELEMENTS[tag]] = text
