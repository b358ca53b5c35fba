"""Decodes compressed frames; run as a program, it answers decoding requests.

The program has its own process, because decoders in C crash on broken files, hold
Python's lock during their work, and write to any stream. It imports nothing of this
package, so it starts fast. `l3spot.ct.decoder_processes` sends the requests.

Not pydicom's decoders, which call the same libraries: with them, a process for lossless
JPEG has 71 MB instead of 33, and its start takes 0.36 s of CPU time instead of 0.07.
"""

import os
import pickle
import resource
import struct
import sys
from collections.abc import Callable
from typing import NamedTuple

MEMORY_LIMIT_BYTES = 4 << 30  # Of a decoder process.
RLE = "1.2.840.10008.1.2.5"
_JPEG = "1.2.840.10008.1.2.4."


class CompressedFrame(NamedTuple):
    """A compressed frame, and its description in the header.

    transfer_syntax: TransferSyntaxUID. data: the compressed bytes.
    rows, columns, bits_allocated: shape and BitsAllocated.
    """

    transfer_syntax: str
    data: bytes
    rows: int
    columns: int
    bits_allocated: int


class DecodedFrame(NamedTuple):
    """The pixels of a frame.

    data: little endian, 1, 2 or 4 bytes per pixel. precision: number of bits in use.
    """

    data: bytes
    precision: int


def decode(frame: CompressedFrame) -> DecodedFrame:
    """Decodes a frame; the header is needed to interpret the sign of the values.

    Raises:
      ValueError: the frame is broken or has another shape, or its transfer syntax is
        not supported. The decoders also raise other exceptions.
    """
    if frame.transfer_syntax not in DECODERS:
        raise ValueError(f"no decoder for the transfer syntax {frame.transfer_syntax}")
    data, precision = DECODERS[frame.transfer_syntax](frame)
    size = frame.rows * frame.columns * _bytes_per_pixel(precision)
    if len(data) < size:
        raise ValueError(f"{len(data)} bytes of pixels; there should be {size}")
    return DecodedFrame(data[:size], precision)


def _decode_rle(frame: CompressedFrame) -> DecodedFrame:
    """Decodes run-length encoding: one segment per byte of a pixel, highest first."""
    from PIL import Image

    size = frame.bits_allocated // 8
    count, *starts = struct.unpack_from("<16I", frame.data)
    if count != size:
        raise ValueError(f"{count} segments for {size} bytes a pixel")
    area = frame.rows * frame.columns
    pixels = bytearray(area * size)
    ends = [*starts[1:size], len(frame.data)]
    for i, (start, end) in enumerate(zip(starts[:size], ends, strict=True)):
        # In one line, because runs of some writers go on from row to row.
        line = Image.frombytes("L", (area, 1), frame.data[start:end], "packbits", "L")
        pixels[size - 1 - i :: size] = line.tobytes()
    return DecodedFrame(bytes(pixels), frame.bits_allocated)


def _decode_jpeg_ls(frame: CompressedFrame) -> DecodedFrame:
    import jpeg_ls

    precision = _check_jpeg(frame)
    # Without an end-of-image marker, the decoder reads beyond a stream cut short.
    data, _ = jpeg_ls.decode_pixel_data(frame.data + b"\xff\xd9")
    return DecodedFrame(bytes(data), precision)


def _decode_jpeg2000(frame: CompressedFrame) -> DecodedFrame:
    import openjpeg.utils

    precision = _check_jpeg2000(frame)
    data = openjpeg.utils.decode_pixel_data(frame.data, version=2)
    return DecodedFrame(bytes(data), precision)


def _decode_jpeg(frame: CompressedFrame) -> DecodedFrame:
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
    monochrome = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(monochrome))
    syntax = gdcm.TransferSyntax.GetTSType(frame.transfer_syntax)
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    bits = 8 * _bytes_per_pixel(precision)
    image.SetPixelFormat(gdcm.PixelFormat(1, bits, precision, precision - 1, 0))
    data = image.GetBuffer().encode("utf-8", "surrogateescape")
    return DecodedFrame(data, precision)


def _check_jpeg(frame: CompressedFrame) -> int:
    """Checks the first start-of-frame marker; returns the precision in bits."""
    at, data = 2, frame.data
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker, length = struct.unpack_from(">BH", data, at + 1)
        if marker in (0xC0, 0xC1, 0xC2, 0xC3, 0xF7):
            bits, rows, columns, channels = struct.unpack_from(">BHHB", data, at + 4)
            return _check_shape(frame, rows, columns, channels, bits)
        at += 2 + length
    raise ValueError("no start of a JPEG image")


def _check_jpeg2000(frame: CompressedFrame) -> int:
    """Checks the SIZ marker; returns the precision in bits."""
    at = frame.data.find(b"\xff\x4f\xff\x51")  # A JP2 header may precede it.
    if at < 0 or at + 43 > len(frame.data):
        raise ValueError("no start of a JPEG 2000 image")
    right, low, left, top = struct.unpack_from(">4I", frame.data, at + 8)
    channels, bits = struct.unpack_from(">HB", frame.data, at + 40)
    return _check_shape(frame, low - top, right - left, channels, (bits & 127) + 1)


def _check_shape(
    frame: CompressedFrame, rows: int, columns: int, channels: int, bits: int
) -> int:
    """Checks the shape before the decoder allocates memory for it; returns the bits."""
    if (rows, columns, channels) != (frame.rows, frame.columns, 1):
        raise ValueError(
            f"it holds {rows} x {columns} x {channels} pixels, not "
            f"{frame.rows} x {frame.columns}"
        )
    if not 1 <= bits <= 16:
        raise ValueError(f"{bits} bits a pixel")
    return bits


def _bytes_per_pixel(precision: int) -> int:
    return 1 if precision <= 8 else 2 if precision <= 16 else 4


DECODERS: dict[str, Callable[[CompressedFrame], DecodedFrame]] = {
    RLE: _decode_rle,
    **{_JPEG + end: _decode_jpeg for end in ("50", "51", "57", "70")},
    **{_JPEG + end: _decode_jpeg_ls for end in ("80", "81")},
    **{_JPEG + end: _decode_jpeg2000 for end in ("90", "91", "201", "202", "203")},
}


def serve() -> None:
    """Reads pickled CompressedFrame tuples from stdin until it ends.

    Writes a pickled DecodedFrame tuple for each to stdout, or an error message.
    """
    answers = os.fdopen(os.dup(1), "wb")
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.dup2(devnull, 2)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    while True:
        try:
            frame = CompressedFrame(*pickle.load(sys.stdin.buffer))
        except EOFError:
            return
        try:
            answer: object = tuple(decode(frame))
        # On a broken file, a decoder may raise any exception.
        except Exception as e:
            answer = " ".join(str(e).split())[:200] or type(e).__name__
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    serve()
