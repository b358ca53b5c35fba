"""Every transfer syntax gives equal HU and projections."""

import subprocess
import sys
import zipfile

import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from l3spot.ct import decoder_processes, dicom, scan, slices
from l3spot.ct.decoders import CompressedFrame
from mtl.host.errors import DataError
from tests.conftest import ROOT
from tests.l3spot import compressed
from tests.l3spot import series as write
from tests.l3spot.compressed import ENCODERS, SYNTAXES
from tests.l3spot.ct.projected import assert_same
from tests.l3spot.trunk import images, trunk


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_transfer_syntax_gives_equal_projections(tmp_path, syntax, clean):
    """The values are signed 16-bit integers, some of them negative."""
    assert_same(compressed.write(tmp_path / "scan", syntax, images(trunk())), clean)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("signed", [True, False])
def test_twelve_bits_are_read_in_every_transfer_syntax(tmp_path, syntax, signed, clean):
    """Most scanners store signed HU, or unsigned values with an intercept of -1024."""
    made = images(trunk())
    for ds in made:
        values = np.frombuffer(ds.PixelData, np.int16) + (0 if signed else 1024)
        ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 11, int(signed)
        ds.RescaleIntercept = 0 if signed else -1024
        if syntax != "JPEG 2000":  # JPEG 2000 stores signs, the others only bits.
            values &= 0xFFF
        ds.PixelData = values.astype(np.int16).tobytes()
    assert_same(compressed.write(tmp_path / "scan", syntax, made), clean)


@pytest.mark.parametrize("syntax", ENCODERS)
def test_compressed_frames_in_one_file_are_read(tmp_path, syntax):
    ds = write.enhanced([1.0 + i for i in range(write.SLICES)])
    compressed.write(tmp_path / "scan", syntax, [ds])
    (volume,) = scan.read(tmp_path / "scan").volumes
    slopes = np.arange(1.0, write.SLICES + 1).reshape(-1, 1, 1)
    expected = slopes * write.values() - 1000
    np.testing.assert_array_equal([p.hu() for p in volume.slices], expected)


def test_a_frame_in_several_fragments_is_read(tmp_path, clean):
    """The table of offsets may be empty or full for a single frame."""
    made = images(trunk())
    for i, ds in enumerate(made):
        compressed.compress(ds, "JPEG 2000")
        frame = pydicom.encaps.get_frame(ds.PixelData, 0, number_of_frames=1)
        options = dict(fragments_per_frame=3, has_bot=bool(i % 2))
        ds.PixelData = pydicom.encaps.encapsulate([frame], **options)
    assert_same(write.write(tmp_path / "scan", made), clean)


def test_several_frames_of_several_fragments_need_the_offset_table(tmp_path):
    ds = write.enhanced(2.0, shared=True)
    frames = [compressed.jpeg_ls_lossless(ds, image) for image in compressed.frames(ds)]
    compressed.compress(ds, "JPEG-LS")
    for table in (True, False):
        options = dict(fragments_per_frame=2, has_bot=table)
        ds.PixelData = pydicom.encaps.encapsulate(frames, **options)
        write.write(tmp_path / str(table), [ds])
    (volume,) = scan.read(tmp_path / "True").volumes
    expected = 2.0 * write.values() - 1000
    np.testing.assert_array_equal([p.hu() for p in volume.slices], expected)
    (volume,) = scan.read(tmp_path / "False").volumes
    with pytest.raises(DataError, match="40 fragments for 20 frames, and no table"):
        volume.slices[0].hu()


def test_run_lengths_of_pydicom_are_decoded(tmp_path, clean):
    made = images(trunk())
    for ds in made:
        ds.compress(RLELossless)
    assert_same(write.write(tmp_path / "scan", made), clean)


def test_a_zip_file_of_compressed_files_is_read(tmp_path, clean):
    with zipfile.ZipFile(tmp_path / "scan.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for i, ds in enumerate(images(trunk())):
            archive.writestr(str(i), compressed.content(ds, "JPEG lossless"))
    assert_same(tmp_path / "scan.zip", clean)


# Refused files


def hu(tmp_path, ds):
    write.write(tmp_path, [ds])
    return dicom.read(slices.ScanFile(tmp_path / "IM0000"))[0].hu()


def test_an_unknown_transfer_syntax_is_refused(tmp_path):
    ds = compressed.compress(write.series(slices=1)[0], "JPEG 2000")
    ds.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
    with pytest.raises(DataError, match=r"IM0000.*no decoder for the transfer syntax"):
        hu(tmp_path, ds)


@pytest.mark.parametrize("syntax", ["JPEG 2000", "JPEG-LS", "JPEG lossless"])
def test_an_image_of_another_size_is_refused_before_memory_is_allocated(
    tmp_path, syntax
):
    ds = compressed.compress(write.series(slices=1)[0], syntax)
    ds.Rows += 1
    with pytest.raises(DataError, match="it holds 6 x 8 x 1 pixels, not 7 x 8"):
        hu(tmp_path, ds)


SEQUENCE_END = b"\xfe\xff\xdd\xe0\0\0\0\0"


@pytest.mark.parametrize("syntax", ENCODERS)
def test_a_frame_cut_short_is_refused_and_a_missing_end_is_not(tmp_path, syntax):
    """Decoders accept some frames that are cut short, and give wrong pixels."""
    (ds,) = write.series(slices=1)
    data = compressed.content(ds, syntax)
    assert data.endswith(SEQUENCE_END)
    for name, size in (("whole", 8), ("cut", 9), ("cut more", 60)):
        (tmp_path / name).write_bytes(data[:-size])
    read = {p.name: dicom.read(slices.ScanFile(p))[0] for p in tmp_path.iterdir()}
    np.testing.assert_array_equal(read["whole"].hu(), 2.0 * write.values(1)[0] - 1000)
    for name in ("cut", "cut more"):
        with pytest.raises(DataError, match=r"cut.*it ends within its pixels"):
            read[name].hu()


def test_fragments_without_compression_are_refused(tmp_path):
    ds = compressed.compress(write.series(slices=1)[0], "RLE")
    data = write.content(ds).replace(b"1.2.840.10008.1.2.5\0", b"1.2.840.10008.1.2.1\0")
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(DataError, match="in fragments, but not compressed"):
        dicom.read(slices.ScanFile(tmp_path / "a"))[0].hu()


def test_a_decoder_that_hangs_is_an_error_and_the_next_one_works(monkeypatch):
    ds = write.series(slices=1)[0]
    frame = compressed.rle(ds, compressed.frames(ds)[0])
    ask = CompressedFrame("1.2.840.10008.1.2.5", frame, write.ROWS, write.COLUMNS, 16)
    with monkeypatch.context() as patch:
        patch.setattr(decoder_processes, "TIMEOUT_S", 0.0)
        decoder_processes.close()
        with pytest.raises(ValueError, match="crashed on it, or took too long"):
            decoder_processes.decode(ask)
    assert decoder_processes.decode(ask).data == ds.PixelData


def test_a_forked_process_has_its_own_decoders():
    """With shared decoders, both processes would read the same pipe."""
    program = """
import os
from l3spot.ct import decoder_processes
from l3spot.ct.decoders import CompressedFrame
import struct
def ask(byte):
    data = struct.pack("<16I", 1, 64, *[0] * 14) + bytes([256 - 99, byte])
    frame = CompressedFrame("1.2.840.10008.1.2.5", data, 10, 10, 8)
    return decoder_processes.decode(frame).data
assert ask(1) == b"\\1" * 100
child = os.fork()
for _ in range(200):
    byte = 2 if child else 3
    assert ask(byte) == bytes([byte]) * 100
if child:
    assert os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=600)
