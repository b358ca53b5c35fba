"""The files of a scan that its review needs: pictures without marks, and positions."""

import json

import numpy as np
import pytest
from PIL import Image

from l3spot.report import picture, review_files, review_page
from mtl.host.errors import DataError
from tests.l3spot.report import reviewed
from tests.l3spot.report.reviewed import FIVE_MM, L3_MM, SLICES_MM
from tests.l3spot.vertebrae.stub import TOP_MM, X_MM, Y_MM, projection


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out = tmp_path_factory.mktemp("files")
    answers = {"a": reviewed.find(), "none": reviewed.find(0.01)}
    reviewed.make(out, answers, dicom=True)
    return out


def test_positions_vertebrae_and_slices_are_read_as_they_were_written(out):
    data = review_files.read(out, "a")
    assert data.top_mm == TOP_MM + 0.5
    assert (data.rows, data.frontal) == (240, (-0.5, 90))
    assert [v.name for v in data.vertebrae] == ["L1", "L2", "L3", "L4", "L5"]
    np.testing.assert_allclose([v.z_mm for v in data.vertebrae], FIVE_MM, atol=1e-3)
    np.testing.assert_allclose(data.z_mm, SLICES_MM, atol=1e-3)
    assert data.slices[7] == ("/nowhere/IM0007", "", "1.2.7")
    assert (data.copy_slice, data.dicom, data.about) == (True, True, "made by hand")
    x_mm, y_mm = data.place_mm(L3_MM - 3)
    assert (x_mm, y_mm) == pytest.approx((X_MM, Y_MM), abs=1.5)
    index = data.nearest_slice(L3_MM)
    assert index == np.abs(SLICES_MM - L3_MM).argmin()


def test_starts_of_paths_and_uids_are_stored_once(out):
    content = json.loads((out / "a.review.json").read_text())
    paths, members, uids = content["slices"]
    assert (paths["start"], paths["ends"][79]) == ("/nowhere/IM00", "79")
    assert set(members["ends"]) == {""}
    assert (uids["start"], uids["ends"][:2]) == ("1.2.", ["0", "1"])


def test_pictures_have_one_pixel_a_mm_and_no_marks(out):
    bright = {}
    for end in (".frontal.png", ".sagittal.png"):
        with Image.open(out / f"a{end}") as image:
            assert (image.mode, image.size) == ("L", (90, 240))
            bright[end] = np.asarray(image).max()
    assert bright[".frontal.png"] == 0  # The stub's frontal projection is air.
    spine = (400 - picture.SLAB_LOW_HU) / (picture.SLAB_HIGH_HU - picture.SLAB_LOW_HU)
    assert bright[".sagittal.png"] == pytest.approx(255 * spine, abs=1)


def test_the_sagittal_picture_has_its_columns_at_the_right_y():
    """y of a bright column stays, though columns were 1.25 mm apart."""
    slab = reviewed.find().spine.slab
    y = slab.y[0] + 1.25 * np.arange(90)
    hu = np.full((240, 90), -200.0, np.float32)
    hu[:, 40] = 500
    spine_y = np.full(240, y[45])
    made = slab._replace(hu=hu, y=y, spine_y=spine_y)
    at, grey = picture.sagittal_grey(made, 1.0)
    np.testing.assert_allclose(np.diff(at), 1)
    assert at[grey[0].argmax()] == pytest.approx(y[40], abs=0.51)


def test_a_scan_without_l3_has_its_files_too(out):
    data = review_files.read(out, "none")
    assert data.vertebrae == []
    assert data.sagittal is not None
    assert data.place_mm(L3_MM) == pytest.approx(
        (projection().x.mean(), projection().y.mean())
    )


def test_missing_and_broken_files_are_named_with_what_to_do(out, tmp_path):
    with pytest.raises(DataError, match=r"b\.review\.json is missing.*predict again"):
        review_files.read(tmp_path, "b")
    whole = json.loads((out / "a.review.json").read_text())
    for content in ("{", "[]", json.dumps({**whole, "slices": [1]}), '{"rows": 3}'):
        (tmp_path / "b.review.json").write_text(content)
        with pytest.raises(DataError, match="broken"):
            review_files.read(tmp_path, "b")


def test_even_slices_are_three_numbers_in_the_page_and_others_all():
    even = review_page.slices([10.0, 12.5, 15.0])
    assert even == {"low_mm": 10.0, "step_mm": 2.5, "count": 3, "z_mm": None}
    assert review_page.slices([10.0, 12.0, 15.0])["z_mm"] == [10.0, 12.0, 15.0]


def test_the_page_says_how_many_sure_answers_it_leaves_out(tmp_path, monkeypatch):
    monkeypatch.setattr(review_page, "MOST_SCANS", 2)
    chances = {"sure": 0.95, "b": 0.6, "c": 0.8, "surest": 0.99}
    answers = {name: reviewed.find(p) for name, p in chances.items()}
    rows = reviewed.make(tmp_path, answers, failed=["no"])
    page = review_page.render(rows, tmp_path)
    data = page.partition('id="data">')[2].partition("</script>")[0]
    assert [scan["scan"] for scan in json.loads(data)["scans"]] == ["b", "c"]
    assert "The 2 surest results are not shown." in page
    assert "1 failed or older results are not shown." in page
