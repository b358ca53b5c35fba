"""Decoders of compressed frames; run as a program, answers requests for them.

The program is alone in its process, for decoders in C crash on broken files, hold
Python's lock while they work, and write where they like. It needs nothing of this
package, so it starts fast. See `l3spot.ct.decoder_processes` for who asks.
"""

import os
import pickle
import resource
import struct
import sys
from collections.abc import Callable
from typing import NamedTuple

MEMORY = 4 << 30  # Bytes that a process may ask for.
RLE = "1.2.840.10008.1.2.5"
_JPEG = "1.2.840.10008.1.2.4."


class Frame(NamedTuple):
    """A compressed frame, and what the header says of it.

    syntax: TransferSyntaxUID. data: the frame.
    rows, columns, allocated: shape and BitsAllocated.
    """

    syntax: str
    data: bytes
    rows: int
    columns: int
    allocated: int


class Decoded(NamedTuple):
    """data: little endian, 1, 2 or 4 bytes a pixel; of their bits `precision` count."""

    data: bytes
    precision: int


def decode(frame: Frame) -> Decoded:
    """The stored values of a frame, as far as they are known without a header.

    Raises:
      ValueError: it is broken or of another shape, or its syntax is not known. The
        decoders also raise other kinds.
    """
    if frame.syntax not in DECODERS:
        raise ValueError(f"no decoder for the transfer syntax {frame.syntax}")
    data, precision = DECODERS[frame.syntax](frame)
    size = frame.rows * frame.columns * _bytes(precision)
    if len(data) < size:
        raise ValueError(f"{len(data)} bytes of pixels where {size} are due")
    return Decoded(data[:size], precision)


def _rle(frame: Frame) -> Decoded:
    """Run-length encoding: a segment for each byte of a pixel, the highest first."""
    size = frame.allocated // 8
    count, *starts = struct.unpack_from("<16I", frame.data)
    if count != size:
        raise ValueError(f"{count} segments for {size} bytes a pixel")
    area = frame.rows * frame.columns
    whole = bytearray(area * size)
    ends = [*starts[1:size], len(frame.data)]
    for i, (start, end) in enumerate(zip(starts[:size], ends, strict=True)):
        whole[size - 1 - i :: size] = _unpack(frame.data[start:end], area)
    return Decoded(bytes(whole), frame.allocated)


def _unpack(data: bytes, area: int) -> bytes:
    """A segment; more than the area may be there, for rows are padded."""
    parts, at, size = [], 0, 0
    while size < area:
        if at + 1 >= len(data):
            raise ValueError("a segment that is too short")
        n = data[at]
        if n < 128:
            part = data[at + 1 : at + 2 + n]
            at += n + 2
        elif n > 128:
            part = data[at + 1 : at + 2] * (257 - n)
            at += 2
        else:
            part = b""
            at += 1
        parts.append(part)
        size += len(part)
    return b"".join(parts)[:area]


def _jpeg_ls(frame: Frame) -> Decoded:
    import jpeg_ls

    precision = _check_jpeg(frame)
    # Without an end of image the decoder reads on behind a stream that is cut short.
    data, _ = jpeg_ls.decode_pixel_data(frame.data + b"\xff\xd9")
    return Decoded(bytes(data), precision)


def _jpeg2000(frame: Frame) -> Decoded:
    import openjpeg.utils

    precision = _check_jpeg2000(frame)
    data = openjpeg.utils.decode_pixel_data(frame.data, version=2)
    return Decoded(bytes(data), precision)


def _jpeg(frame: Frame) -> Decoded:
    import gdcm

    precision = _check_jpeg(frame)
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame.data)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((frame.columns, frame.rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    syntax = gdcm.TransferSyntax.GetTSType(frame.syntax)
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    bits = 8 * _bytes(precision)
    image.SetPixelFormat(gdcm.PixelFormat(1, bits, precision, precision - 1, 0))
    return Decoded(image.GetBuffer().encode("utf-8", "surrogateescape"), precision)


def _check_jpeg(frame: Frame) -> int:
    """The precision in bits, from the first marker that starts a frame."""
    at, data = 2, frame.data
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker, length = struct.unpack_from(">BH", data, at + 1)
        if marker in (0xC0, 0xC1, 0xC2, 0xC3, 0xF7):
            bits, rows, columns, parts = struct.unpack_from(">BHHB", data, at + 4)
            return _check(frame, rows, columns, parts, bits)
        at += 2 + length
    raise ValueError("no start of a JPEG image")


def _check_jpeg2000(frame: Frame) -> int:
    """The precision in bits, from the marker SIZ."""
    at = frame.data.find(b"\xff\x4f\xff\x51")  # Some put a JP2 header before it.
    if at < 0 or at + 43 > len(frame.data):
        raise ValueError("no start of a JPEG 2000 image")
    right, low, left, top = struct.unpack_from(">4I", frame.data, at + 8)
    parts, bits = struct.unpack_from(">HB", frame.data, at + 40)
    return _check(frame, low - top, right - left, parts, (bits & 127) + 1)


def _check(frame: Frame, rows: int, columns: int, parts: int, bits: int) -> int:
    """Before memory is taken for what a broken file asks."""
    if (rows, columns, parts) != (frame.rows, frame.columns, 1):
        raise ValueError(
            f"it holds {rows} x {columns} x {parts} pixels, not "
            f"{frame.rows} x {frame.columns}"
        )
    if not 1 <= bits <= 16:
        raise ValueError(f"{bits} bits a pixel")
    return bits


def _bytes(precision: int) -> int:
    return 1 if precision <= 8 else 2 if precision <= 16 else 4


DECODERS: dict[str, Callable[[Frame], Decoded]] = {
    RLE: _rle,
    **{_JPEG + end: _jpeg for end in ("50", "51", "57", "70")},
    **{_JPEG + end: _jpeg_ls for end in ("80", "81")},
    **{_JPEG + end: _jpeg2000 for end in ("90", "91", "201", "202", "203")},
}


def serve() -> None:
    """Answers pickled tuples of `Frame` with those of `Decoded`, or with a text."""
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    while True:
        try:
            frame = Frame(*pickle.load(sys.stdin.buffer))
        except EOFError:
            return
        try:
            answer: object = tuple(decode(frame))
        # Decoders raise what they like, and a broken file can lead them anywhere.
        except Exception as e:
            answer = " ".join(str(e).split())[:200] or type(e).__name__
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    serve()
