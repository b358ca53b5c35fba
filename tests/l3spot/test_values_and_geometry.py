"""Values that are not HU, and places that were lost, are refused or mended."""

import nibabel
import numpy as np
import pytest
from pydicom import datadict
from pydicom.dataelem import DataElement

from tests.l3spot import runs
from tests.l3spot import series as write
from tests.l3spot.trunk import MM, STEP, X0, Y0, Z0, images, trunk

AFFINE = np.array([[-MM, 0, 0, -X0], [0, -MM, 0, -Y0], [0, 0, STEP, Z0], [0, 0, 0, 1]])


def with_offset(offset):
    """Returns a scan without the table, which is brighter than a real one."""
    hu = trunk()
    hu[:, 70] = -1000
    made = images(hu)
    for ds in made:
        ds.PixelData = (write.stored(ds) + offset).astype(np.int16).tobytes()
    return made


def save(path, hu, affine=AFFINE, change=None):
    image = nibabel.Nifti1Image(hu.transpose(2, 1, 0), affine)
    if change:
        change(image)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)


@pytest.mark.parametrize(
    ("offset", "where"),
    [(1024, "1024 too high"), (-1024, "1024 too low"), (1000, "1000 too high")],
)
def test_an_offset_of_all_values_is_refused_and_mended(tmp_path, offset, where):
    write.write(tmp_path / "scans" / "a", with_offset(offset))
    write.write(tmp_path / "scans" / "good", with_offset(0))
    run = runs.predict(tmp_path / "scans", tmp_path / "out")
    assert run.done.returncode == 1
    row = run.rows["a"]
    assert row["status"] == "failed"
    assert f"air and soft tissue are {where}: --mend_hu" in row["why"]
    run = runs.predict(tmp_path / "scans", tmp_path / "mended", "--mend_hu")
    assert run.done.returncode == 0
    row, good = run.rows["a"], run.rows["good"]
    assert (row["status"], row["z_mm"]) == ("found", good["z_mm"])
    assert f"{-offset:+d} was added to them" in row["warnings"]
    assert good["warnings"] == ""
    run = runs.project(tmp_path / "scans", tmp_path / "mips")
    assert (run.done.returncode, run.rows["a"]["status"]) == (1, "rejected")


HU = trunk().astype(np.float32)
NOT_HU = {
    "z-scores": ((HU - HU.mean()) / HU.std(), "they span only"),
    "fractions of 1": (HU / 1000, "they span only"),
    "cut off below 0": (HU.clip(0), "no value of its middle slice is below 0"),
    "no patient": (np.full_like(HU, -1000) + HU % 7 * 60, "no soft tissue"),
    "wrapped": (np.where(HU < 0, HU + 65536, HU - 45), "as bone is"),
}


@pytest.mark.parametrize("kind", NOT_HU)
def test_values_in_other_units_are_refused(tmp_path, kind):
    hu, message = NOT_HU[kind]
    save(tmp_path / "scans" / "a.nii.gz", hu.astype(np.float32))
    run = runs.predict(tmp_path / "scans", tmp_path / "out", "--mend_hu")
    assert run.done.returncode == 1
    assert "its values are not HU" in run.rows["a.nii.gz"]["why"]
    assert message in run.rows["a.nii.gz"]["why"]


def test_a_scan_without_bone_gives_a_warning(tmp_path):
    save(tmp_path / "scans" / "a.nii.gz", HU.clip(max=200))
    row = runs.predict(tmp_path / "scans", tmp_path / "out").rows["a.nii.gz"]
    assert "no bone is seen: the highest value is 200 HU" in row["warnings"]


@pytest.mark.parametrize("flip", [(1, 1), (-1, -1)])
@pytest.mark.parametrize("ends", [False, True])
def test_an_affine_of_an_array_without_geometry_is_refused(tmp_path, flip, ends):
    affine = np.diag([*flip, 1.0, 1.0])
    if ends:
        affine[:2, 3] = (np.array(HU.shape[2:0:-1]) - 1) * -np.array(flip)
    save(tmp_path / "scans" / "a.nii", HU, affine)
    save(tmp_path / "scans" / "good.nii", HU)
    run = runs.predict(tmp_path / "scans", tmp_path / "out")
    assert run.done.returncode == 1
    assert "has the identity as its affine" in run.rows["a.nii"]["why"]
    assert run.rows["good.nii"]["status"] == "found"


def test_an_sform_and_a_qform_that_disagree_give_a_warning(tmp_path):
    def move(image):
        other = AFFINE.copy()
        other[2, 3] += 40
        image.set_sform(AFFINE, 1)
        image.set_qform(other, 1)

    save(tmp_path / "scans" / "a.nii", HU, change=move)
    run = runs.predict(tmp_path / "scans", tmp_path / "out")
    row = run.rows["a.nii"]
    assert (run.done.returncode, row["low_mm"]) == (0, str(Z0))
    assert "sform and qform differ by up to 40 mm; the sform is used" in row["warnings"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("InstanceNumber", "1.0"),
        ("InstanceNumber", "one"),
        ("AcquisitionNumber", "first"),
        ("AcquisitionNumber", "2.5"),
        ("SliceThickness", "3,0"),
        ("NumberOfFrames", "1.0"),
    ],
)
def test_elements_that_are_not_needed_refuse_no_file(tmp_path, name, text):
    write.write(tmp_path / "scans" / "a", changed(name, text))
    run = runs.predict(tmp_path / "scans", tmp_path / "out")
    assert run.done.returncode == 0, run.rows
    assert run.rows["a"]["warnings"] == ""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PixelSpacing", "2,45\\2,45"),
        ("PixelSpacing", "2.45"),
        ("RescaleSlope", "1,0"),
        ("RescaleIntercept", "-1024 HU"),
        ("ImagePositionPatient", "1\\2"),
        ("NumberOfFrames", "two"),
    ],
)
def test_the_message_names_the_element_and_its_value(tmp_path, name, text):
    write.write(tmp_path / "scans" / "a", changed(name, text))
    run = runs.predict(tmp_path / "scans", tmp_path / "out")
    assert run.done.returncode == 1
    assert f"{name}: {text}" in run.rows["a"]["why"]
    assert "could not convert" not in run.rows["a"]["why"]


def changed(name, text):
    """Returns a scan with a value that its element should not have."""

    made = images(trunk())
    for ds in made:
        tag = datadict.tag_for_keyword(name)
        ds[tag] = DataElement(tag, "LO", text.split("\\"))
    return made
