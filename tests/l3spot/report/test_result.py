"""z, slice and picture of a result, with handmade window offsets."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import image as png

from l3spot.localize import model
from l3spot.localize.model import Calibration
from l3spot.projections.mip import Projection
from l3spot.report import picture, result
from l3spot.report.results_file import ResultRow
from tests.l3spot.report.pictures import projection_of
from tests.l3spot.stub_model import stub_model

ROWS, TOP_MM = 240, 500.0
SLICES_MM = TOP_MM - 0.4 - 3.0 * np.arange(80)[::-1]


def projection():
    """240 rows of 1 mm; z is that of the middle of each row."""
    hu = np.full((ROWS, 90), -1000.0, np.float32)
    z = TOP_MM - np.arange(ROWS)
    nearest = np.abs(z[:, None] - SLICES_MM).argmin(1)
    return Projection(hu, hu, z, np.arange(90.0), np.arange(90.0) - 300, nearest)


@pytest.mark.parametrize("l3_mm", [61.0, 100.5, 199.2])
def test_z_and_slice_of_a_row(l3_mm):
    """The projection's upper edge lies half a row above the middle of its first."""
    volume = SimpleNamespace(z=SLICES_MM)
    got = result.find_l3(stub_model([l3_mm], 0.9), projection(), volume)
    z = TOP_MM + 0.5 - l3_mm
    assert (got.row_mm, got.z_mm) == pytest.approx((l3_mm, z))
    assert got.slice_index == min(range(80), key=lambda n: abs(SLICES_MM[n] - z))


@pytest.mark.parametrize(
    ("confidence", "status"), [(0.499, "not in view"), (0.5, "found"), (0.9, "found")]
)
def test_l3_is_in_view_from_a_confidence_of_one_half(confidence, status):
    volume = SimpleNamespace(z=SLICES_MM)
    got = result.find_l3(stub_model([100.0], confidence), projection(), volume)
    assert (got.status, got.confidence) == (status, confidence)


def test_the_image_is_the_frontal_projection_in_the_models_hu_window():
    """2 mm a pixel, from 0 at the model's low to 1 at its high."""
    p, images = projection(), []
    p.frontal[100:102, 40:50] = 250.0
    p = p._replace(lateral=np.full_like(p.lateral, 800.0))
    result.find_l3(stub_model([100.0], 0.9, images), p, SimpleNamespace(z=SLICES_MM))
    assert len(images[0]) == ROWS // 2
    np.testing.assert_allclose(np.unique(images[0]), [0, 0.25])
    assert np.flatnonzero(images[0].any(axis=1)).tolist() == [50]


@pytest.mark.parametrize("l3_mm", [60.0, 180.0])
@pytest.mark.parametrize("confidence", [0.2, 0.9])
def test_the_line_in_the_picture_lies_at_the_row(l3_mm, confidence):
    """Red where L3 is found, grey where it is not."""
    p = projection()
    got = result.find_l3(
        stub_model([l3_mm], confidence), p, SimpleNamespace(z=SLICES_MM)
    )
    drawn = png.imread(io.BytesIO(picture.draw_png("a", p, got)))[..., :3]
    panel = projection_of((255 * drawn).round())
    line = panel.mean(axis=1)
    at = int(line[:, 0].argmax())
    assert at / len(panel) == pytest.approx(l3_mm / ROWS, abs=0.03)
    is_red = line[at, 0] > 1.5 * line[at, 1]
    assert is_red == (confidence > 0.5)


def test_the_row_of_the_results_names_the_slice_and_its_own_z():
    """z is L3's, slice_z_mm that of the nearest slice."""
    slices = [
        SimpleNamespace(file=f"f{n}", sop_instance_uid=f"1.{n}") for n in range(80)
    ]
    volume = SimpleNamespace(z=SLICES_MM, slices=slices)
    got = result.find_l3(stub_model([101.5], 0.9), projection(), volume)
    row = result.add_result(ResultRow("a"), got, volume)
    n = row.slice_index
    assert row.z_mm == pytest.approx(TOP_MM + 0.5 - 101.5, abs=0.01)
    assert row.slice_z_mm == pytest.approx(TOP_MM - 0.4 - 3 * (79 - n), abs=1e-3)
    assert abs(row.slice_z_mm - row.z_mm) <= 1.5
    assert row.slice_z_mm != row.z_mm
    assert (row.file, row.sop_instance_uid) == (f"f{n}", f"1.{n}")


def test_the_calibration_is_a_logistic_regression():
    """A logistic regression of five numbers, here of the first two."""
    calibration = Calibration((2.0, -1.0, 0.0, 0.0, 0.0), -0.5)
    features = np.array([0.9, 0.3, 7.0, 7.0, 7.0])
    assert len(features) == model.FEATURE_COUNT
    assert calibration(features) == pytest.approx(1 / (1 + np.exp(-1.0)))
