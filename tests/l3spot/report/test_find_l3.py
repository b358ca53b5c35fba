"""From the coarse position and the vertebrae to the result, with stubs."""

import csv
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import image as png

from l3spot.report import files, picture, result, result_json
from l3spot.report.results_file import ResultRow, ScanRows
from l3spot.vertebrae import levels, locate
from l3spot.vertebrae.confidence import (
    LEVEL_FEATURES,
    UNCALIBRATED,
    Calibration,
    Logistic,
)
from mtl.host import workdir
from tests.l3spot.stub_model import stub_model
from tests.l3spot.vertebrae.stub import (
    PITCH_MM,
    ROWS,
    TOP_MM,
    X_MM,
    Y_MM,
    StubVertebrae,
    chain,
    constant,
    projection,
)

L3_MM = TOP_MM + 0.5 - 120.0
SLICES_MM = TOP_MM - 0.4 - 3.0 * np.arange(80)[::-1]
FIVE = L3_MM + PITCH_MM * np.array([2, 1, 0, -1, -2])  # L1 to L5.


def volume():
    slices = [
        SimpleNamespace(file=f"f{n}", sop_instance_uid=f"1.{n}") for n in range(80)
    ]
    return SimpleNamespace(z=SLICES_MM, slices=slices)


def find(z_mm=FIVE, s1=False, coarse_mm=126.0, confidence=0.9, ribs=(), level="L3"):
    stub = StubVertebrae(chain(z_mm, s1), list(ribs))
    return result.find_l3(
        stub_model([coarse_mm], confidence), projection(), volume(), stub, level
    )


def test_the_middle_of_the_body_replaces_the_coarse_position():
    got = find(coarse_mm=122.0)
    assert got.status == result.IN_VIEW
    assert got.z_mm == pytest.approx(L3_MM)
    assert got.row_mm == pytest.approx(120.0)
    assert got.slice_index == np.abs(SLICES_MM - L3_MM).argmin()
    assert got.confidence == locate.MAX_ONE_SIDED_CONFIDENCE
    row = result.add_result(ResultRow("a"), got, volume())
    assert row.frontal_z_mm == pytest.approx(TOP_MM + 0.5 - 122.0)
    assert row.numbering == levels.PICTURE
    assert row.other_z_mm == pytest.approx(L3_MM - PITCH_MM)  # It is not sure.


def test_the_papers_method_leaves_the_coarse_position():
    got = result.find_l3(stub_model([126.0], 0.9), projection(), volume())
    assert got.z_mm == pytest.approx(TOP_MM + 0.5 - 126.0)
    assert (got.spine, got.levels) == (None, [])


@pytest.mark.parametrize("level", ["L1", "L2", "L4", "L5"])
def test_another_level_can_be_searched(level):
    got = find(level=level)
    steps = int(level[1]) - 3
    assert got.z_mm == pytest.approx(L3_MM - steps * PITCH_MM)
    row = result.add_result(ResultRow("a"), got, volume())
    assert row.level == level
    assert row.frontal_z_mm == pytest.approx(TOP_MM + 0.5 - 126.0)


def test_a_level_out_of_view_is_not_found_and_the_others_are_named():
    got = find(level="T11")
    assert got.status == result.NOT_IN_VIEW
    assert got.warnings == ("T11 is not seen; in view are L1, L2, L3, L4, L5",)


def trust(**found):
    return result.add_result(ResultRow("a"), find(**found), volume()).trust


def test_trust_of_an_absent_level_rests_on_its_own_place_not_on_that_of_l3():
    """T9 is far above the scan, so its absence is as sure as the names are.

    L5 is well within the scan, so it should be seen.
    """
    names = find().confidence
    assert trust(level="T9") == pytest.approx(names, abs=1e-4)
    assert trust(z_mm=FIVE[:4], level="L5") == 0
    assert trust(level="T9", coarse_mm=120.0 + PITCH_MM / 2) < 0.6


def test_trust_of_an_absent_level_falls_where_the_scan_ends_near_it():
    seen = find().spine.numbering
    pitch = seen.pitch_mm
    t12_mm = L3_MM + 3 * PITCH_MM
    got = [
        result.beyond_ends("T12", seen, SimpleNamespace(z=np.array([0, t12_mm + d])))
        for d in (-pitch, -pitch / 4, 0, pitch / 4, pitch)
    ]
    assert got == pytest.approx([1, 0.75, 0.5, 0.25, 0], abs=1e-6)
    below = SimpleNamespace(z=np.array([L3_MM - 2.5 * PITCH_MM, 1e3]))
    assert result.beyond_ends("L6", seen, below) == pytest.approx(1)


def test_an_absent_level_is_a_guess_where_no_vertebra_has_a_name():
    """The confidence of L3 says nothing of another level."""
    for found in ({"confidence": 0.01}, {"z_mm": FIVE[:1]}):
        assert trust(**found, level="T10") == result.UNKNOWN
    assert trust(confidence=0.01) == pytest.approx(0.99)


def test_trust_of_a_position_is_that_it_is_within_5_mm():
    got = find(level="L2")
    row = result.add_result(ResultRow("a"), got, volume())
    assert row.trust == row.within_5_mm
    paper = result.find_l3(stub_model([126.0], 0.9), projection(), volume())
    assert result.add_result(ResultRow("a"), paper, volume()).trust == 0.9
    assert ResultRow("a", "failed").trust is None


def test_without_vertebrae_the_coarse_position_stays_with_a_warning():
    got = find(FIVE[:1])
    assert (got.status, got.row_mm) == (result.IN_VIEW, pytest.approx(126.0))
    assert got.warnings == (result.NO_SPINE,)
    assert find(FIVE[:1], level="L2").status == result.NOT_IN_VIEW


def test_l3_beyond_the_bodies_stays_coarse_with_a_warning():
    got = find(FIVE[:2])  # L1 and L2 alone.
    assert (got.status, got.row_mm) == (result.IN_VIEW, pytest.approx(126.0))
    assert "L3 is not seen; in view are L1, L2" in got.warnings[0]
    assert got.confidence == pytest.approx(1 - got.spine.confidence)


def test_a_scan_without_l3_stays_without_it():
    got = find(confidence=0.01)
    assert (got.status, got.confidence) == (result.NOT_IN_VIEW, 0.01)
    assert got.warnings == ()
    assert got.levels == []  # They could be those of the neck.


def test_ribs_and_sacrum_find_l3_where_the_frontal_picture_does_not():
    six = np.append(FIVE, FIVE[-1] - PITCH_MM)
    got = find(six, s1=True, confidence=0.2, ribs=[0.95] + [0.05] * 5)
    assert got.status == result.IN_VIEW
    assert got.z_mm == pytest.approx(L3_MM)


def test_vertebrae_above_l3_are_named_where_ribs_end_and_l3_is_not_seen():
    """As in a chest: T10 to L1, with the end of the ribs on T12."""
    seen = L3_MM - 130 + PITCH_MM * np.array([5, 4, 3, 2])
    got = find(seen, coarse_mm=239.0, confidence=0.1, ribs=[0.99] * 4 + [0.01])
    assert got.status == result.NOT_IN_VIEW
    assert got.confidence <= 0.1
    assert [v.name for v in got.levels] == ["T10", "T11", "T12", "L1"]
    assert "L1 at z = " in got.warnings[0]


def test_an_unlikely_numbering_does_not_find_l3_alone():
    """Such as the vertebrae of a neck, the last of them taken for S1."""
    logit = Logistic((0.0,) * len(LEVEL_FEATURES), -3.0)
    doubtful = UNCALIBRATED._replace(level=logit)
    six = np.append(FIVE, FIVE[-1] - PITCH_MM)
    stub = StubVertebrae(chain(six, True), [0.05] * 5, doubtful)
    coarse = stub_model([126.0], 0.2)
    got = result.find_l3(coarse, projection(), volume(), stub)
    assert (got.status, got.confidence, got.levels) == (result.NOT_IN_VIEW, 0.2, [])


@pytest.mark.parametrize("level", [0.65, 0.3])
def test_the_frontal_position_stays_where_it_is_more_probably_within_5_mm(level):
    """Such as with slices of 8 mm, where bodies are faint.

    It is trusted no more than the name, because it is a part of the evidence for it.
    """
    parts = zip(UNCALIBRATED, (level, 0.5, 0.7), strict=True)
    calibration = Calibration(*(constant(part, p) for part, p in parts))
    stub = StubVertebrae(chain(FIVE), [], calibration)
    got = result.find_l3(stub_model([126.0], 0.9), projection(), volume(), stub)
    assert (got.status, got.row_mm) == (result.IN_VIEW, pytest.approx(126.0))
    assert got.confidence == pytest.approx(level)
    assert got.within_5_mm == pytest.approx(min(0.7, level))
    assert got.warnings == (f"the vertebrae are faint; {result.COARSE_ALONE}",)
    row = result.add_result(ResultRow("a"), got, volume())
    assert row.other_z_mm is None


def test_an_unsure_numbering_gives_both_candidates():
    got = find(coarse_mm=120.0 + PITCH_MM / 2)
    row = result.add_result(ResultRow("a"), got, volume())
    assert row.numbering == levels.PICTURE
    assert row.confidence < 0.6
    candidates = sorted([row.z_mm, row.other_z_mm])
    np.testing.assert_allclose(candidates, [L3_MM - PITCH_MM, L3_MM], atol=0.01)
    assert got.warnings[0].startswith("L3 is not sure: it is at z = ")


def test_a_spine_that_the_side_of_the_pictures_cuts_has_a_warning(monkeypatch):
    monkeypatch.setattr(locate, "_is_cut", lambda *_: True)
    got = find(ribs=[0.95] + [0.05] * 5)
    assert got.status == result.IN_VIEW
    assert got.warnings[0] == result.SPINE_IS_CUT
    assert got.warnings[1].startswith("L3 is not sure: it is at z = ")
    assert got.confidence <= locate.MAX_DOUBTFUL_CONFIDENCE


def test_the_levels_in_view_and_one_in_place_of_l3_are_named():
    """T11 to L2; ribs end at T12, and L3 is below the scan."""
    seen = L3_MM - 130 + PITCH_MM * np.array([4, 3, 2, 1])
    got = find(seen, coarse_mm=235.0, ribs=[0.95] * 3 + [0.05] * 2)
    row = result.add_result(ResultRow("a"), got, volume())
    assert (row.status, row.z_mm) == (result.NOT_IN_VIEW, None)
    assert (row.levels, row.fallback) == ("T11 T12 L1 L2", "L2")
    assert row.confidence < 0.2
    assert got.warnings == (
        "L3 is not in view; in view are T11, T12, L1, L2; "
        f"L2 at z = {seen[3]:.1f} mm",
    )  # fmt: skip


def test_files_hold_all_levels(tmp_path):
    p, got = projection(), find()
    row = result.add_result(ResultRow("a"), got, volume())
    files.write(tmp_path, "a", p, got, picture.draw_png("a", p, got))
    rows = [ScanRows(row, files.level_rows("a", got))]
    result_json.write(tmp_path, "a", rows, {"x": 1})
    assert result_json.read(tmp_path, "a") == (["a"], rows, {"x": 1}, False)
    stored = json.loads((tmp_path / "a.json").read_text())
    assert [v["level"] for v in stored["levels"]] == ["L1", "L2", "L3", "L4", "L5"]
    markups = json.loads((tmp_path / "a.mrk.json").read_text())["markups"][0]
    points = markups["controlPoints"]
    assert [p["label"] for p in points] == ["L1 a", "L2 a", "L3 a", "L4 a", "L5 a"]
    np.testing.assert_allclose(points[2]["position"], [X_MM, Y_MM, L3_MM], atol=1.5)
    found = files.level_rows("a", got)
    workdir.write_csv(tmp_path / "levels.csv", found[0]._fields, found)
    with (tmp_path / "levels.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert float(rows[2]["z_mm"]) == pytest.approx(L3_MM, abs=0.01)
    height = float(rows[2]["upper_mm"]) - float(rows[2]["lower_mm"])
    assert height == pytest.approx(27.0, abs=0.02)


def test_the_picture_shows_both_views_with_the_line_at_the_row():
    """The line is red from the frontal view through the sagittal one."""
    got = find()
    content = picture.draw_png("a", projection(), got)
    drawn = png.imread(io.BytesIO(content))[..., :3]
    red = (drawn[..., 0] > 0.7) & (drawn[..., 1] < 0.35)
    rows = np.flatnonzero(red.mean(1) > 0.5)
    assert len(rows) in (1, 2, 3)
    assert rows.mean() / len(drawn) == pytest.approx(120 / ROWS, abs=0.1)


def test_the_axis_of_a_body_that_the_scan_cuts_ends_with_the_picture():
    high = TOP_MM - 3.0  # Its upper end plate is 10 mm above the first slice.
    got = find(np.append(high, FIVE), ribs=[0.95] * 2 + [0.05] * 5)
    assert got.spine.chain.bodies[0].upper[1] > TOP_MM + 5
    drawn = png.imread(io.BytesIO(picture.draw_png("a", projection(), got)))[..., :3]
    above = drawn[: picture.TOP - 1]
    assert np.ptp(above, axis=-1).max() == 0  # The title is black.
