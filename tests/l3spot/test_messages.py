"""Messages name what is there, and what to do."""

import gzip
import io
import tarfile
import zipfile

import numpy as np
import pydicom
import pytest
from pydicom.uid import RTDoseStorage, SecondaryCaptureImageStorage, SegmentationStorage

from tests.l3spot import runs
from tests.l3spot import series as write
from tests.l3spot.trunk import images, trunk


def why(tmp_path, *made, name="a"):
    write.write(tmp_path / "scans" / name, made)
    run = runs.predict(tmp_path / "scans", tmp_path / "out")
    assert run.done.returncode == 1
    assert run.rows[name]["status"] == "failed"
    return run.rows[name]["why"]


def test_a_series_of_its_own_for_each_slice_is_named(tmp_path):
    made = images(trunk())
    for i, ds in enumerate(made):
        ds.SeriesInstanceUID = f"1.2.{i + 1}"
    assert "24 series have one slice each" in why(tmp_path, *made)


def test_one_position_for_all_slices_is_named(tmp_path):
    made = images(trunk())
    for ds in made:
        ds.ImagePositionPatient = made[0].ImagePositionPatient
    reason = why(tmp_path, *made)
    assert "all 24 slices have the same position" in reason
    assert "export the series again" in reason


def other_objects():
    """Returns whole DICOM files that lie beside series, and are no CT slices."""
    report = images(trunk())[0]
    del report.ImagePositionPatient, report.ImageOrientationPatient
    report.SOPClassUID = SecondaryCaptureImageStorage
    report.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    colour = images(trunk())[0]
    colour.SamplesPerPixel, colour.PhotometricInterpretation = 3, "RGB"
    colour.PixelData = bytes(3 * 80 * 80 * 2)
    dose, segmentation = images(trunk())[:2]
    dose.Modality, dose.SOPClassUID = "RTDOSE", RTDoseStorage
    segmentation.Modality, segmentation.SOPClassUID = "SEG", SegmentationStorage
    return {
        "dose report": report,
        "colour": colour,
        "RTDOSE": dose,
        "SEG": segmentation,
    }


def test_other_objects_beside_a_series_give_no_warning(tmp_path):
    folder = runs.scan(tmp_path / "scans" / "a")
    for name, ds in other_objects().items():
        (folder / name).write_bytes(write.content(ds))
    run = runs.predict(tmp_path / "scans", tmp_path / "out", answer="not in view")
    row = run.rows["a"]
    assert run.done.returncode == 0
    assert (row["status"], row["warnings"]) == ("not in view", "")
    assert "Secondary Capture Image Storage" in row["left_out"]
    assert "its modality is RTDOSE" in row["left_out"]


def test_files_of_operating_systems_are_no_scans(tmp_path):
    scans = tmp_path / "scans"
    runs.scan(scans / "a")
    for folder in ("__MACOSX", "@eaDir", "$RECYCLE.BIN", ".Trash", "lost+found"):
        for place in (scans, scans / "a"):
            (place / folder).mkdir()
            (place / folder / "._x.dcm").write_bytes(b"junk")
            (place / folder / "y.nii.gz").write_bytes(b"junk")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._a.nii.gz"):
        (scans / name).write_bytes(b"junk")
        (scans / "a" / name).write_bytes(b"junk")
    with zipfile.ZipFile(scans / "b.zip", "w") as archive:
        for i, ds in enumerate(images(trunk())):
            archive.writestr(f"b/{i}", write.content(ds))
        archive.writestr("__MACOSX/b/y.nii", b"junk")
    run = runs.predict(scans, tmp_path / "out")
    assert (run.done.returncode, list(run.rows)) == (0, ["a", "b.zip"])
    for row in run.rows.values():
        assert (row["left_out"], row["warnings"]) == ("", "")


ARCHIVES = ("a.7z", "a.rar", "a.tar", "a.tar.gz", "a.dcm.gz", "a.tgz")
IMAGES = ("a.nrrd", "a.mha", "a.mhd", "a.hdr")


def test_formats_that_are_not_read_are_named(tmp_path):
    scans = tmp_path / "scans"
    runs.scan(scans / "good")
    content = gzip.compress(write.content(images(trunk())[0]))
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.add(scans / "good", "good")
    for name in (*ARCHIVES, *IMAGES):
        whole = stream.getvalue() if "tar" in name else content
        (scans / name).write_bytes(whole)
        (scans / "good" / name).write_bytes(whole)
    with zipfile.ZipFile(scans / "outer.zip", "w") as outer:
        outer.writestr("inner.zip", b"PK")
    run = runs.predict(scans, tmp_path / "out")
    assert run.done.returncode == 1
    assert len(run.rows) == len(ARCHIVES) + len(IMAGES) + 2
    for name in ARCHIVES:
        assert "is an archive that is not read; unpack it" in run.rows[name]["why"]
    for name in IMAGES:
        assert "is an image in the format ." in run.rows[name]["why"]
    assert "inner.zip is an archive" in run.rows["outer.zip"]["why"]
    assert run.rows["good"]["status"] == "found"
    assert "10 files cannot be read" in run.rows["good"]["warnings"]


@pytest.mark.parametrize("uid", ["1.2.840.113619.5.2", "1.3.46.670589.33.1.4.1"])
def test_a_private_transfer_syntax_is_named(tmp_path, uid):
    folder = runs.scan(tmp_path / "scans" / "a")
    for path in folder.iterdir():
        ds = pydicom.dcmread(path)
        ds.file_meta.TransferSyntaxUID = uid
        pydicom.dcmwrite(path, ds, implicit_vr=False, little_endian=True)
    run = runs.predict(tmp_path / "scans", tmp_path / "out")
    assert run.done.returncode == 1
    assert f"transfer syntax {uid}" in run.rows["a"]["why"]


def test_numbers_agree_with_their_nouns(tmp_path):
    runs.scan(tmp_path / "scans" / "a", trunk()[:1])
    run = runs.predict(tmp_path / "scans", tmp_path / "out")
    assert "1 scan failed" in run.done.stderr
    assert "found in 0 of 1 scan," in run.done.stderr
    assert "1 slice is too few" in run.rows["a"]["why"]
    assert "L3 in 1 scan<" in (tmp_path / "out" / "index.html").read_text()
    run = runs.project(tmp_path / "scans", tmp_path / "mips")
    assert "1 of 1 scan was rejected" in run.done.stderr


def test_a_secondary_capture_says_that_text_is_burned_in(tmp_path):
    pytest.importorskip("highdicom", reason="highdicom is not installed")
    runs.scan(tmp_path / "scans" / "Doe", StudyDate="20260101", StudyTime="1200")
    run = runs.predict(tmp_path / "scans", tmp_path / "out", "--dicom")
    assert run.done.returncode == 0
    made = pydicom.dcmread(tmp_path / "out" / "Doe.sc.dcm")
    assert made.BurnedInAnnotation == "YES"
    assert np.all(made.pixel_array.shape)
