"""Files of many frames that are packed: in a zip file, or deflated."""

import gc
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from l3spot.ct import dicom
from mtl.host.errors import DataError
from tests.l3spot import series as write
from tests.l3spot.test_volumes import HU, only


def counted(monkeypatch):
    """Gets an entry whenever a file is unpacked."""
    made = []
    whole = dicom._unpack
    monkeypatch.setattr(dicom, "_unpack", lambda *a: made.append(1) or whole(*a))
    return made


@pytest.mark.parametrize("kind", ["zip", "deflated", "both", "RLE in zip"])
def test_a_packed_file_of_many_frames_is_unpacked_once(tmp_path, monkeypatch, kind):
    """To seek in it is to unpack it from the start, for each frame."""
    ds = write.enhanced(2.0, shared=True)
    if kind in ("deflated", "both"):
        ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    if kind == "RLE in zip":
        ds.compress(RLELossless)
    if kind == "deflated":
        write.write(tmp_path / "in", [ds])
    else:
        (tmp_path / "in").mkdir()
        path = tmp_path / "in" / "a.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.dcm", write.content(ds))
    unpacked = counted(monkeypatch)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    volume = only(tmp_path / "in")
    assert unpacked == []
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda p: p.hu(), volume.planes))
    np.testing.assert_array_equal(found, HU)
    assert unpacked == [1]
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def zipped(folder):
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("a.dcm", write.content(write.enhanced(2.0, shared=True)))


def test_what_was_unpacked_goes_with_the_planes(tmp_path):
    zipped(tmp_path)
    gc.collect()  # What other tests have left open.
    before = len(os.listdir("/proc/self/fd"))
    volume = only(tmp_path)
    volume.planes[0].hu()
    del volume
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_packed_file_that_cannot_be_unpacked(tmp_path, monkeypatch):
    """For want of room, or since it is damaged."""
    zipped(tmp_path)
    plane = only(tmp_path).planes[0]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"a\.dcm cannot be unpacked .* set TMPDIR"):
        plane.hu()
    monkeypatch.undo()

    def damaged(*_):
        raise zipfile.BadZipFile("Bad CRC-32")

    monkeypatch.setattr(dicom, "_unpack", damaged)
    with pytest.raises(DataError, match=r"a\.dcm: its pixels cannot be decoded \(Bad"):
        only(tmp_path).planes[0].hu()
