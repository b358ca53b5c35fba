"""The stored values of one frame of a DICOM file."""

import struct
from typing import BinaryIO, NamedTuple

import numpy as np

from l3spot.ct import decoder_processes, header
from l3spot.ct.decoders import Frame
from l3spot.ct.header import ITEM, UNDEFINED, Header

NATIVE = frozenset([header.IMPLICIT, header.BIG, header.DEFLATED, header.EXPLICIT])
MOST = 1 << 24  # Pixels of a plane: 4096 x 4096.
ITEM_BYTES = struct.pack("<HH", ITEM >> 16, ITEM & 0xFFFF)


class Layout(NamedTuple):
    """How a frame is stored.

    shape: rows, columns.
    allocated, stored, high: bits that a pixel takes, those that count, and the number
      of the highest of these.
    signed: whether they are two's complement.
    """

    shape: tuple[int, int]
    allocated: int
    stored: int
    high: int
    signed: bool


def layout(elements: dict) -> Layout:
    """Reads it from a header.

    Raises:
      KeyError, ValueError: an element is missing, or makes no sense.
    """
    shape = elements["Rows"], elements["Columns"]
    allocated = elements["BitsAllocated"]
    stored = elements.get("BitsStored", allocated)
    high = elements.get("HighBit", stored - 1)
    if not 0 < shape[0] * shape[1] <= MOST:
        raise ValueError(f"Rows and Columns: {shape[0]} x {shape[1]}")
    if allocated not in (8, 16, 32) or not 0 < stored <= high + 1 <= allocated:
        bits = f"{stored} bits up to number {high} of {allocated}"
        raise ValueError(f"BitsAllocated, BitsStored, HighBit: {bits}")
    kind = elements.get("PhotometricInterpretation", "MONOCHROME2")
    if elements.get("SamplesPerPixel", 1) != 1 or "MONOCHROME" not in kind:
        raise ValueError(f"PhotometricInterpretation: {kind} is no grey image")
    signed = elements["PixelRepresentation"]
    if signed not in (0, 1):
        raise ValueError(f"PixelRepresentation: {signed}")
    return Layout(shape, allocated, stored, high, bool(signed))


def read(stream: BinaryIO, head: Header, at: Layout, frame: int) -> np.ndarray:
    """The stored values of a frame, integers [rows, columns].

    Args:
      stream: the file.
      head: its header.
      at: how its frames are stored.
      frame: which; from 0.

    Raises:
      ValueError: the file is cut short or broken, or its compression is not known.
    """
    rows, columns = at.shape
    if head.syntax in NATIVE:
        values = _native(header.dataset(stream, head.syntax), head, at, frame)
        return _significant(values, at)
    data = _frame(stream, head, frame, 2 * rows * columns * at.allocated // 8 + 65536)
    found = decoder_processes.decode(
        Frame(head.syntax, data, rows, columns, at.allocated)
    )
    size = len(found.data) // (rows * columns)
    values = np.frombuffer(found.data, f"<u{size}").reshape(at.shape)
    if found.precision == at.allocated:  # As with RLE: bits lie where the header says.
        return _significant(values, at)
    at = at._replace(stored=found.precision, high=found.precision - 1)
    return _significant(values, at)


def _native(stream: BinaryIO, head: Header, at: Layout, frame: int) -> np.ndarray:
    order = ">" if head.syntax == header.BIG else "<"
    size = at.shape[0] * at.shape[1] * at.allocated // 8
    if head.length == UNDEFINED:
        raise ValueError("its pixels are in fragments, but not compressed")
    if (frame + 1) * size > head.length:
        raise ValueError(f"{head.length} bytes of pixels are too few")
    stream.seek(head.start + frame * size)
    data = stream.read(size)
    if len(data) < size:
        raise ValueError("it ends within its pixels")
    return np.frombuffer(data, f"{order}u{at.allocated // 8}").reshape(at.shape)


def _significant(values: np.ndarray, at: Layout) -> np.ndarray:
    """What counts of the bits, as signed or unsigned numbers."""
    size = 8 * values.itemsize
    if at.signed:
        values = values.view(values.dtype.str.replace("u", "i"))
    above, below = size - 1 - at.high, size - at.stored
    if above == below and not at.signed and not values.max() >> at.stored:
        return values  # Nearly always, and four times as fast to find.
    if above:
        values = values << above
    if below:
        values = values >> below
    return values


def _frame(stream: BinaryIO, head: Header, frame: int, most: int) -> bytes:
    """The fragments of a frame, put together; `most` bytes are the most it may have."""
    frames = int(head.elements.get("NumberOfFrames", 1))
    if head.length != UNDEFINED:
        raise ValueError("its pixels are compressed, but not in fragments")
    table, places = _fragments(stream, head.start)
    if frames == 1:
        own = places
    elif len(places) == frames:
        own = places[frame : frame + 1]
    elif len(table) == frames:
        low, high = [*table, UNDEFINED][frame : frame + 2]
        first = places[0][0]
        own = [p for p in places if low <= p[0] - first < high]
    else:
        raise ValueError(
            f"{len(places)} fragments for {frames} frames, and no table of offsets"
        )
    size = sum(length for _, length in own)
    if size > most:
        raise ValueError(f"a frame of {size} bytes is no compressed one")
    data = b""
    for start, length in own:
        stream.seek(start)
        data += stream.read(length)
    if len(data) < size or not size:
        raise ValueError("it ends within its pixels")
    return data


def _fragments(stream: BinaryIO, start: int) -> tuple[list[int], list[tuple[int, int]]]:
    """The table of offsets, [] if empty; where the fragments start, and lengths."""
    found: list[tuple[int, int]] = []
    stream.seek(start)
    at = start
    while True:
        item = stream.read(8)
        if len(item) < 8 or item[:4] != ITEM_BYTES:
            break  # Those that lack the end of the sequence are read as well.
        (length,) = struct.unpack_from("<I", item, 4)
        found.append((at + 8, length))
        at += 8 + length
        stream.seek(at)
    if len(found) < 2:
        raise ValueError("it holds no fragments of pixels")
    (first, size), *rest = found
    stream.seek(first)
    table = stream.read(min(size, 4 * len(rest)))
    return list(struct.unpack(f"<{len(table) // 4}I", table[: len(table) & ~3])), rest
