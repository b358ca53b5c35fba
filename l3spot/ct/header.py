"""The few elements of a DICOM file that place and scale its images, and no others.

pydicom reads everything; a scan has hundreds of headers, and this takes a tenth of the
time. It reads what is broken to a ValueError, and neither warns nor recurses far.
"""

import io
import struct
import zlib
from typing import Any, BinaryIO, NamedTuple

MAGIC = b"DICM"  # At byte 128 of a DICOM file.
IMPLICIT, BIG, DEFLATED = (f"1.2.840.10008.1.2{end}" for end in ("", ".2", ".1.99"))
EXPLICIT = "1.2.840.10008.1.2.1"
UNDEFINED, NONE = 0xFFFFFFFF, -1
PIXELS, META_END = 0x7FE00010, 0x00030000
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
FIRST = 1 << 14  # Bytes that hold most headers; more are read where they do not.
INFLATED = 1 << 28  # Bytes: a deflated file that has more is refused.
DEEP = 16  # Sequences within sequences.
# The forms of an element with a length of four bytes.
LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())

TEXT = {
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
WHOLE = {
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
    """What was found.

    elements: by keyword: text, whole numbers from 0 to 65535, or, of a sequence, its
      items; without those that are empty.
    syntax: TransferSyntaxUID.
    start, length: where the value of PixelData is in the bytes that `dataset` gives;
      the length may be UNDEFINED, and is NONE where there are no pixels.
    """

    elements: dict[str, Any]
    syntax: str
    start: int
    length: int


class _MoreError(Exception):
    """What is to be read goes on beyond what has been read of the file."""


class _Form(NamedTuple):
    explicit: bool
    head: struct.Struct
    long: struct.Struct


FORMS = {
    order: {
        explicit: _Form(
            explicit, struct.Struct(order + "HH2sH"), struct.Struct(order + "I")
        )
        for explicit in (True, False)
    }
    for order in "<>"
}


def read(stream: BinaryIO) -> Header:
    """Reads from the start of a file to its pixels.

    Raises:
      ValueError: it is no DICOM file, is cut short or broken.
    """
    size = FIRST
    while True:
        data = stream.read(size)
        try:
            return _parse(data, whole=len(data) < size)
        except (_MoreError, struct.error):
            if len(data) < size:
                raise ValueError("it ends within its header") from None
        stream.seek(0)
        size *= 8


def dataset(stream: BinaryIO, syntax: str) -> BinaryIO:
    """The bytes of a file, inflated where they are deflated.

    Raises:
      ValueError: they cannot be inflated.
    """
    if syntax != DEFLATED:
        return stream
    stream.seek(0)
    return io.BytesIO(_inflate(stream.read()))


def _parse(data: bytes, whole: bool) -> Header:
    if data[128:132] != MAGIC:
        raise ValueError("it lacks the 128 bytes and DICM that DICOM files begin with")
    meta, start, _ = _elements(data, 132, FORMS["<"][True], 0, META_END)
    syntax = meta.get("TransferSyntaxUID", "")
    if syntax == DEFLATED:
        data = _inflate(data)
    order = ">" if syntax == BIG else "<"
    explicit = syntax != IMPLICIT
    if not syntax:
        explicit = data[start + 4 : start + 6].isupper()
        syntax = EXPLICIT if explicit else IMPLICIT
    form = FORMS[order][explicit]
    end = len(data) if whole else 0
    elements, at, length = _elements(data, start, form, 0, PIXELS, end)
    if length == NONE and at != len(data):
        raise _MoreError
    return Header(elements, syntax, at, length)


def _inflate(data: bytes) -> bytes:
    """The same with all after the meta group inflated, as far as it goes."""
    _, start, _ = _elements(data, 132, FORMS["<"][True], 0, META_END)
    try:
        inflator = zlib.decompressobj(-zlib.MAX_WBITS)
        rest = inflator.decompress(data[start:], INFLATED)
    except zlib.error as e:
        raise ValueError(f"it cannot be inflated: {e}") from e
    if inflator.unconsumed_tail:
        raise ValueError(f"it inflates to more than {INFLATED} bytes")
    return data[:start] + rest


def _elements(
    data: bytes, at: int, form: _Form, depth: int, stop: int = 0, end: int = 0
) -> tuple[dict[str, Any], int, int]:
    """The elements up to a tag, to an end, or to where an item says that it ends.

    Returns:
      The elements; where they end: the start of the value if that tag was PIXELS, else
      of the element; and the length of that value, or NONE.
    """
    if depth > DEEP:
        raise ValueError("its sequences are nested too deeply")
    found: dict[str, Any] = {}
    explicit, head, long = form
    while not end or at < end:
        group, element, vr, short = head.unpack_from(data, at)
        tag = group << 16 | element
        if stop == META_END and tag >= stop:
            return found, at, NONE
        if explicit and group != 0xFFFE and vr in LONG:
            (length,) = long.unpack_from(data, at + 8)
            value = at + 12
        elif explicit and group != 0xFFFE and vr.isalpha() and vr.isupper():
            length, value = short, at + 8
        else:  # Implicit; some files are so in part.
            (length,) = long.unpack_from(data, at + 4)
            value = at + 8
        if tag == stop == PIXELS:
            return found, value, length
        if group == 0xFFFE and depth:
            return found, value, length
        if tag in SEQUENCES or length == UNDEFINED:
            within = FORMS["<"][False] if vr == b"UN" else form
            raw = tag == PIXELS
            items, at = _items(data, value, length, within, depth, raw)
            if tag in SEQUENCES:
                found[SEQUENCES[tag]] = items
            continue
        at = value + length
        if tag in TEXT or tag in WHOLE:
            if at > len(data):
                raise _MoreError
            _keep(found, tag, data[value:at], head.format[0])
    return found, at, NONE


def _items(
    data: bytes, at: int, length: int, form: _Form, depth: int, raw: bool
) -> tuple[list[dict[str, Any]], int]:
    """The items of a sequence, and where it ends. raw: they are bytes to be skipped."""
    items = []
    end = at + length if length != UNDEFINED else None
    while end is None or at < end:
        group, element, _, _ = form.head.unpack_from(data, at)
        (size,) = form.long.unpack_from(data, at + 4)
        tag, at = group << 16 | element, at + 8
        if tag == SEQUENCE_END and end is None:
            break
        if tag != ITEM:
            raise ValueError("a sequence that holds something else than items")
        if raw:
            at += size
        elif size == UNDEFINED:
            found, at, _ = _elements(data, at, form, depth + 1)
            items.append(found)
        elif size:
            found, _, _ = _elements(data, at, form, depth + 1, end=at + size)
            items.append(found)
            at += size
        else:
            items.append({})
    return items, at


def _keep(found: dict[str, Any], tag: int, value: bytes, order: str) -> None:
    if tag in WHOLE:
        if len(value) >= 2:
            (found[WHOLE[tag]],) = struct.unpack_from(order + "H", value)
        return
    text = value.decode("latin-1").strip(" \0")
    if text:
        found[TEXT[tag]] = text
