"""The patient's left, head and feet in the pictures of a result."""

import json

import numpy as np
import pydicom
import pytest
from matplotlib import image as png

from l3spot import predict
from l3spot.localize import model
from l3spot.localize.model import Calibration
from l3spot.predict import PAPER, PredictOptions
from tests.l3spot import series as write
from tests.l3spot.report.pictures import projection_of
from tests.l3spot.trunk import MM, SIZE, STEP, X0, Y0, Z0, images, trunk

pytest.importorskip("highdicom", reason="highdicom is not installed")
LEFT, LOW = (58, 64), (2, 5)  # Columns and slices of a bright mark, near the feet.
END_MM = MM * (SIZE - 1)


@pytest.fixture(scope="module", params=["as usual", "left on the left"])
def results(request, tmp_path_factory):
    """Returns the results of a body with a bright mark at its left."""
    root = tmp_path_factory.mktemp("marked")
    hu = trunk().clip(max=400)
    hu[slice(*LOW), 30:36, slice(*LEFT)] = 2500
    given = images(hu)
    if request.param != "as usual":
        given = images(hu[:, :, ::-1], (-1, 0, 0, 0, 1, 0), (X0 + END_MM, Y0))
    write.write(root / "scans" / "a", given)
    sure = model.load()._replace(
        calibration=Calibration((0.0,) * model.FEATURE_COUNT, 5.0)
    )
    model.save(root / "sure", sure)
    how = PredictOptions(dicom=True, method=PAPER)
    (row,) = predict.predict(root / "scans", root / "out", root / "sure", options=how)
    return row, root / "out"


def mark(pixels):
    """Returns the brightest position, 0 to 1 from the left and the top."""
    panel = projection_of(pixels)
    down, across = np.argwhere((panel > 240).all(axis=-1)).mean(axis=0)
    return across / panel.shape[1], down / panel.shape[0]


def test_the_mark_lies_at_the_patients_left_and_near_the_feet():
    """LPS: x is larger at the patient's left, z at the head."""
    assert X0 + MM * LEFT[0] > X0 + END_MM / 2
    assert Z0 + STEP * LOW[1] < Z0 + STEP * len(trunk()) / 2


def test_the_secondary_capture_names_the_sides_that_it_shows(results):
    """PatientOrientation names what lies at the right, and what lies at the bottom."""
    _, out = results
    made = pydicom.dcmread(out / "a.sc.dcm")
    across, down = mark(made.pixel_array)
    right, bottom = made.PatientOrientation
    assert across == pytest.approx(np.mean(LEFT) / SIZE, abs=0.04)
    assert down > 0.75
    assert right == "L"  # The mark, at the patient's left, is to the right.
    assert bottom == "F"  # It is near the feet, and at the bottom.
    # The margins have no position in the patient.
    assert "ImageOrientationPatient" not in made


def test_the_picture_shows_the_same_sides(results):
    _, out = results
    pixels = (png.imread(out / "a.png")[..., :3] * 255).round()
    across, down = mark(pixels)
    assert across > 0.6
    assert down > 0.75


def items(content):
    """Yields all items of a report, nested ones too."""
    for item in content:
        yield item
        yield from items(item.get("ContentSequence", ()))


def test_the_report_names_the_algorithm(results):
    """DICOM PS3.16: 111001 is an algorithm's name, 111002 its parameters."""
    _, out = results
    report = pydicom.dcmread(out / "a.sr.dcm")
    texts = {
        item.ConceptNameCodeSequence[0].CodeValue: item.TextValue
        for item in items(report.ContentSequence)
        if "TextValue" in item
    }
    assert texts["111001"] == "l3spot"
    assert texts["111002"] == model.load().about


def test_the_files_are_marked_as_not_verified_and_of_the_spine(results):
    _, out = results
    for end in ("sr", "sc"):
        made = pydicom.dcmread(out / f"a.{end}.dcm")
        assert made.SeriesDescription == "L3 slice, not verified"
    assert made.BodyPartExamined == "LSPINE"


def test_the_point_for_3d_slicer_lies_in_the_middle_of_the_scan(results):
    row, out = results
    (markup,) = json.loads((out / "a.mrk.json").read_text())["markups"]
    assert markup["coordinateSystem"] == "LPS"
    x, y, z = markup["controlPoints"][0]["position"]
    assert x == pytest.approx(X0 + END_MM / 2, abs=1)
    assert y == pytest.approx(Y0 + END_MM / 2, abs=1)
    assert z == pytest.approx(row.z_mm, abs=0.01)
