"""The launcher of projections, on folders with scans of several kinds."""

import csv
import io
import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from l3spot import project
from l3spot.projections import (
    dataset_layouts,
    export,
    montage,
    process_pool,
    projection_files,
    volume_table,
)
from mtl.host.errors import DataError, WorkdirError
from tests import program
from tests.l3spot import series as write
from tests.l3spot.trunk import MM, SLICES, STEP, Z0, images, naive, trunk


@pytest.fixture
def scans(tmp_path):
    """Returns scans: a folder, a zip file, too few slices, and no DICOM file."""
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


def test_each_scan_is_projected_or_rejected_with_the_reason(scans, tmp_path):
    out = tmp_path / "out"
    project.project(scans, out, row=STEP, column=MM)
    result = {r["scan"]: r for r in rows(out)}
    assert {k: r["status"] for k, r in result.items()} == {
        "a": "projected", "b.zip": "projected", "few": "rejected", "none": "rejected",
    }  # fmt: skip
    assert "3 slices are too few" in result["few"]["why"]
    assert "holds no DICOM file" in result["none"]["why"]
    assert result["a"]["planes"] == str(SLICES)
    assert (float(result["a"]["low_mm"]), float(result["a"]["step_mm"])) == (Z0, STEP)
    for name, first in (("a", "deep/IM0000"), ("b.zip", "0")):
        with np.load(out / f"{name}.npz") as a:
            frontal, _ = naive(trunk())
            np.testing.assert_array_equal(a["frontal"][:, 12:68], frontal[:, 12:68])
            # A row leads to its source file.
            index = a["nearest"][len(a["z"]) - 1]
            assert a["plane_z"][index] == Z0
            assert a["plane_file"][index] == first
            assert a["plane_sop"][index].startswith("1.2.3.4.")
    assert (out / "montage.png").read_bytes()[:4] == b"\x89PNG"


def test_nothing_of_the_patient_is_written(scans, tmp_path, capsys, caplog):
    """No output file, table or message holds the patient data of the headers."""
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
    tables = [volume_table.table(c) for c in dataset_layouts.find(scans, "folders")]
    output = capsys.readouterr()
    texts = [*tables, output.out, output.err, caplog.text]
    contents = [p.read_bytes() for p in sorted(out.rglob("*"))]
    assert len(contents) > 8
    for content in (*contents, *(t.encode() for t in texts)):
        for secret in ("Doe", "Roe", "House", "secret", "19610807"):
            assert secret.encode() not in content
            # NumPy encodes texts as UTF-32.
            assert secret.encode("utf-32-le") not in content


def test_projected_scans_are_not_read_again(scans, tmp_path, monkeypatch):
    out, read = tmp_path / "out", []
    first = project.project(scans, out, workers=1)
    whole = export.scan.read
    monkeypatch.setattr(
        export.scan, "read", lambda p, *a: read.append(p.name) or whole(p, *a)
    )
    again = project.project(scans, out, workers=1)
    assert read == ["few", "none"]  # Rejected scans may have been repaired.
    assert again[:2] == first[:2]


def test_a_changed_scan_is_projected_again(tmp_path):
    scans, out = tmp_path / "scans", tmp_path / "out"
    for name in "ab":
        write.write(scans / name / "deep", images(trunk())[:20])
    first = project.project(scans, out, workers=1)
    write.write(scans / "b" / "deep", images(trunk()))
    second = project.project(scans, out, workers=1)
    assert [row.planes for row in first] == [20, 20]
    assert [row.planes for row in second] == [20, SLICES]
    assert second[0] == first[0]  # Including the time of the first run.
    with np.load(out / "b.npz") as b:
        assert len(b["plane_z"]) == SLICES


def test_scans_of_another_folder_replace_those_with_equal_names(scans, tmp_path):
    """Scans of the first folder are no longer loaded."""
    out = tmp_path / "out"
    project.project(scans, out, workers=1)
    write.write(tmp_path / "more" / "a" / "deep", images(trunk())[4:])
    (row,) = project.project(tmp_path / "more", out, workers=1)
    assert (row.planes, row.low_mm) == (SLICES - 4, Z0 + 4 * STEP)
    assert (out / "b.zip.npz").exists()
    assert [(e.id, e.z[-1]) for e in projection_files.load(out)] == [
        ("a", Z0 + 4 * STEP)
    ]


@pytest.mark.parametrize("harm", ["no npz", "cut npz", "npz of noise", "cut json"])
def test_a_missing_or_broken_result_is_made_again(scans, tmp_path, harm):
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
    assert [row.status for row in report[:2]] == ["projected"] * 2
    assert arrays.read_bytes() == whole
    assert [e.id for e in projection_files.load(out)] == ["a", "b.zip"]


def test_a_projection_of_one_row_or_column_is_refused(scans, tmp_path):
    for name, way in (("r", {"row": 100}), ("c", {"column": 500})):
        report = project.project(scans, tmp_path / name, workers=1, **way)
        assert report[0].status == "rejected"
        assert "take smaller ones" in report[0].why
        assert not (tmp_path / name / "a.npz").exists()


def test_an_unreadable_scan_does_not_end_the_run(scans, tmp_path, monkeypatch):
    whole = os.scandir

    def scandir(path="."):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(os, "scandir", scandir)
    report = project.project(scans, tmp_path / "out", workers=1)
    assert [row.status for row in report[:2]] == ["rejected", "projected"]
    assert "deep cannot be read (Permission denied)" in report[0].why


def test_an_unreadable_scan_is_listed_with_the_reason(scans, monkeypatch):
    def closed(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(volume_table.scan, "read", closed)
    table = volume_table.table(dataset_layouts.Case("a", scans / "a"))
    assert "a cannot be read ([Errno 13] Permission denied" in table


def test_a_changed_report_is_refused(scans, tmp_path):
    project.project(scans, tmp_path / "out", workers=1)
    (tmp_path / "out" / "report.csv").write_text("name;status\na;projected\n")
    with pytest.raises(DataError, match=r"report\.csv is no report of l3spot"):
        projection_files.load(tmp_path / "out")


def test_other_options_need_another_folder(scans, tmp_path):
    project.project(scans, tmp_path / "out")
    with pytest.raises(WorkdirError, match="was made with"):
        project.project(scans, tmp_path / "out", row=2.0)
    with pytest.raises(WorkdirError, match="lies in"):
        project.project(scans, scans / "out")


def test_a_folder_of_dicom_files_is_one_scan(tmp_path):
    write.write(tmp_path / "scan", images(trunk()))
    result = dataset_layouts.find(tmp_path / "scan", "folders")
    assert [(c.name, c.path) for c in result] == [("scan", tmp_path / "scan")]


@pytest.mark.parametrize("name", ["b.zip", "frames"])
def test_a_single_file_is_a_scan(scans, tmp_path, name):
    """The file is a zip file of a series, or has many frames."""
    if name == "frames":
        made = write.content(write.merged(images(trunk()), True))
        (scans / name).write_bytes(made)
    path = scans / name
    assert dataset_layouts.detect(path) == "folders"
    (row,) = project.project(path, tmp_path / "out", row=STEP, column=MM, workers=1)
    assert (row.scan, row.status) == (name, "projected")
    with np.load(tmp_path / "out" / f"{name}.npz") as a:
        frontal, _ = naive(trunk())
        np.testing.assert_array_equal(a["frontal"][:, 12:68], frontal[:, 12:68])
        assert a["plane_file"][0] == ("0" if name == "b.zip" else "frames")


def test_folders_without_scans_are_refused(tmp_path):
    with pytest.raises(DataError, match="is no folder"):
        dataset_layouts.detect(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no folder"):
        dataset_layouts.find(tmp_path, dataset_layouts.detect(tmp_path))


def test_a_csv_gives_labels(scans, tmp_path, caplog):
    table, out = tmp_path / "labels.csv", tmp_path / "out"
    table.write_text("scan,z_mm\na,70\nb,\nfew,50\ngone,1\n")
    report = project.project(scans, out, labels_csv=table, label_offset=5, workers=2)
    assert "1 label fits no scan" in caplog.text
    assert "gone" in caplog.text
    result = {row.scan: (row.status, row.label, row.l3_mm) for row in report}
    assert result == {
        "a": ("projected", "in view", 75.0),
        "b.zip": ("projected", "not in view", None),
        "few": ("rejected", "", None),
        "none": ("rejected", "", None),
    }
    with np.load(out / "a.npz") as a, np.load(out / "b.zip.npz") as b:
        assert a["l3_z"] == 75
        assert a["z"][report[0].l3_row] == 75
        assert np.isnan(b["l3_z"])
    first, second = projection_files.load(out)
    assert (first.id, first.label, first.l3_z) == ("a", "in view", 75.0)
    assert (second.id, second.label) == ("b.zip", "not in view")


def test_a_name_without_suffix_must_fit_one_scan(scans, tmp_path, caplog):
    """The name a is that of the folder, not of a.zip; c fits both c.nii and c.zip."""
    for name in ("a.zip", "c.nii", "c.zip"):
        (scans / name).write_text("broken")
    table = tmp_path / "labels.csv"
    table.write_text("scan,z_mm\na,70\nc,70\nb,72\n")
    report = project.project(scans, tmp_path / "out", labels_csv=table, workers=1)
    assert {row.scan: row.label_source for row in report if row.label_source} == {
        "a": "z_mm=70",
        "b.zip": "z_mm=72",
    }
    assert "1 label fits no scan" in caplog.text


def test_scans_with_changed_labels_are_projected_again(scans, tmp_path):
    """A scan is no longer loaded if its label no longer fits."""
    table, out = tmp_path / "labels.csv", tmp_path / "out"
    table.write_text("scan,z_mm\na,70\nb,70\n")
    first = project.project(scans, out, labels_csv=table, workers=1)
    table.write_text("scan,z_mm\na,70\nb,72.5\n")
    second = project.project(scans, out, labels_csv=table, workers=1)
    assert second[0] == first[0]  # Including the time of the first run.
    assert [e.l3_z for e in projection_files.load(out)] == [70, 72.5]
    table.write_text("scan,z_mm\na,70\nb,2000\n")
    third = project.project(scans, out, labels_csv=table, workers=1)
    assert third[1].status == "rejected"
    assert "labels.csv, line 3: L3 at z = 2000.0 mm" in third[1].why
    assert [e.id for e in projection_files.load(out)] == ["a"]


def test_invalid_labels_are_refused_before_projecting(scans, tmp_path):
    (tmp_path / "labels.csv").write_text("scan,z_mm\na,high\n")
    with pytest.raises(DataError, match="line 2"):
        project.project(scans, tmp_path / "out", labels_csv=tmp_path / "labels.csv")
    assert not (tmp_path / "out").exists()
    with pytest.raises(DataError, match="is for --labels"):
        project.project(scans, tmp_path / "out", label_offset=3)


def test_hu_outside_of_low_and_high_are_clipped(scans, tmp_path):
    project.project(scans, tmp_path / "out", low=100, high=400, workers=1)
    (one, _) = projection_files.load(tmp_path / "out")
    assert (one.frontal.min(), one.frontal.max()) == (100, 400)
    with pytest.raises(DataError, match="--low=5 must be below --high=5"):
        project.project(scans, tmp_path / "other", low=5, high=5)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (process_pool.ProcessDiedError("its process ended with -9"),) * 2,
        (MemoryError(), "no memory"),
    ],
)
def test_a_killed_process_loses_one_scan(scans, tmp_path, monkeypatch, error, reason):
    """The other scans are projected, and the report gives the reason."""

    def each(work, items, workers):
        for number, job in enumerate(items):
            yield number, error if job.case.name == "a" else work(job)

    monkeypatch.setattr(project.process_pool, "map_unordered", each)
    report = project.project(scans, tmp_path / "out")
    assert [row.status for row in report[:2]] == ["rejected", "projected"]
    assert report[0].why == f"{reason}; try --workers=1, or more memory"


def test_two_processes_give_the_results_of_one(scans, tmp_path):
    one = project.project(scans, tmp_path / "one", workers=1)
    two = project.project(scans, tmp_path / "two", workers=2)
    assert [r._replace(seconds=0) for r in one] == [r._replace(seconds=0) for r in two]
    for path in (tmp_path / "one").glob("*.npz"):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_each_volume_has_a_row(scans, tmp_path):
    """A shorter series and a scout get rows, also after a second run."""
    short = images(trunk(), SeriesInstanceUID="1.9")[:12]
    write.write(scans / "a" / "short", short)
    write.write(scans / "a" / "scout", images(trunk(), SeriesInstanceUID="1.8")[:2])
    for _ in range(2):
        project.project(scans, tmp_path / "out", workers=1)
        result = [r for r in rows(tmp_path / "out") if r["scan"] == "a"]
        columns = [(r["status"], r["series"], r["planes"], r["why"]) for r in result]
        assert columns == [
            ("projected", "1.2.3.4", str(SLICES), ""),
            ("left out", "1.9", "12", "covers less"),
            (
                *("left out", "1.8", "2"),
                "2 slices are too few for a volume; it may be a localizer",
            ),
        ]
        assert float(result[1]["high_mm"]) == Z0 + 11 * STEP
    assert [e.id for e in projection_files.load(tmp_path / "out")] == ["a", "b.zip"]


def test_volumes_of_a_rejected_scan_have_rows(tmp_path):
    write.write(tmp_path / "scans" / "a" / "1", images(trunk()))
    other = images(trunk(), PatientID="other", SeriesInstanceUID="1.9")
    write.write(tmp_path / "scans" / "a" / "2", other)
    result = project.project(tmp_path / "scans", tmp_path / "out", workers=1)
    assert [row.status for row in result] == ["rejected", "left out", "left out"]
    assert "scans of 2 patients" in result[0].why
    assert {row.series for row in result[1:]} == {"1.2.3.4", "1.9"}


# The table of volumes


def test_all_volumes_are_listed_with_the_reason(scans):
    write.write(scans / "a" / "short", images(trunk(), SeriesInstanceUID="1.9")[:12])
    listed = volume_table.table(dataset_layouts.Case("a", scans / "a")).splitlines()
    assert listed[0] == "a"
    assert listed[2].split() == ["1.2.3.4", "24", "3.00", "72", "chosen"]
    assert listed[3].split() == ["1.9", "12", "3.00", "36", "covers", "less"]
    listed = volume_table.table(
        dataset_layouts.Case("a", scans / "a"), "1.9"
    ).splitlines()
    assert listed[2].endswith("not the series that is asked for")
    assert listed[3].endswith("chosen")
    listed = volume_table.table(dataset_layouts.Case("few", scans / "few"))
    assert "none is chosen" in listed
    assert "no volume: 3 slices are too few" in listed


def test_the_chosen_volume_is_listed_beside_a_broken_file(scans):
    broken = scans / "a" / "deep" / "IM0003"
    broken.write_bytes(broken.read_bytes()[:200])
    listed = volume_table.table(dataset_layouts.Case("a", scans / "a")).splitlines()
    assert "chosen; slices are missing in 1 place" in listed[2]
    assert "not read" in listed[3]


def test_the_launcher_lists_without_out(scans):
    done = program.call("l3spot.project", "--scans", scans, "--list")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("chosen") == 4  # Two of them read "none is chosen".
    assert done.stdout.endswith("4 scans, folders; mm\n")
    assert (
        "--out must be given" in program.call("l3spot.project", "--scans", scans).stderr
    )


# The montage


def test_the_montage_has_pages_and_a_line_at_l3(tmp_path, monkeypatch):
    monkeypatch.setattr(montage, "PICTURES_PER_PAGE", 2)
    z, x = np.arange(100.0, -1, -1), np.arange(51.0)
    shown = {}
    for i, l3 in enumerate((25.0, np.nan, 50.0)):
        path = tmp_path / f"{i}.npz"
        np.savez(path, frontal=np.zeros((101, 51), np.int16), z=z, x=x, l3_z=l3)
        shown[str(i)] = path, "label"
    first, second = montage.pages(shown)
    sheet = np.asarray(Image.open(io.BytesIO(first)))
    assert sheet.shape == (
        montage.PICTURE_PX + montage.TEXT_PX,
        2 * montage.PICTURE_PX,
        3,
    )
    line = (sheet[montage.TEXT_PX :] == montage.LINE_COLOUR).all(axis=2)
    (at,) = np.flatnonzero(line[:, : montage.PICTURE_PX].any(axis=1))
    assert abs(at - 0.75 * 253) <= 1
    assert not line[:, montage.PICTURE_PX :].any()
    assert np.asarray(Image.open(io.BytesIO(second))).shape[1] == montage.PICTURE_PX


def test_the_launcher_reports_rejected_scans(scans, tmp_path):
    done = program.run("l3spot.project", "--scans", scans, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "2 of 4 scans were rejected" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(rows(tmp_path / "out")) == 4
