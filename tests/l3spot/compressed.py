"""Encodes images in the transfer syntaxes of scanners and archives."""

import struct
import tempfile
from pathlib import Path

import gdcm
import jpeg_ls
import numpy as np
import openjpeg.utils
import pydicom
from pydicom import uid
from pydicom.encaps import encapsulate, get_frame

from tests.l3spot import series

MONOCHROME2 = 2  # The code of openjpeg.
MIN_SIDE_PX = 32  # openjpeg halves the rows and columns five times.


def frames(ds):
    """Returns the stored values of an image, unsigned [frames, rows, columns]."""
    shape = int(ds.get("NumberOfFrames", 1)), ds.Rows, ds.Columns
    return np.frombuffer(ds.PixelData, "<u2").reshape(shape)


def jpeg2000(ds, image):
    if min(image.shape) < MIN_SIDE_PX:
        return _gdcm(ds, image, gdcm.TransferSyntax.JPEG2000Lossless)
    kind = np.int16 if ds.PixelRepresentation else np.uint16
    return bytes(
        openjpeg.utils.encode_array(
            np.ascontiguousarray(image).view(kind),
            bits_stored=ds.BitsStored,
            photometric_interpretation=MONOCHROME2,
        )
    )


def jpeg_ls_lossless(ds, image):
    return bytes(
        jpeg_ls.encode_buffer(image.tobytes(), ds.Rows, ds.Columns, 1, ds.BitsStored)
    )


def jpeg_lossless(ds, image):
    """Encodes with process 14, selection value 1."""
    return _gdcm(ds, image, gdcm.TransferSyntax.JPEGLosslessProcess14_1)


def _gdcm(ds, image, syntax):
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "a")
        plain = series.image(image, (0, 0, 0), BitsStored=ds.BitsStored)
        plain.HighBit = ds.BitsStored - 1
        Path(path).write_bytes(series.content(plain))
        reader = gdcm.ImageReader()
        reader.SetFileName(path)
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(path)
        assert writer.Write()
        return get_frame(pydicom.dcmread(path).PixelData, 0, number_of_frames=1)


def rle(ds, image):
    """Encodes literal runs only, in a segment of high bytes and one of low bytes."""
    low, high = image.tobytes()[::2], image.tobytes()[1::2]
    segments = [_literal(high), _literal(low)]
    starts = [64, 64 + len(segments[0])]
    return struct.pack("<16I", 2, *starts, *[0] * 13) + b"".join(segments)


def _literal(data):
    parts = [data[i : i + 128] for i in range(0, len(data), 128)]
    made = b"".join(bytes([len(part) - 1]) + part for part in parts)
    return made + b"\x80" * (len(made) % 2)


ENCODERS = {
    "RLE": (uid.RLELossless, rle),
    "JPEG 2000": (uid.JPEG2000Lossless, jpeg2000),
    "JPEG-LS": (uid.JPEGLSLossless, jpeg_ls_lossless),
    "JPEG lossless": (uid.JPEGLosslessSV1, jpeg_lossless),
}


def compress(ds, name):
    """Compresses an image in place, with one fragment per frame."""
    syntax, encode = ENCODERS[name]
    made = [encode(ds, image) for image in frames(ds)]
    ds.PixelData = encapsulate(made)
    ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = syntax
    return ds


def content(ds, name):
    """Returns the file of an image in one of SYNTAXES; changes the image."""
    if name in ENCODERS:
        return series.content(compress(ds, name))
    if name == "explicit":
        return series.content(ds)
    ds.file_meta.TransferSyntaxUID = OTHERS[name]
    if name == "big endian":
        ds.PixelData = frames(ds).byteswap().tobytes()
    ds["PixelData"].VR = "OW"
    return series.content(ds)


OTHERS = {
    "implicit": uid.ImplicitVRLittleEndian,
    "big endian": uid.ExplicitVRBigEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
}
SYNTAXES = ("explicit", *OTHERS, *ENCODERS)


def write(folder, syntax, datasets):
    """Writes images in one of SYNTAXES to the files of a new folder."""
    folder.mkdir()
    for i, ds in enumerate(datasets):
        (folder / str(i)).write_bytes(content(ds, syntax))
    return folder
