"""The same series in each transfer syntax gives the same HU and the same projection."""

import subprocess
import sys
import zipfile

import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from l3spot.ct import decoder_processes, dicom, scan, slices
from l3spot.ct.decoders import Frame
from l3spot.projections import mip
from mtl.host.errors import DataError
from tests.conftest import ROOT
from tests.l3spot import compressed
from tests.l3spot import series as write
from tests.l3spot.compressed import ENCODERS, SYNTAXES
from tests.l3spot.test_projection import MM, STEP, images, trunk


def project(folder):
    volume = scan.choose(scan.read(folder), folder)
    return volume, mip.project(volume, row=STEP, column=MM)


def fill(folder, syntax, datasets):
    folder.mkdir()
    for i, ds in enumerate(datasets):
        (folder / str(i)).write_bytes(compressed.content(ds, syntax))
    return folder


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean") / "scan"
    return project(fill(folder, "explicit", images(trunk())))


def assert_same(folder, clean):
    (volume, found), (due_volume, due) = project(folder), clean
    for plane, other in zip(volume.planes, due_volume.planes, strict=True):
        np.testing.assert_array_equal(plane.hu(), other.hu())
    for name in due._fields:
        np.testing.assert_array_equal(getattr(found, name), getattr(due, name))


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_syntax_gives_the_same(tmp_path, syntax, clean):
    """Signed values of 16 bits, with negative ones."""
    assert_same(fill(tmp_path / "scan", syntax, images(trunk())), clean)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("signed", [True, False])
def test_twelve_bits(tmp_path, syntax, signed, clean):
    """As most scanners have them: HU from -1024, or above an intercept of -1024."""
    made = images(trunk())
    for ds in made:
        values = np.frombuffer(ds.PixelData, np.int16) + (0 if signed else 1024)
        ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 11, int(signed)
        ds.RescaleIntercept = 0 if signed else -1024
        if syntax != "JPEG 2000":  # Which knows signs; others know bits.
            values &= 0xFFF
        ds.PixelData = values.astype(np.int16).tobytes()
    assert_same(fill(tmp_path / "scan", syntax, made), clean)


@pytest.mark.parametrize("syntax", ENCODERS)
def test_frames_in_one_file(tmp_path, syntax):
    ds = write.enhanced([1.0 + i for i in range(write.PLANES)])
    fill(tmp_path / "scan", syntax, [ds])
    (volume,) = scan.read(tmp_path / "scan").volumes
    slopes = np.arange(1.0, write.PLANES + 1).reshape(-1, 1, 1)
    due = slopes * write.values() - 1000
    np.testing.assert_array_equal([p.hu() for p in volume.planes], due)


def test_a_frame_in_several_fragments(tmp_path, clean):
    """With an empty table of offsets, as for a single frame, and with a full one."""
    made = images(trunk())
    for i, ds in enumerate(made):
        compressed.compress(ds, "JPEG 2000")
        frame = pydicom.encaps.get_frame(ds.PixelData, 0, number_of_frames=1)
        options = dict(fragments_per_frame=3, has_bot=bool(i % 2))
        ds.PixelData = pydicom.encaps.encapsulate([frame], **options)
    assert_same(write.write(tmp_path / "scan", made), clean)


def test_several_frames_of_several_fragments_need_the_table(tmp_path):
    ds = write.enhanced(2.0, shared=True)
    frames = [compressed.jpeg_ls_lossless(ds, image) for image in compressed.frames(ds)]
    compressed.compress(ds, "JPEG-LS")
    for table in (True, False):
        options = dict(fragments_per_frame=2, has_bot=table)
        ds.PixelData = pydicom.encaps.encapsulate(frames, **options)
        write.write(tmp_path / str(table), [ds])
    (volume,) = scan.read(tmp_path / "True").volumes
    due = 2.0 * write.values() - 1000
    np.testing.assert_array_equal([p.hu() for p in volume.planes], due)
    (volume,) = scan.read(tmp_path / "False").volumes
    with pytest.raises(DataError, match="40 fragments for 20 frames, and no table"):
        volume.planes[0].hu()


def test_runs_as_pydicom_writes_them(tmp_path, clean):
    made = images(trunk())
    for ds in made:
        ds.compress(RLELossless)
    assert_same(write.write(tmp_path / "scan", made), clean)


def test_a_zip_of_compressed_files(tmp_path, clean):
    with zipfile.ZipFile(tmp_path / "scan.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for i, ds in enumerate(images(trunk())):
            archive.writestr(str(i), compressed.content(ds, "JPEG lossless"))
    assert_same(tmp_path / "scan.zip", clean)


# What is refused


def hu(tmp_path, ds):
    write.write(tmp_path, [ds])
    return dicom.read(slices.File(tmp_path / "IM0000"))[0].hu()


def test_a_syntax_that_is_not_known(tmp_path):
    ds = compressed.compress(write.series(planes=1)[0], "JPEG 2000")
    ds.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
    with pytest.raises(DataError, match=r"IM0000.*no decoder for the transfer syntax"):
        hu(tmp_path, ds)


@pytest.mark.parametrize("syntax", ["JPEG 2000", "JPEG-LS", "JPEG lossless"])
def test_an_image_of_another_size_is_refused_before_memory_is_taken(tmp_path, syntax):
    ds = compressed.compress(write.series(planes=1)[0], syntax)
    ds.Rows += 1
    with pytest.raises(DataError, match="it holds 6 x 8 x 1 pixels, not 7 x 8"):
        hu(tmp_path, ds)


def test_fragments_without_compression(tmp_path):
    ds = compressed.compress(write.series(planes=1)[0], "RLE")
    data = write.content(ds).replace(b"1.2.840.10008.1.2.5\0", b"1.2.840.10008.1.2.1\0")
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(DataError, match="in fragments, but not compressed"):
        dicom.read(slices.File(tmp_path / "a"))[0].hu()


def test_a_decoder_that_hangs_or_dies_is_an_error_and_the_next_one_works(monkeypatch):
    ds = write.series(planes=1)[0]
    frame = compressed.rle(ds, compressed.frames(ds)[0])
    ask = Frame("1.2.840.10008.1.2.5", frame, write.ROWS, write.COLUMNS, 16)
    with monkeypatch.context() as patch:
        patch.setattr(decoder_processes, "PATIENCE", 0.0)
        decoder_processes.close()
        with pytest.raises(ValueError, match="crashed on it, or took too long"):
            decoder_processes.decode(ask)
    assert decoder_processes.decode(ask).data == ds.PixelData


def test_a_forked_process_has_decoders_of_its_own():
    """Else both would read the same pipe. Forked alone, without JAX or threads."""
    program = """
import os
from l3spot.ct import decoder_processes
from l3spot.ct.decoders import Frame
import struct
def ask(byte):
    data = struct.pack("<16I", 1, 64, *[0] * 14) + bytes([256 - 99, byte])
    return decoder_processes.decode(Frame("1.2.840.10008.1.2.5", data, 10, 10, 8)).data
assert ask(1) == b"\\1" * 100
child = os.fork()
for _ in range(200):
    byte = 2 if child else 3
    assert ask(byte) == bytes([byte]) * 100
if child:
    assert os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)
