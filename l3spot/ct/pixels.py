"""Reads the stored pixel values of a frame of a DICOM file."""

import struct
from typing import BinaryIO, NamedTuple

import numpy as np
from pydicom import uid
from pydicom.encaps import parse_basic_offsets, parse_fragments

from l3spot.ct import decoder_processes, header
from l3spot.ct.decoders import CompressedFrame
from l3spot.ct.header import UNDEFINED_LENGTH, Header

UNCOMPRESSED = frozenset(
    [
        *(uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian),
        *(uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian),
    ]
)
MAX_PIXELS = 1 << 24  # Of a slice: 4096 x 4096.


class PixelLayout(NamedTuple):
    """The layout of a frame's pixels.

    shape: number of rows and columns.
    bits_allocated, bits_stored, high_bit: bits per pixel, bits in use, and the index of
      the highest bit in use.
    signed: whether the values are two's complement.
    """

    shape: tuple[int, int]
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool


def parse_layout(elements: dict) -> PixelLayout:
    """Returns the pixel layout that the elements of a header state.

    Raises:
      KeyError, ValueError: an element is missing or invalid.
    """
    shape = elements["Rows"], elements["Columns"]
    allocated = elements["BitsAllocated"]
    stored = elements.get("BitsStored", allocated)
    high = elements.get("HighBit", stored - 1)
    if not 0 < shape[0] * shape[1] <= MAX_PIXELS:
        raise ValueError(f"Rows and Columns: {shape[0]} x {shape[1]}")
    if allocated not in (8, 16, 32) or not 0 < stored <= high + 1 <= allocated:
        bits = f"{stored} bits up to number {high} of {allocated}"
        raise ValueError(f"BitsAllocated, BitsStored, HighBit: {bits}")
    photometric = elements.get("PhotometricInterpretation", "MONOCHROME2")
    if elements.get("SamplesPerPixel", 1) != 1 or "MONOCHROME" not in photometric:
        raise ValueError(f"PhotometricInterpretation: {photometric} is no grey image")
    signed = elements["PixelRepresentation"]
    if signed not in (0, 1):
        raise ValueError(f"PixelRepresentation: {signed}")
    return PixelLayout(shape, allocated, stored, high, bool(signed))


def read(stream: BinaryIO, head: Header, layout: PixelLayout, frame: int) -> np.ndarray:
    """Returns the stored values of a frame, integers [rows, columns].

    Args:
      stream: the open file.
      head: the file's header.
      layout: the layout of the file's pixels.
      frame: the index of the frame, from 0.

    Raises:
      ValueError: the file is cut short or broken, or its compression is not supported.
    """
    rows, columns = layout.shape
    if head.transfer_syntax in UNCOMPRESSED:
        inflated = header.inflated(stream, head.transfer_syntax)
        return _significant_bits(_read_native(inflated, head, layout, frame), layout)
    max_bytes = 2 * rows * columns * layout.bits_allocated // 8 + 65536
    data = _read_compressed(stream, head, frame, max_bytes)
    decoded = decoder_processes.decode(
        CompressedFrame(
            head.transfer_syntax, data, rows, columns, layout.bits_allocated
        )
    )
    size = len(decoded.data) // (rows * columns)
    values = np.frombuffer(decoded.data, f"<u{size}").reshape(layout.shape)
    precision = decoded.precision
    if precision == layout.bits_allocated:  # As with RLE, the header gives the bits.
        return _significant_bits(values, layout)
    layout = layout._replace(bits_stored=precision, high_bit=precision - 1)
    return _significant_bits(values, layout)


def _read_native(
    stream: BinaryIO, head: Header, layout: PixelLayout, frame: int
) -> np.ndarray:
    """Reads an uncompressed frame, unsigned integers [rows, columns]."""
    order = ">" if head.transfer_syntax == uid.ExplicitVRBigEndian else "<"
    size = layout.shape[0] * layout.shape[1] * layout.bits_allocated // 8
    if head.length == UNDEFINED_LENGTH:
        raise ValueError("its pixels are in fragments, but not compressed")
    if (frame + 1) * size > head.length:
        raise ValueError(f"{head.length} bytes of pixels are too few")
    stream.seek(head.start + frame * size)
    data = stream.read(size)
    if len(data) < size:
        raise ValueError("it ends within its pixels")
    values = np.frombuffer(data, f"{order}u{layout.bits_allocated // 8}")
    return values.reshape(layout.shape)


def _significant_bits(values: np.ndarray, layout: PixelLayout) -> np.ndarray:
    """Extracts the bits in use, as signed or unsigned numbers."""
    size = 8 * values.itemsize
    if layout.signed:
        values = values.view(values.dtype.str.replace("u", "i"))
    above, below = size - 1 - layout.high_bit, size - layout.bits_stored
    unused_are_zero = above == below and not layout.signed
    if unused_are_zero and not values.max() >> layout.bits_stored:
        return values  # The usual case; this test is four times as fast.
    if above:
        values = values << above
    if below:
        values = values >> below
    return values


def _read_compressed(
    stream: BinaryIO, head: Header, frame: int, max_bytes: int
) -> bytes:
    """Joins the fragments of a compressed frame.

    pydicom's `get_frame` is not used: it accepts fragments that are cut short, guesses
    frames without a table of offsets, and has no limit of size.
    """
    data = b""
    for start in _find_fragments(stream, head, frame):
        stream.seek(start + 4)
        (length,) = struct.unpack("<I", stream.read(4))
        size = len(data) + length
        if size > max_bytes:
            raise ValueError(f"a frame of {size} bytes is no compressed one")
        data += stream.read(length)
        if len(data) < size:
            raise ValueError("it ends within its pixels")
    if not data:
        raise ValueError("it holds no fragments of pixels")
    return data


def _find_fragments(stream: BinaryIO, head: Header, frame: int) -> list[int]:
    """Returns the bytes where the fragments of a frame start, with their tags."""
    if head.length != UNDEFINED_LENGTH:
        raise ValueError("its pixels are compressed, but not in fragments")
    stream.seek(head.start)
    starts = parse_fragments(stream)[1][1:]  # The first item is the table of offsets.
    frames = int(float(head.elements.get("NumberOfFrames", "1")))
    if frames == 1:
        return starts
    if frames == len(starts):
        return starts[frame : frame + 1]
    offsets = parse_basic_offsets(stream)
    if not len(offsets) == frames < len(starts):
        raise ValueError(
            f"{len(starts)} fragments for {frames} frames, and no table of offsets"
        )
    low, high = [*offsets, UNDEFINED_LENGTH][frame : frame + 2]
    return [start for start in starts if low <= start - starts[0] < high]
