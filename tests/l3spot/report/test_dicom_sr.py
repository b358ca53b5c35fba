"""The DICOM files of a result, read as an archive would."""

import io
import json
import shutil
import sys
import zipfile

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.sr.codedict import codes

from l3spot import predict
from l3spot.ct import scan, source_file
from l3spot.localize import model
from l3spot.localize.model import Calibration
from l3spot.predict import PAPER, PredictOptions
from mtl.host.errors import ConfigError, DataError
from tests.l3spot import series as write
from tests.l3spot.trunk import images, trunk

PATIENT = {
    "SpecificCharacterSet": "ISO_IR 100",
    "PatientName": "Müller", "PatientID": "secret", "PatientBirthDate": "19400229",
    "PatientSex": "F", "IssuerOfPatientID": "here", "StudyDate": "20260102",
    "StudyTime": "030405", "StudyID": "7", "AccessionNumber": "A1",
    "ReferringPhysicianName": "Doc^Tor", "StudyDescription": "CT",
}  # fmt: skip
DICOM_OPTIONS = PredictOptions(copy_slice=True, dicom=True, method=PAPER)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Writes models, one with high and one with low confidence."""
    folder = tmp_path_factory.mktemp("models")
    for name, bias in (("sure", 5.0), ("unsure", -5.0)):
        calibration = Calibration((0.0,) * model.FEATURE_COUNT, bias)
        model.save(folder / name, model.load()._replace(calibration=calibration))
    return folder


def zipped(path, datasets):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for i, ds in enumerate(datasets):
            archive.writestr(f"deep/IM{i:04d}", write.content(ds))


@pytest.fixture(scope="module")
def results(checkpoints, tmp_path_factory):
    """Returns rows by name of a folder and a zip file, their slices, and the folder."""
    pytest.importorskip("highdicom", reason="highdicom is not installed")
    root = tmp_path_factory.mktemp("dicom")
    given = images(trunk(), **PATIENT)
    write.write(root / "scans" / "a", given)
    zipped(root / "scans" / "b.zip", given)
    rows = predict.predict(
        root / "scans", root / "out", checkpoints / "sure", options=DICOM_OPTIONS
    )
    return {r.scan: r for r in rows}, {ds.SOPInstanceUID: ds for ds in given}, root


@pytest.mark.parametrize("name", ["a", "b.zip"])
def test_the_slice_is_copied_byte_for_byte(results, name):
    rows, given, root = results
    source = given[rows[name].sop_instance_uid]
    assert (root / "out" / f"{name}.dcm").read_bytes() == write.content(source)
    assert rows[name].warnings == ""


@pytest.mark.parametrize("end", ["sr", "sc"])
@pytest.mark.parametrize("name", ["a", "b.zip"])
def test_patient_and_study_are_copied_from_the_scan(results, name, end):
    rows, given, root = results
    source = given[rows[name].sop_instance_uid]
    made = pydicom.dcmread(root / "out" / f"{name}.{end}.dcm")
    for keyword in (*PATIENT, "StudyInstanceUID"):
        assert made[keyword].value == source[keyword].value, keyword
    assert str(made.PatientName) == "Müller"
    assert made.SeriesInstanceUID != source.SeriesInstanceUID
    assert made.SOPInstanceUID == made.file_meta.MediaStorageSOPInstanceUID
    assert made.SOPInstanceUID not in given


def test_the_report_has_l3_and_a_reference_to_the_slice(results):
    from highdicom import sr

    rows, given, root = results
    source = given[rows["a"].sop_instance_uid]
    report = sr.srread(root / "out" / "a.sr.dcm")
    assert report.SOPClassUID == pydicom.uid.ComprehensiveSRStorage
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert report.VerificationFlag == "UNVERIFIED"
    (group,) = report.content.get_image_measurement_groups()
    l3 = ("36470004", "SCT")
    finding, (site,) = group.finding_type, group.finding_sites
    assert (finding.value, finding.scheme_designator) == l3
    assert (site.value.value, site.value.scheme_designator) == l3
    (z,) = group.get_measurements(codes.DCM.ImagePositionPatientZ)
    assert (float(z.value), z.unit.value) == (rows["a"].z_mm, "mm")
    (image,) = group.source_images
    of_z, of_series = z.referenced_images[0], referenced_uids(report)
    for reference in (image.ReferencedSOPSequence[0], of_z.ReferencedSOPSequence[0]):
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert reference.ReferencedSOPClassUID == source.SOPClassUID
    assert of_series == [source.SeriesInstanceUID, source.SOPInstanceUID]


def referenced_uids(report):
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    (slice_,) = series.ReferencedSOPSequence
    return [series.SeriesInstanceUID, slice_.ReferencedSOPInstanceUID]


def test_the_secondary_capture_equals_the_picture(results):
    _, _, root = results
    made = pydicom.dcmread(root / "out" / "a.sc.dcm")
    picture = Image.open(io.BytesIO((root / "out" / "a.png").read_bytes()))
    np.testing.assert_array_equal(made.pixel_array, np.array(picture.convert("RGB")))
    assert made.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage


def test_without_l3_only_the_picture_is_written(results, checkpoints, tmp_path):
    """The previous run's files of the slice are deleted."""
    _, _, root = results
    shutil.copytree(root / "out", tmp_path / "out")
    assert len(list((tmp_path / "out").glob("*.dcm"))) == 6
    predict.predict(
        root / "scans", tmp_path / "out", checkpoints / "unsure", options=DICOM_OPTIONS
    )
    left = sorted(p.name for p in (tmp_path / "out").glob("*.dcm"))
    assert left == ["a.sc.dcm", "b.zip.sc.dcm"]


def test_l3_is_found_in_nifti_with_a_warning(checkpoints, tmp_path):
    pytest.importorskip("highdicom", reason="highdicom is not installed")
    (tmp_path / "scans").mkdir()
    hu = trunk().transpose(2, 1, 0).astype(np.int16)
    image = nibabel.Nifti1Image(hu, np.diag([-2.0, -2.0, 3.0, 1.0]))
    nibabel.save(image, tmp_path / "scans" / "n.nii")
    (row,) = predict.predict(
        tmp_path / "scans",
        tmp_path / "out",
        checkpoints / "sure",
        options=DICOM_OPTIONS,
    )
    assert row.status == "found"
    assert "n.nii holds 24 slices" in row.warnings
    stored = json.loads((tmp_path / "out" / "n.nii.json").read_text())
    assert stored["warnings"] == row.warnings
    assert not list((tmp_path / "out").glob("*.dcm"))


def test_a_file_of_many_frames_is_refused(tmp_path):
    write.write(tmp_path / "e", [write.enhanced([1.0] * 20)])
    volume = scan.choose(scan.read(tmp_path / "e"), tmp_path / "e")
    with pytest.raises(DataError, match="IM0000 holds 20 slices"):
        source_file.find(volume, 3)


def test_an_incomplete_header_gives_a_warning(checkpoints, tmp_path):
    pytest.importorskip("highdicom", reason="highdicom is not installed")
    write.write(tmp_path / "s" / "a", images(trunk(), StudyInstanceUID=None))
    (row,) = predict.predict(
        tmp_path / "s", tmp_path / "out", checkpoints / "sure", options=DICOM_OPTIONS
    )
    assert row.status == "found"
    assert "it lacks StudyInstanceUID" in row.warnings
    assert [p.name for p in (tmp_path / "out").glob("*.dcm")] == ["a.dcm"]


def test_the_dicom_option_needs_highdicom(tmp_path, monkeypatch):
    write.write(tmp_path / "s" / "a", images(trunk())[:3])
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(ConfigError, match="pip install highdicom"):
        predict.predict(tmp_path / "s", tmp_path / "out", options=DICOM_OPTIONS)
    assert not (tmp_path / "out").exists()
