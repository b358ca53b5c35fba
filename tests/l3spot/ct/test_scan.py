"""Reading folders with several patients, links and unreadable files."""

import os

import pytest

from l3spot.ct import scan
from l3spot.projections import dataset_layouts
from mtl.host.errors import DataError
from tests.l3spot import series as write


def chosen(folder, series=""):
    return scan.choose(scan.read(folder), folder, series)


def test_a_scan_of_two_patients_is_refused(tmp_path):
    write.write(tmp_path / "a", write.series())
    other = write.series(PatientID="other", SeriesInstanceUID="1.2.9")
    write.write(tmp_path / "b", other)
    with pytest.raises(DataError, match="2 patients") as e:
        chosen(tmp_path)
    assert "secret" not in str(e.value)
    assert chosen(tmp_path, "1.2.9").slices[0].series.patient_id == "other"


def test_a_file_cut_short_gives_a_warning(tmp_path):
    write.write(tmp_path, write.series())
    path = tmp_path / "IM0000"
    path.write_bytes(path.read_bytes()[:200])
    volume = chosen(tmp_path)
    assert len(volume.slices) == write.SLICES - 1
    assert "1 file cannot be read" in volume.warnings[-1]
    assert "IM0000" in volume.warnings[-1]


def test_a_file_without_a_preamble_gives_a_warning(tmp_path):
    write.write(tmp_path, write.series())
    path = tmp_path / "IM0003"
    path.write_bytes(path.read_bytes()[132:])
    assert "lacks the 128 bytes" in chosen(tmp_path).warnings[-1]


def test_files_of_other_modalities_give_no_warning(tmp_path):
    write.write(tmp_path, write.series())
    report = write.image(write.values()[0], (0, 0, 0), Modality="SR")
    (tmp_path / "report").write_bytes(write.content(report))
    assert chosen(tmp_path).warnings == ()
    assert len(scan.read(tmp_path).unread) == 1


def test_links_are_followed_once(tmp_path):
    images = write.series()
    write.write(tmp_path / "elsewhere", images[:8], "A{:03d}")
    write.write(tmp_path / "scan", images[8:])
    (tmp_path / "scan" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "scan" / "again").symlink_to(tmp_path / "scan")
    volume = chosen(tmp_path / "scan")
    assert (len(volume.slices), volume.warnings) == (write.SLICES, ())


def test_an_unreadable_folder_is_an_error(tmp_path, monkeypatch):
    """The system refuses, as it refuses all but root a folder without permissions."""
    write.write(tmp_path / "shut", write.series())
    whole = os.scandir

    def scandir(path="."):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match="shut cannot be read"):
        scan.read(tmp_path)


def test_a_dicomdir_is_no_scan(tmp_path):
    write.write(tmp_path / "p1", write.series())
    image = write.content(write.image(write.values()[0], (0, 0, 0)))
    (tmp_path / "DICOMDIR").write_bytes(image)
    assert [c.name for c in dataset_layouts.find(tmp_path, "folders")] == ["p1"]
