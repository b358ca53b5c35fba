"""Reading files of many frames that are in a zip file, or deflated."""

import gc
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from l3spot.ct import dicom
from mtl.host.errors import DataError
from tests import open_files
from tests.l3spot import series as write
from tests.l3spot.assembled import HU, only_volume


def counted(monkeypatch):
    """Returns a list that gets an entry at each extraction of a file."""
    made = []
    whole = dicom._extract
    monkeypatch.setattr(dicom, "_extract", lambda *a: made.append(1) or whole(*a))
    return made


@pytest.mark.parametrize("kind", ["zip", "deflated", "both", "RLE in zip"])
def test_a_compressed_file_of_many_frames_is_extracted_once(
    tmp_path, monkeypatch, kind
):
    """Without extraction, each frame would decompress the file from its start."""
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
    extractions = counted(monkeypatch)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    volume = only_volume(tmp_path / "in")
    assert extractions == []
    with ThreadPoolExecutor(4) as pool:
        result = list(pool.map(lambda p: p.hu(), volume.slices))
    np.testing.assert_array_equal(result, HU)
    assert extractions == [1]
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def zipped(folder):
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("a.dcm", write.content(write.enhanced(2.0, shared=True)))


def test_extracted_files_are_closed_with_the_slices(tmp_path, monkeypatch):
    zipped(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    volume = only_volume(tmp_path)
    volume.slices[0].hu()
    assert open_files.inside(tmp_path)
    del volume
    gc.collect()
    assert not open_files.inside(tmp_path)


def test_a_file_that_cannot_be_extracted_is_an_error(tmp_path, monkeypatch):
    """The folder has too little space, or the file is damaged."""
    zipped(tmp_path)
    ct_slice = only_volume(tmp_path).slices[0]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"a\.dcm cannot be unpacked .* set TMPDIR"):
        ct_slice.hu()
    monkeypatch.undo()

    def damaged(*_):
        raise zipfile.BadZipFile("Bad CRC-32")

    monkeypatch.setattr(dicom, "_extract", damaged)
    with pytest.raises(DataError, match=r"a\.dcm: its pixels cannot be decoded \(Bad"):
        only_volume(tmp_path).slices[0].hu()
