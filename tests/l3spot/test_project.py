"""The launcher of projections, on folders as users have them."""

import csv
import io
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from l3spot import project
from l3spot.projections import (
    dataset_layouts,
    export,
    listing,
    montage,
    process_pool,
    reader,
)
from mtl.host.errors import DataError, WorkdirError
from tests.conftest import ROOT
from tests.l3spot import series as write
from tests.l3spot.test_projection import MM, PLANES, STEP, Z0, images, naive, trunk


@pytest.fixture
def scans(tmp_path):
    """A folder, a zip file, one with too few planes, one with no DICOM file."""
    root = tmp_path / "scans"
    write.write(root / "a" / "deep", images(trunk()))
    with zipfile.ZipFile(root / "b.zip", "w") as archive:
        for i, ds in enumerate(images(trunk())):
            archive.writestr(str(i), write.content(ds))
    write.write(root / "few", images(trunk())[:3])
    (root / "none").mkdir()
    return root


def rows(out):
    return list(csv.DictReader((out / "report.csv").read_text().splitlines()))


def test_each_scan_is_projected_or_says_why_not(scans, tmp_path):
    out = tmp_path / "out"
    project.project(scans, out, row=STEP, column=MM)
    found = {r["scan"]: r for r in rows(out)}
    assert {k: r["status"] for k, r in found.items()} == {
        "a": "projected", "b.zip": "projected", "few": "rejected", "none": "rejected",
    }  # fmt: skip
    assert "3 planes are too few" in found["few"]["why"]
    assert "holds no DICOM file" in found["none"]["why"]
    assert found["a"]["planes"] == str(PLANES)
    assert (float(found["a"]["low_mm"]), float(found["a"]["step_mm"])) == (Z0, STEP)
    for name, first in (("a", "deep/IM0000"), ("b.zip", "0")):
        with np.load(out / f"{name}.npz") as a:
            frontal, _ = naive(trunk())
            np.testing.assert_array_equal(a["frontal"][:, 12:68], frontal[:, 12:68])
            # From a row to the file that it came from.
            plane = a["nearest"][len(a["z"]) - 1]
            assert a["plane_z"][plane] == Z0
            assert a["plane_file"][plane] == first
            assert a["plane_sop"][plane].startswith("1.2.3.4.")
    assert (out / "montage.png").read_bytes()[:4] == b"\x89PNG"


def test_nothing_of_the_patient_is_written(scans, tmp_path, capsys, caplog):
    """All that names one is in the headers, and in no file, table or message."""
    who = dict(PatientName="Doe^Jane", PatientID="secret-1", AccessionNumber="secret-2",
               OtherPatientIDs="secret-3", PatientBirthDate="19610807",
               PatientBirthName="Roe", ReferringPhysicianName="House^Gregory",
               InstitutionName="secret-4")  # fmt: skip
    for name, other in (("whole", "secret-1"), ("two", "secret-5")):
        write.write(scans / name / "1", images(trunk(), **who))
        who2 = who | {"PatientID": other, "SeriesInstanceUID": "1.9"}
        write.write(scans / name / "2", images(trunk()[:12], **who2))
    out = tmp_path / "out"
    project.project(scans, out, workers=1)
    told = [listing.table(c) for c in dataset_layouts.find(scans, "folders")]
    output = capsys.readouterr()
    texts = [*told, output.out, output.err, caplog.text]
    contents = [p.read_bytes() for p in sorted(out.rglob("*"))]
    assert len(contents) > 8
    for content in (*contents, *(t.encode() for t in texts)):
        for secret in ("Doe", "Roe", "House", "secret", "19610807"):
            assert secret.encode() not in content
            assert secret.encode("utf-32-le") not in content  # As NumPy keeps text.


def test_what_is_there_is_not_read_again(scans, tmp_path, monkeypatch):
    out, read = tmp_path / "out", []
    first = project.project(scans, out, workers=1)
    whole = export.scan.read
    monkeypatch.setattr(
        export.scan, "read", lambda p, n: read.append(p.name) or whole(p, n)
    )
    again = project.project(scans, out, workers=1)
    assert read == ["few", "none"]  # What was rejected may have been mended.
    assert again[:2] == first[:2]


def test_a_scan_that_changed_is_projected_again(tmp_path):
    scans, out = tmp_path / "scans", tmp_path / "out"
    for name in "ab":
        write.write(scans / name / "deep", images(trunk())[:20])
    first = project.project(scans, out, workers=1)
    write.write(scans / "b" / "deep", images(trunk()))
    second = project.project(scans, out, workers=1)
    assert [r["planes"] for r in first] == [20, 20]
    assert [r["planes"] for r in second] == [20, PLANES]
    assert second[0] == first[0]  # With the seconds that it took.
    with np.load(out / "b.npz") as b:
        assert len(b["plane_z"]) == PLANES


def test_scans_of_another_folder_take_the_place_of_others(scans, tmp_path):
    """Of those with the same name; the rest is no longer among the examples."""
    out = tmp_path / "out"
    project.project(scans, out, workers=1)
    write.write(tmp_path / "more" / "a" / "deep", images(trunk())[4:])
    (row,) = project.project(tmp_path / "more", out, workers=1)
    assert (row["planes"], row["low_mm"]) == (PLANES - 4, Z0 + 4 * STEP)
    assert (out / "b.zip.npz").exists()
    assert [(e.id, e.z[-1]) for e in reader.load(out)] == [("a", Z0 + 4 * STEP)]


@pytest.mark.parametrize("harm", ["no npz", "cut npz", "npz of noise", "cut json"])
def test_a_result_that_is_missing_or_broken_is_made_again(scans, tmp_path, harm):
    out = tmp_path / "out"
    project.project(scans, out, workers=1)
    arrays, table = out / "a.npz", out / "a.json"
    whole = arrays.read_bytes()
    if harm == "no npz":
        arrays.unlink()
    elif harm == "cut json":
        table.write_bytes(table.read_bytes()[:-20])
    else:
        cut = whole[: len(whole) // 2]
        arrays.write_bytes(cut if harm == "cut npz" else cut + bytes(len(cut)))
    report = project.project(scans, out, workers=1)
    assert [r["status"] for r in report[:2]] == ["projected"] * 2
    assert arrays.read_bytes() == whole
    assert [e.id for e in reader.load(out)] == ["a", "b.zip"]


def test_a_projection_of_one_row_or_column_is_refused(scans, tmp_path):
    for name, way in (("r", {"row": 100}), ("c", {"column": 500})):
        report = project.project(scans, tmp_path / name, workers=1, **way)
        assert report[0]["status"] == "rejected"
        assert "take smaller ones" in report[0]["why"]
        assert not (tmp_path / name / "a.npz").exists()


def test_a_scan_that_cannot_be_read_does_not_end_the_run(scans, tmp_path, monkeypatch):
    whole = os.scandir

    def scandir(path="."):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(os, "scandir", scandir)
    report = project.project(scans, tmp_path / "out", workers=1)
    assert [r["status"] for r in report[:2]] == ["rejected", "projected"]
    assert "a cannot be read ([Errno 13] Permission denied" in report[0]["why"]


def test_a_scan_that_cannot_be_read_is_listed_with_why(scans, monkeypatch):
    def closed(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(listing.scan, "read", closed)
    told = listing.table(dataset_layouts.Case("a", scans / "a"))
    assert "a cannot be read ([Errno 13] Permission denied" in told


def test_a_report_that_someone_changed(scans, tmp_path):
    project.project(scans, tmp_path / "out", workers=1)
    (tmp_path / "out" / "report.csv").write_text("scan;status\na;projected\n")
    with pytest.raises(DataError, match=r"report\.csv is no report of l3spot"):
        reader.load(tmp_path / "out")


def test_another_way_needs_another_folder(scans, tmp_path):
    project.project(scans, tmp_path / "out")
    with pytest.raises(WorkdirError, match="was made with"):
        project.project(scans, tmp_path / "out", row=2.0)
    with pytest.raises(WorkdirError, match="lies in"):
        project.project(scans, scans / "out")


def test_a_folder_of_dicom_files_is_one_scan(tmp_path):
    write.write(tmp_path / "scan", images(trunk()))
    found = dataset_layouts.find(tmp_path / "scan", "folders")
    assert [(c.name, c.path) for c in found] == [("scan", tmp_path / "scan")]


@pytest.mark.parametrize("name", ["b.zip", "frames"])
def test_a_single_file_is_a_scan(scans, tmp_path, name):
    """A zip file of a series, or one of many frames."""
    if name == "frames":
        made = write.content(write.merged(images(trunk()), True))
        (scans / name).write_bytes(made)
    path = scans / name
    assert dataset_layouts.detect(path) == "folders"
    (row,) = project.project(path, tmp_path / "out", row=STEP, column=MM, workers=1)
    assert (row["scan"], row["status"]) == (name, "projected")
    with np.load(tmp_path / "out" / f"{name}.npz") as a:
        frontal, _ = naive(trunk())
        np.testing.assert_array_equal(a["frontal"][:, 12:68], frontal[:, 12:68])
        assert a["plane_file"][0] == ("0" if name == "b.zip" else "frames")


def test_folders_that_are_no_use(tmp_path):
    with pytest.raises(DataError, match="is no folder"):
        dataset_layouts.detect(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no folder"):
        dataset_layouts.find(tmp_path, dataset_layouts.detect(tmp_path))


def test_labels_of_ones_own(scans, tmp_path, caplog):
    table, out = tmp_path / "labels.csv", tmp_path / "out"
    table.write_text("scan,z_mm\na,70\nb,\nfew,50\ngone,1\n")
    report = project.project(scans, out, labels_csv=table, label_offset=5, workers=2)
    assert "1 labels are of no scan" in caplog.text
    assert "gone" in caplog.text
    found = {r["scan"]: (r["status"], r["label"], r["l3_mm"]) for r in report}
    assert found == {
        "a": ("projected", "in view", 75.0),
        "b.zip": ("projected", "not in view", ""),
        "few": ("rejected", "", ""),
        "none": ("rejected", "", ""),
    }
    with np.load(out / "a.npz") as a, np.load(out / "b.zip.npz") as b:
        assert a["l3_z"] == 75
        assert a["z"][report[0]["l3_row"]] == 75
        assert np.isnan(b["l3_z"])
    first, second = reader.load(out)
    assert (first.id, first.label, first.l3_z) == ("a", "in view", 75.0)
    assert (second.id, second.label) == ("b.zip", "not in view")


def test_a_short_name_must_be_that_of_one_scan(scans, tmp_path, caplog):
    """Of a and a.zip, a is the first; of c.nii and c.zip, c is neither."""
    for name in ("a.zip", "c.nii", "c.zip"):
        (scans / name).write_text("broken")
    table = tmp_path / "labels.csv"
    table.write_text("scan,z_mm\na,70\nc,70\nb,72\n")
    report = project.project(scans, tmp_path / "out", labels_csv=table, workers=1)
    assert {r["scan"]: r["label_source"] for r in report if r["label_source"]} == {
        "a": "z_mm=70",
        "b.zip": "z_mm=72",
    }
    assert "1 labels are of no scan" in caplog.text


def test_a_label_that_changed_is_put_right(scans, tmp_path):
    """And a scan whose label no longer fits is left out of the examples."""
    table, out = tmp_path / "labels.csv", tmp_path / "out"
    table.write_text("scan,z_mm\na,70\nb,70\n")
    first = project.project(scans, out, labels_csv=table, workers=1)
    table.write_text("scan,z_mm\na,70\nb,72.5\n")
    second = project.project(scans, out, labels_csv=table, workers=1)
    assert second[0] == first[0]  # With the seconds that it took.
    assert [e.l3_z for e in reader.load(out)] == [70, 72.5]
    table.write_text("scan,z_mm\na,70\nb,2000\n")
    third = project.project(scans, out, labels_csv=table, workers=1)
    assert third[1]["status"] == "rejected"
    assert "labels.csv, line 3: L3 at z = 2000.0 mm" in third[1]["why"]
    assert [e.id for e in reader.load(out)] == ["a"]


def test_bad_labels_are_told_before_anything_is_projected(scans, tmp_path):
    (tmp_path / "labels.csv").write_text("scan,z_mm\na,high\n")
    with pytest.raises(DataError, match="line 2"):
        project.project(scans, tmp_path / "out", labels_csv=tmp_path / "labels.csv")
    assert not (tmp_path / "out").exists()
    with pytest.raises(DataError, match="is for --labels"):
        project.project(scans, tmp_path / "out", label_offset=3)


def test_hu_outside_of_low_and_high_are_clipped(scans, tmp_path):
    project.project(scans, tmp_path / "out", low=100, high=400, workers=1)
    (one, _) = reader.load(tmp_path / "out")
    assert (one.frontal.min(), one.frontal.max()) == (100, 400)
    with pytest.raises(DataError, match="--low=5 must be below --high=5"):
        project.project(scans, tmp_path / "other", low=5, high=5)


def test_a_process_that_is_killed_loses_one_scan(scans, tmp_path, monkeypatch):
    """The others are projected, and the reason is told."""
    killed = process_pool.DiedError("its process ended with -9")

    def each(work, items, workers):
        for number, job in enumerate(items):
            yield number, killed if job.case.name == "a" else work(job)

    monkeypatch.setattr(project.process_pool, "each", each)
    report = project.project(scans, tmp_path / "out")
    assert [r["status"] for r in report[:2]] == ["rejected", "projected"]
    assert report[0]["why"] == (
        "its process ended with -9; try --workers=1, or more memory"
    )


def test_processes_give_what_one_gives(scans, tmp_path):
    one = project.project(scans, tmp_path / "one", workers=1)
    two = project.project(scans, tmp_path / "two", workers=2)
    keys = [k for k in export.COLUMNS if k != "seconds"]
    assert [[r[k] for k in keys] for r in one] == [[r[k] for k in keys] for r in two]
    for path in (tmp_path / "one").glob("*.npz"):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_each_volume_has_a_row(scans, tmp_path):
    """A shorter series and a scout beside the projected one; kept for the next run."""
    short = images(trunk(), SeriesInstanceUID="1.9")[:12]
    write.write(scans / "a" / "short", short)
    write.write(scans / "a" / "scout", images(trunk(), SeriesInstanceUID="1.8")[:2])
    for _ in range(2):
        project.project(scans, tmp_path / "out", workers=1)
        found = [r for r in rows(tmp_path / "out") if r["scan"] == "a"]
        told = [(r["status"], r["series"], r["planes"], r["why"]) for r in found]
        assert told == [
            ("projected", "1.2.3.4", str(PLANES), ""),
            ("left out", "1.9", "12", "covers less"),
            (
                *("left out", "1.8", "2"),
                "2 planes are too few for a volume; a localizer, maybe",
            ),
        ]
        assert float(found[1]["high_mm"]) == Z0 + 11 * STEP
    assert [e.id for e in reader.load(tmp_path / "out")] == ["a", "b.zip"]


def test_volumes_of_a_scan_that_is_rejected_have_rows(tmp_path):
    write.write(tmp_path / "scans" / "a" / "1", images(trunk()))
    other = images(trunk(), PatientID="other", SeriesInstanceUID="1.9")
    write.write(tmp_path / "scans" / "a" / "2", other)
    found = project.project(tmp_path / "scans", tmp_path / "out", workers=1)
    assert [r["status"] for r in found] == ["rejected", "left out", "left out"]
    assert "scans of 2 patients" in found[0]["why"]
    assert {r["series"] for r in found[1:]} == {"1.2.3.4", "1.9"}


# The list of volumes


def test_all_volumes_are_listed_with_why(scans):
    write.write(scans / "a" / "short", images(trunk(), SeriesInstanceUID="1.9")[:12])
    listed = listing.table(dataset_layouts.Case("a", scans / "a")).splitlines()
    assert listed[0] == "a"
    assert listed[2].split() == ["1.2.3.4", "24", "3.00", "72", "chosen"]
    assert listed[3].split() == ["1.9", "12", "3.00", "36", "covers", "less"]
    listed = listing.table(dataset_layouts.Case("a", scans / "a"), "1.9").splitlines()
    assert listed[2].endswith("not the series that is asked for")
    assert listed[3].endswith("chosen")
    listed = listing.table(dataset_layouts.Case("few", scans / "few"))
    assert "none is chosen" in listed
    assert "no volume: 3 planes are too few" in listed


def test_the_chosen_volume_is_listed_as_such_beside_a_broken_file(scans):
    broken = scans / "a" / "deep" / "IM0003"
    broken.write_bytes(broken.read_bytes()[:200])
    listed = listing.table(dataset_layouts.Case("a", scans / "a")).splitlines()
    assert "chosen; planes are missing in 1 places" in listed[2]
    assert "not read" in listed[3]


def test_the_launcher_lists_without_out(scans):
    done = launched("--scans", str(scans), "--list")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("chosen") == 4  # Two of them: none is.
    assert done.stdout.endswith("4 scans, folders; mm\n")
    assert "--out must be given" in launched("--scans", str(scans)).stderr


# The montage


def test_the_montage_has_pages_and_a_line_at_l3(tmp_path, monkeypatch):
    monkeypatch.setattr(montage, "PAGE", 2)
    z, x = np.arange(100.0, -1, -1), np.arange(51.0)
    shown = {}
    for i, l3 in enumerate((25.0, np.nan, 50.0)):
        path = tmp_path / f"{i}.npz"
        np.savez(path, frontal=np.zeros((101, 51), np.int16), z=z, x=x, l3_z=l3)
        shown[str(i)] = path, "told"
    first, second = montage.pages(shown)
    sheet = np.asarray(Image.open(io.BytesIO(first)))
    assert sheet.shape == (montage.SIDE + montage.LINE, 2 * montage.SIDE, 3)
    line = (sheet[montage.LINE :] == montage.COLOUR).all(axis=2)
    (at,) = np.flatnonzero(line[:, : montage.SIDE].any(axis=1))
    assert abs(at - 0.75 * 253) <= 1
    assert not line[:, montage.SIDE :].any()
    assert np.asarray(Image.open(io.BytesIO(second))).shape[1] == montage.SIDE


def launched(*arguments):
    command = [sys.executable, "-m", "l3spot.project", *arguments]
    env = os.environ | {"JAX_PLATFORMS": "cpu"}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=env)


def test_the_launcher_tells_what_failed(scans, tmp_path):
    done = launched("--scans", str(scans), "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "2 of 4 scans were rejected" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(rows(tmp_path / "out")) == 4
