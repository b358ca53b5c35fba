"""Reads the elements of a DICOM header that place and scale images, and no others.

pydicom splits a header into elements. Their values are read here, because pydicom warns
about unusual ones, and warnings can be silenced only for all threads at once.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO, NamedTuple

from pydicom import uid
from pydicom.charset import default_encoding
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.filereader import data_element_generator, read_sequence

MAGIC = b"DICM"  # At byte 128 of a DICOM file.
UNDEFINED_LENGTH, NO_PIXELS = 0xFFFFFFFF, -1
PIXEL_DATA, META_END = 0x7FE00010, 0x00030000
# SpecificCharacterSet and a retired element, in little and big endian.
CHARACTER_SET_TAGS = {
    b"\x08\0\x05\0": b"\x08\0\x01\0",
    b"\0\x08\0\x05": b"\0\x08\0\x01",
}
ITEM_TAGS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")  # Little and big endian.
CUT_SHORT = "it ends within its header"
FIRST_READ_BYTES = 1 << 14  # Holds most headers; the rest are read in larger blocks.
MAX_SEQUENCE_DEPTH = 16
MAX_INFLATED_BYTES = 1 << 28  # A deflated file with more bytes is refused.

TEXT_ELEMENTS = (
    *("TransferSyntaxUID", "SOPInstanceUID", "Modality", "PatientID"),
    *("StudyInstanceUID", "SeriesInstanceUID", "AcquisitionNumber", "InstanceNumber"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("PhotometricInterpretation", "NumberOfFrames"),
    *("RescaleIntercept", "RescaleSlope", "RescaleType"),
    *("SOPClassUID", "ImageType", "FrameOfReferenceUID", "SliceThickness"),
)
INTEGER_ELEMENTS = (
    *("SamplesPerPixel", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
)
SEQUENCES = (
    *("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"),
    *("PixelValueTransformationSequence", "SharedFunctionalGroupsSequence"),
    "PerFrameFunctionalGroupsSequence",
)
TRANSFER_SYNTAXES = frozenset(map(str, uid.AllTransferSyntaxes))
KEYWORDS = {
    tag_for_keyword(name): name
    for name in (*TEXT_ELEMENTS, *INTEGER_ELEMENTS, *SEQUENCES)
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


class TransferSyntaxError(ValueError):
    """A file has a transfer syntax that is not in the standard."""


class _StrictBytes(io.BytesIO):
    """Bytes for pydicom, which reads 8 where an element begins.

    They may only end there. Character sets have another tag: no text here needs them,
    and pydicom warns about unknown ones, also within sequences.
    """

    ends: tuple[int, ...] = (8,)

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if len(data) < (size or 0) and (data or size not in self.ends):
            raise ValueError(CUT_SHORT)
        if size == 8 and data[:4] in CHARACTER_SET_TAGS:
            return CHARACTER_SET_TAGS[data[:4]] + data[4:]
        return data


class _SequenceBytes(_StrictBytes):
    """Bytes of a sequence; pydicom reads 4 and 2 bytes after an empty last item."""

    ends = (8, 4, 2)


def read(stream: BinaryIO) -> Header:
    """Reads a header, from the start of the file to its pixels.

    Raises:
      TransferSyntaxError: its transfer syntax is not in the standard.
      ValueError: the file is no DICOM file, is cut short or broken.
    """
    size = FIRST_READ_BYTES
    while True:
        data = stream.read(size)
        complete = len(data) < size
        try:
            header = _parse(data)
            if complete or header.length != NO_PIXELS:
                return header
        except TransferSyntaxError:
            raise
        except Exception as e:  # pydicom raises many kinds on a broken header.
            if complete or data[128:132] != MAGIC:
                raise ValueError(str(e) or type(e).__name__) from e
        stream.seek(0)
        size *= 8


def inflated(stream: BinaryIO, transfer_syntax: str) -> BinaryIO:
    """Returns the stream of a file, inflated if its transfer syntax is deflated.

    Raises:
      ValueError: the file cannot be inflated.
    """
    if transfer_syntax != uid.DeflatedExplicitVRLittleEndian:
        return stream
    stream.seek(0)
    data = stream.read()
    return io.BytesIO(_inflate(data, _read_meta(data)[1]))


def _parse(data: bytes) -> Header:
    if data[128:132] != MAGIC:
        raise ValueError("it lacks the 128 bytes and DICM that DICOM files begin with")
    syntax, start = _read_meta(data)
    if syntax and syntax not in TRANSFER_SYNTAXES:
        raise TransferSyntaxError(syntax)
    if syntax == uid.DeflatedExplicitVRLittleEndian:
        data = _inflate(data, start)
    if not syntax:
        explicit = data[start + 4 : start + 6].isupper()
        syntax = uid.ExplicitVRLittleEndian if explicit else uid.ImplicitVRLittleEndian
    values, _, at, length = _read_elements(data, start, syntax, PIXEL_DATA.__eq__)
    return Header(values, syntax, at, length)


def _read_meta(data: bytes) -> tuple[str, int]:
    """Returns the transfer syntax, or "", and the byte where the dataset starts."""
    syntax = uid.ExplicitVRLittleEndian
    values, start, _, _ = _read_elements(data, 132, syntax, META_END.__le__)
    return values.get("TransferSyntaxUID", ""), start


def _inflate(data: bytes, start: int) -> bytes:
    """Inflates all bytes from `start`; a file cut short is inflated in part."""
    try:
        inflator = zlib.decompressobj(-zlib.MAX_WBITS)
        rest = inflator.decompress(data[start:], MAX_INFLATED_BYTES)
    except zlib.error as e:
        raise ValueError(f"it cannot be inflated: {e}") from e
    if inflator.unconsumed_tail:
        raise ValueError(f"it inflates to more than {MAX_INFLATED_BYTES} bytes")
    return data[:start] + rest


def _read_elements(
    data: bytes, start: int, transfer_syntax: str, is_last: Callable[[int], bool]
) -> tuple[dict[str, Any], int, int, int]:
    """Reads elements from the byte `start` to the first tag that `is_last` accepts.

    Returns:
      The values of the elements before the last one; the bytes where the last element
      and its value start; and its length. Without a last element, these are the end of
      the file, twice, and NO_PIXELS.
    """
    stream = _StrictBytes(data)
    syntax = (
        transfer_syntax == uid.ImplicitVRLittleEndian,
        transfer_syntax != uid.ExplicitVRBigEndian,
    )
    tag, at, length = 0, start, NO_PIXELS

    def stop(*element: Any) -> bool:
        nonlocal tag, at, length
        (tag, vr, length), at = element, stream.tell()
        tag = int(tag)  # Tags of pydicom are slow to compare.
        if is_last(tag):
            return True
        if vr and not (vr.isascii() and vr.isalpha() and vr.isupper()):
            raise ValueError(f"an element has the value representation {vr!r}")
        if UNDEFINED_LENGTH != length > len(data) - at:
            raise ValueError(CUT_SHORT)
        return False

    stream.seek(start)
    elements = list(data_element_generator(stream, *syntax, stop))
    end = stream.tell()
    if not is_last(tag):
        at, length = end, NO_PIXELS
        if end != len(data) or not elements:
            raise ValueError(CUT_SHORT)
    return _values(elements, data), end, at, length


def _values(elements: Iterable[Any], data: bytes, depth: int = 0) -> dict[str, Any]:
    """Returns the values by keyword; `data` are the bytes that hold the elements."""
    if depth > MAX_SEQUENCE_DEPTH:
        raise ValueError("its sequences are nested too deeply")
    values: dict[str, Any] = {}
    for element in elements:
        name = KEYWORDS.get(int(element.tag))
        if name in SEQUENCES or not isinstance(element, RawDataElement):
            items = _read_items(element, data, depth)  # Also checks unused sequences.
            if name:
                values[name] = items
            continue
        value = element.value or b""
        if name in INTEGER_ELEMENTS and len(value) >= 2:
            order = "<" if element.is_little_endian else ">"
            (values[name],) = struct.unpack_from(f"{order}H", value)
        elif name in TEXT_ELEMENTS and value.strip(b" \0"):
            values[name] = value.decode("latin-1").strip(" \0")
    return values


def _read_items(sequence: Any, data: bytes, depth: int) -> list[dict[str, Any]]:
    """Returns the items of a sequence; `data` are the bytes that hold it."""
    items = sequence.value
    if isinstance(sequence, RawDataElement):  # Of known length: not yet split.
        data = sequence.value or b""
        items = read_sequence(
            _SequenceBytes(data),
            sequence.is_implicit_VR,
            sequence.is_little_endian,
            len(data),
            default_encoding,
        )
    if not all(_is_whole_item(data, item.seq_item_tell) for item in items):
        raise ValueError("a sequence that holds something else than whole items")
    return [_values(item.values(), data, depth + 1) for item in items]


def _is_whole_item(data: bytes, at: int) -> bool:
    """Returns whether an item starts at a byte, and ends within the data."""
    tag = data[at : at + 4]
    if tag not in ITEM_TAGS:
        return False
    (length,) = struct.unpack_from("<>"[ITEM_TAGS.index(tag)] + "I", data, at + 4)
    return length == UNDEFINED_LENGTH or at + 8 + length <= len(data)
