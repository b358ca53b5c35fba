"""Several patients, studies or series in one folder are never mixed up or lost."""

import itertools

import pytest

from tests.l3spot import runs
from tests.l3spot import series as write
from tests.l3spot.trunk import images, trunk


def person(folder, number, count=24, **fields):
    """Writes a scan with UIDs of its own."""
    uids = dict(
        StudyInstanceUID=f"1.{number}",
        SeriesInstanceUID=f"1.{number}.1",
        FrameOfReferenceUID=f"1.{number}.2",
    )
    made = images(trunk()[:count], **(uids | fields))
    return write.write(folder, made, f"P{number}-{{:03d}}")


@pytest.mark.parametrize("patient_id", ["", "ANON", None])
@pytest.mark.parametrize("apart", [True, False])
def test_three_patients_in_one_folder_are_a_failed_scan(tmp_path, patient_id, apart):
    folder = tmp_path / "scans" / "all"
    for n in (1, 2, 3):
        place = folder / str(n) if apart else folder
        person(place, n, PatientID=patient_id, PatientName=None)
    runs.scan(tmp_path / "scans" / "other")
    run = runs.predict(tmp_path / "scans", tmp_path / "out")
    assert run.done.returncode == 1
    assert run.rows["other"]["status"] == "found"
    assert run.rows["all"]["status"] == "failed"
    why = run.rows["all"]["why"]
    assert "holds 3 studies, perhaps of several patients" in why
    assert all(f"1.{n}.1" in why for n in (1, 2, 3))
    assert "--series" in why
    run = runs.predict(tmp_path / "scans", tmp_path / "all", "--all_series")
    assert run.done.returncode == 0
    series = {run.rows[f"all~{n}"]["series"] for n in (1, 2, 3)}
    assert series == {"1.1.1", "1.2.1", "1.3.1"}
    assert (tmp_path / "all" / "all~3.png").exists()
    run = runs.predict(tmp_path / "scans", tmp_path / "one", "--series", "1.2.1")
    assert run.rows["all"]["series"] == "1.2.1"


@pytest.mark.parametrize("count", [1, 24])
def test_stray_files_beside_the_folders_of_patients_do_not_merge_them(tmp_path, count):
    scans = tmp_path / "scans"
    for n in (1, 2, 3):
        person(scans / f"P{n}", n, PatientID="")
    person(scans, 4, count, PatientID="")
    run = runs.predict(scans, tmp_path / "out")
    found = {name for name, row in run.rows.items() if row["status"] == "found"}
    stray = "scans (files)"
    assert set(run.rows) == {"P1", "P2", "P3", stray}
    assert found >= {"P1", "P2", "P3"}
    assert run.done.returncode == (count == 1)
    if count == 1:
        assert "1 slice is too few" in run.rows[stray]["why"]
    else:
        assert run.rows[stray]["series"] == "1.4.1"
        assert run.rows[stray]["left_out"] == ""
    run = runs.project(scans, tmp_path / "mips")
    assert set(run.rows) == {"P1", "P2", "P3", stray}


def test_folders_of_one_study_are_one_scan(tmp_path):
    """The slices are in the folder, and a scout in a folder within it."""
    person(tmp_path / "scans", 1)
    person(tmp_path / "scans" / "scout", 1, 2, SeriesInstanceUID="1.1.9")
    run = runs.predict(tmp_path / "scans", tmp_path / "out")
    assert run.done.returncode == 0
    assert list(run.rows) == ["scans"]
    assert "2 slices of series 1.1.9" in run.rows["scans"]["left_out"]


def test_two_series_of_a_study_are_named_in_the_row(tmp_path):
    """Both are equally good; one is used, and the other is in the table."""
    person(tmp_path / "scans" / "a", 1)
    person(tmp_path / "scans" / "a" / "late", 1, SeriesInstanceUID="1.1.7")
    run = runs.predict(tmp_path / "scans", tmp_path / "out")
    assert run.done.returncode == 0
    row = run.rows["a"]
    assert row["series"] == "1.1.1"
    assert "24 slices of series 1.1.7 at z = 40.0 to 109.0 mm" in row["left_out"]
    assert "another volume of 72 mm" in row["left_out"]
    page = (tmp_path / "out" / "index.html").read_text()
    assert "series 1.1.7" in page
    run = runs.predict(tmp_path / "scans", tmp_path / "all", "--all_series")
    assert [row["series"] for row in run.rows.values()] == ["1.1.1", "1.1.7"]
    assert list(run.rows) == ["a~1", "a~2"]


def test_a_study_uid_for_each_series_is_one_study_if_the_frame_is_shared(tmp_path):
    for n, series in ((1, "1.1.1"), (2, "1.1.2")):
        person(
            tmp_path / "scans" / "a",
            n,
            SeriesInstanceUID=series,
            FrameOfReferenceUID="1.9",
        )
    run = runs.predict(tmp_path / "scans", tmp_path / "out")
    assert run.done.returncode == 0
    assert "series 1.1.2 of another study" in run.rows["a"]["left_out"]


def test_frames_of_reference_of_one_series_are_not_mixed(tmp_path):
    folder = tmp_path / "scans" / "a"
    made = images(trunk())
    for ds, frame in zip(made, itertools.cycle(["1.5", "1.6"]), strict=False):
        ds.FrameOfReferenceUID = frame
    write.write(folder, made)
    row = runs.predict(tmp_path / "scans", tmp_path / "out").rows["a"]
    assert row["slice_mm"] == "6.0"
    assert "12 of 24 slices of its series are not used" in row["warnings"]
