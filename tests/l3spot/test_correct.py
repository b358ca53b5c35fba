"""Corrections in the results: tables, JSON, markups, DICOM; as labels; and twice."""

import csv
import io
import json
import shutil

import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from l3spot import correct, evaluate
from l3spot.labels import csv_labels
from l3spot.report.corrections import COLUMNS
from mtl.host import workdir
from mtl.host.errors import DataError, WorkdirError
from tests import program
from tests.l3spot import runs
from tests.l3spot.report import reviewed
from tests.l3spot.report.reviewed import FIVE_MM, L3_MM, SLICES_MM

ODD = '=a\udcff\n"b", c'
L2_MM = round(float(FIVE_MM[1]), 2)


def write(path, *rows):
    """Writes a corrections.csv as the page does."""
    workdir.write_csv(path, COLUMNS, rows)
    return path


def moved(name, z_mm, note=""):
    return name, z_mm, "L3", "me", "moved", note


def table(path):
    text = path.read_bytes().decode(errors="surrogateescape")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def contents(out):
    return {p.name: p.read_bytes() for p in out.iterdir()}


@pytest.fixture
def out(tmp_path):
    """Results of four scans, one of them without L3, and of a failed one."""
    answers = {n: reviewed.find() for n in ("a", "b", ODD)}
    answers["none"] = reviewed.find(0.01)
    reviewed.make(tmp_path / "out", answers, failed=["broken"])
    return tmp_path / "out"


@pytest.fixture
def corrections(tmp_path):
    return write(
        tmp_path / "corrections.csv",
        moved("a", L2_MM, "=x,\ny"),
        (ODD, "", "L3", "me", "cannot tell", ""),
        ("none", "", "L3", "", "accepted", ""),
    )


def test_the_first_answers_stay_and_the_final_ones_are_beside_them(out, corrections):
    before, levels = table(out / "results.csv"), table(out / "levels.csv")
    done = correct.correct(out, corrections)
    assert sorted(done.verdicts) == ["accepted", "cannot tell", "moved"]
    after = table(out / "results.csv")
    for old, new in zip(before, after, strict=True):
        assert {k: new[k] for k in old} == old
    rows = {row["scan"]: row for row in after}
    a, index = rows["a"], int(np.abs(SLICES_MM - L2_MM).argmin())
    assert (a["final_status"], a["final_z_mm"]) == ("found", str(L2_MM))
    assert (a["verdict"], a["reader"], a["note"]) == ("moved", "me", "'=x,\ny")
    assert a["final_slice_index"] == str(index)
    assert float(a["final_slice_z_mm"]) == pytest.approx(SLICES_MM[index])
    assert a["final_file"] == f"/nowhere/IM{index:04d}"
    assert a["final_sop_instance_uid"] == f"1.2.{index}"
    b, odd, none = rows["b"], rows[f"'{ODD}"], rows["none"]
    assert (b["final_z_mm"], b["verdict"]) == (b["z_mm"], "")
    assert b["final_file"] == b["file"]
    assert (odd["final_status"], odd["final_z_mm"]) == ("cannot tell", "")
    assert (none["final_status"], none["verdict"]) == ("not in view", "accepted")
    assert (rows["broken"]["final_status"], rows["broken"]["verdict"]) == ("failed", "")
    for old, new in zip(levels, table(out / "levels.csv"), strict=True):
        assert {k: new[k] for k in old} == old


def test_vertebrae_are_counted_from_the_one_that_was_picked(out, tmp_path):
    between = (FIVE_MM[1] + FIVE_MM[2]) / 2
    path = write(tmp_path / "c.csv", moved("a", L2_MM), moved("b", round(between, 2)))
    correct.correct(out, path)
    names = {}
    for row in table(out / "levels.csv"):
        names.setdefault(row["scan"], []).append(row["final_level"])
    assert names["a"] == ["L2", "L3", "L4", "L5", "L6"]
    assert names["b"] == [""] * 5
    assert names[f"'{ODD}"] == ["L1", "L2", "L3", "L4", "L5"]
    stored = json.loads((out / "a.json").read_text())
    assert [v["final_level"] for v in stored["levels"]] == names["a"]
    assert (stored["z_mm"], stored["final_z_mm"]) == (round(L3_MM, 2), L2_MM)


def points(path):
    (markup,) = json.loads(path.read_text())["markups"]
    return {p["label"].split()[0]: p["position"][2] for p in markup["controlPoints"]}


def test_markups_have_the_corrected_point_or_are_deleted(out, tmp_path):
    first = (out / "a.mrk.json").read_bytes()
    z_mm = round(L3_MM + 4, 2)  # Within the body of L3.
    path = write(
        tmp_path / "c.csv",
        moved("a", z_mm),
        ("b", "", "L3", "", "not in view", ""),
        moved("none", 400),
    )
    correct.correct(out, path)
    found = points(out / "a.mrk.json")
    assert [*found] == ["L1", "L2", "L3", "L4", "L5"]
    assert found["L3"] == z_mm
    assert found["L2"] == pytest.approx(L2_MM, abs=0.01)
    assert points(out / "none.mrk.json") == {"L3": 400}
    assert not (out / "b.mrk.json").exists()
    # Another corrections.csv replaces these, and accepts the first answer of a.
    path = write(tmp_path / "c.csv", ("a", L3_MM, "L3", "", "accepted", ""))
    correct.correct(out, path)
    assert (out / "a.mrk.json").read_bytes() == first
    rows = {row["scan"]: row for row in table(out / "results.csv")}
    assert (rows["a"]["verdict"], rows["b"]["verdict"]) == ("accepted", "not in view")


def test_the_same_command_again_changes_nothing(out, corrections):
    correct.correct(out, corrections)
    before = contents(out)
    times = {p.name: p.stat().st_mtime_ns for p in out.glob("*.mrk.json")}
    correct.correct(out, corrections)
    assert contents(out) == before
    assert {p.name: p.stat().st_mtime_ns for p in out.glob("*.mrk.json")} == times


def test_an_interrupted_run_is_ended_by_the_same_command(
    out, corrections, tmp_path, monkeypatch
):
    """The run ends between any two files that it writes."""
    shutil.copytree(out, tmp_path / "whole")
    correct.correct(tmp_path / "whole", corrections)
    writes = 0
    real = workdir.write_bytes

    def write_some(path, content):
        nonlocal writes
        writes -= 1
        if writes < 0:
            raise KeyboardInterrupt
        real(path, content)

    monkeypatch.setattr(workdir, "write_bytes", write_some)
    for count in range(9):
        shutil.copytree(out, tmp_path / "part", dirs_exist_ok=True)
        writes = count
        try:
            correct.correct(tmp_path / "part", corrections)
        except KeyboardInterrupt:
            writes = 99
            correct.correct(tmp_path / "part", corrections)
        assert contents(tmp_path / "part") == contents(tmp_path / "whole")
        shutil.rmtree(tmp_path / "part")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (moved("b", 9000), "line 3: z_mm=9000 is outside of the scan's slices"),
        (moved("x", 400), "line 3: .* has no scan 'x'; take the corrections"),
        (moved("broken", 400), "line 3: the scan 'broken' has failed"),
        (moved("a", 400), "line 3: the scan 'a' is there twice"),
    ],
)
def test_nothing_is_written_if_one_line_is_wrong(out, tmp_path, row, message):
    before = contents(out)
    path = write(tmp_path / "c.csv", moved("a", L2_MM), row)
    with pytest.raises(DataError, match=message):
        correct.correct(out, path)
    assert contents(out) == before


def test_other_folders_and_own_files_are_refused(out, corrections, tmp_path):
    with pytest.raises(DataError, match=r"results\.csv cannot be read"):
        correct.correct(tmp_path / "nowhere", corrections)
    (out / "a.sr.dcm").write_text("mine")  # The results have no DICOM files.
    correct.correct(out, corrections)
    assert (out / "a.sr.dcm").read_text() == "mine"
    manifest = out / ".written"
    manifest.write_text(manifest.read_text().replace('"a.mrk.json"', '"other"'))
    with pytest.raises(WorkdirError, match=r"holds a\.mrk\.json, which no run wrote"):
        correct.correct(out, corrections)
    (out / "a.json").unlink()
    with pytest.raises(DataError, match=r"a\.json is missing.*predict again"):
        correct.correct(out, corrections)


@pytest.fixture
def dicom_out(tmp_path):
    """Results with DICOM files, and their scan."""
    pytest.importorskip("highdicom", reason="highdicom is not installed")
    reviewed.write_slices(tmp_path / "scan")
    answers = {"a": reviewed.find(), "none": reviewed.find(0.01)}
    reviewed.make(tmp_path / "out", answers, tmp_path / "scan", dicom=True)
    return tmp_path / "out"


def test_the_slice_and_the_report_are_those_of_the_correction(dicom_out, tmp_path):
    from highdicom import sr

    path = write(tmp_path / "c.csv", moved("a", L2_MM), moved("none", 400))
    done = correct.correct(dicom_out, path)
    assert done.not_made == {}
    index = int(np.abs(SLICES_MM - L2_MM).argmin())
    source = (tmp_path / "scan" / f"IM{index:04d}").read_bytes()
    assert (dicom_out / "a.dcm").read_bytes() == source
    report = sr.srread(dicom_out / "a.sr.dcm")
    groups = report.content.get_image_measurement_groups()
    found = {}
    for group in groups:
        (z,) = group.get_measurements(codes.DCM.ImagePositionPatientZ)
        found[group.finding_type.meaning] = float(z.value), group.source_images
    z_mm, images = next(v for k, v in found.items() if k.startswith("L3"))
    assert z_mm == L2_MM
    (reference,) = images[0].ReferencedSOPSequence
    assert reference.ReferencedSOPInstanceUID == f"1.2.{index}"
    persons = [
        str(item.PersonName)
        for item in report.ContentSequence
        if item.ValueType == "PNAME"
    ]
    assert persons == ["me^"]
    assert report.VerificationFlag == "UNVERIFIED"
    assert (dicom_out / "none.dcm").exists()
    before = contents(dicom_out)
    correct.correct(dicom_out, path)
    assert contents(dicom_out) == before
    path = write(tmp_path / "c.csv", ("a", "", "L3", "", "not in view", ""))
    correct.correct(dicom_out, path)
    assert not (dicom_out / "a.dcm").exists()
    assert not (dicom_out / "a.sr.dcm").exists()


def test_files_of_scans_that_are_gone_are_counted(dicom_out, tmp_path):
    shutil.rmtree(tmp_path / "scan")
    path = write(tmp_path / "c.csv", moved("a", L2_MM))
    arguments = ["--results", dicom_out, "--corrections", path]
    done = program.call("l3spot.correct", *arguments)
    assert done.returncode == 0, done.stderr
    assert "1 scan reviewed (1 moved)" in done.stdout
    assert "2 DICOM files were not made" in done.stdout
    assert "is not there any more; restore the scan" in done.stdout
    assert not (dicom_out / "a.dcm").exists()
    reviewed.write_slices(tmp_path / "scan")  # The next run makes them.
    done = program.call("l3spot.correct", *arguments)
    assert "not made" not in done.stdout
    assert pydicom.dcmread(dicom_out / "a.dcm").SOPInstanceUID.startswith("1.2.")


def test_corrections_are_labels_of_evaluate(out, corrections):
    """The scan that the reader cannot tell is left out."""
    for _ in range(2):  # Before and after the correction of the results.
        errors = evaluate.evaluate(out / "results.csv", corrections).errors
        assert (errors["scans"], errors["compared"]) == (2, 1)
        assert errors["mean_mm"] == pytest.approx(L2_MM - L3_MM, abs=0.01)
        assert errors["false_alarms"] == 0
        correct.correct(out, corrections)


def test_corrections_are_labels_of_project_with_names_of_any_bytes(tmp_path):
    z_mm = 70.0
    odd = ODD.replace("\n", "")  # runs.project reads its table by lines.
    given = {"a": moved("a", z_mm), odd: moved(odd, z_mm + 3)}
    given["absent"] = ("absent", "", "L3", "", "not in view", "")
    given["unsure"] = ("unsure", "", "L3", "", "cannot tell", "")
    for name in given:
        runs.scan(tmp_path / "scans" / name)
    path = write(tmp_path / "corrections.csv", *given.values())
    run = runs.project(tmp_path / "scans", tmp_path / "mips", "--labels", path)
    assert run.done.returncode == 0, run.done.stderr
    rows = run.rows
    assert (rows["a"]["label"], float(rows["a"]["l3_mm"])) == ("in view", z_mm)
    assert float(rows[f"'{odd}"]["l3_mm"]) == z_mm + 3
    assert rows["absent"]["label"] == "not in view"
    assert rows["unsure"]["label"] == ""


def test_the_review_of_another_vertebra_is_no_label_of_l3(out, tmp_path):
    path = write(tmp_path / "c.csv", ("a", 70, "L1", "", "moved", ""))
    runs.scan(tmp_path / "scans" / "a")
    run = runs.project(tmp_path / "scans", tmp_path / "mips", "--labels", path)
    assert run.done.returncode == 1
    assert "level='L1', but labels are of L3" in run.rows["a"]["why"]
    with pytest.raises(DataError, match="it is a review of L1, but the results are of"):
        evaluate.evaluate(out / "results.csv", path)


def test_other_labels_may_have_a_column_level_of_their_own(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("scan,z_mm,level\na,3,high\n")
    assert csv_labels.read(path)["a"].level == ""
