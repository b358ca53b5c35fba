"""A scan that cannot be used becomes a failed row, and the others are not affected."""

import os

import numpy as np
import pytest

from l3spot import predict
from l3spot.projections import names
from l3spot.report import predict_scan
from tests import program
from tests.l3spot import runs

NAMES = {
    "formula": "x$$y",
    "half a formula": "pat$1_$2",
    "broken formula": r"a$\frac{$b",
    "not UTF-8": os.fsdecode(b"Andr\xe9"),
    "too long with a suffix": "\u5f20" * 80,
    "too long, not UTF-8": os.fsdecode(b"\xe9" * 240),
    "Japanese": "\u5c71\u7530\u592a\u90ce",
    "Arabic": "\u0645\u062d\u0645\u062f",
    "with a line break": "a\nb",
    "with markup": '<b>"&amp;',
    "with a percent sign": "50%20#1?",
    "with braces": "{a}{{b}} {0}",
}


def test_any_name_of_a_folder_is_a_scan(tmp_path):
    scans, out, mips = tmp_path / "scans", tmp_path / "out", tmp_path / "mips"
    for name in NAMES.values():
        runs.scan(scans / name)
    stems = [names.file_stem(name) for name in NAMES.values()]
    run = runs.predict(scans, out)
    assert run.done.returncode == 0, run.done.stderr
    assert len(run.rows) == len(NAMES)
    for stem in stems:
        for suffix in predict_scan.SUFFIXES:
            assert (out / f"{stem}{suffix}").exists()
    assert (out / "index.html").read_text().count("<figure id") == len(NAMES)
    run = runs.project(scans, mips)
    assert run.done.returncode == 0, run.done.stderr
    assert all((mips / f"{stem}.npz").exists() for stem in stems)
    listed = program.run("l3spot.project", "--scans", scans, "--list")
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.count("chosen") == len(NAMES)


def test_pictures_have_no_boxes_for_letters_that_the_font_lacks():
    assert names.text("\u5c71\u7530") == ""
    assert names.text("\u0645\u062d") == ""
    assert names.text("M\u00fcller \u0396\u0416") == "M\u00fcller \u0396\u0416"
    assert names.text(os.fsdecode(b"Andr\xe9")) == "Andr?"
    assert len(names.text("x" * 300)) == names.MAX_TEXT_CHARACTERS


def test_files_of_a_scan_never_overwrite_those_of_another(tmp_path):
    scans = ("a", "a.mrk", "a.sr", "a.sc", "a.MRK")
    scans += ("a.review", "a.frontal", "a.sagittal")
    for name in scans:
        runs.scan(tmp_path / "scans" / name)
    run = runs.predict(tmp_path / "scans", tmp_path / "out")
    assert run.done.returncode == 0
    every = predict_scan.PredictOptions(copy_slice=True, dicom=True)
    files = [n for name in scans for n in predict_scan.file_names(name, every)]
    assert len({n.lower() for n in files}) == len(files)
    made = {p.name for p in (tmp_path / "out").iterdir()}
    assert len(made & set(files)) == len(predict_scan.SUFFIXES) * len(scans)


def unreadable(folder):
    """Makes entries that cannot be read, also by the administrator."""
    (folder / "dangling").symlink_to(folder / "nowhere")
    (folder / "dangling.nii.gz").symlink_to(folder / "nowhere.nii.gz")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "long").symlink_to("x" * 300)
    (folder / "long2").symlink_to("/".join(["x" * 200] * 10))


def test_entries_that_cannot_be_read_are_failed_scans(tmp_path, caplog):
    scans, out = tmp_path / "scans", tmp_path / "out"
    runs.scan(scans / "good")
    runs.scan(scans / "part")
    unreadable(scans)
    unreadable(scans / "part")
    os.mkfifo(scans / "part" / "pipe")  # Reading it would wait for ever.
    os.mkfifo(scans / "pipe")
    run = runs.predict(scans, out)
    assert run.done.returncode == 1
    assert "5 scans failed; results.csv says why:\n" in run.done.stderr
    assert f"\n  dangling: {scans}/dangling" in run.done.stderr
    again = runs.predict(scans, out)
    # A name that is too long for the system is tried again each time.
    said = "6 of 7 scans have a result (4 failed; --retry_failed works on these again)"
    assert said in caplog.text
    assert again.done.stderr == run.done.stderr
    bad = {"dangling", "dangling.nii.gz", "loop", "long", "long2"}
    assert {n for n, row in run.rows.items() if row["status"] == "failed"} == bad
    assert "does not exist" in run.rows["dangling"]["why"]
    assert "File name too long" in run.rows["long"]["why"]
    assert "5 files cannot be read" in run.rows["part"]["warnings"]
    assert run.rows["good"]["warnings"] == ""
    run = runs.project(scans, tmp_path / "mips")
    assert run.done.returncode == 1
    assert "5 of 7 scans were rejected" in run.done.stderr


@pytest.mark.parametrize("shut", ["", "deep"])
def test_a_folder_without_permission_is_one_failed_scan(tmp_path, monkeypatch, shut):
    """The system refuses, as it refuses all but root a folder without permissions."""
    scans = tmp_path / "scans"
    runs.scan(scans / "a" / "deep")
    runs.scan(scans / "b")
    whole, closed = os.scandir, scans / "a" / shut

    def scandir(path="."):
        if str(path) == str(closed):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(os, "scandir", scandir)
    for run, status in (
        (runs.predict(scans, tmp_path / "out"), "failed"),
        (runs.project(scans, tmp_path / "mips"), "rejected"),
    ):
        assert run.done.returncode == 1
        assert "1 " in run.done.stderr
        assert run.rows["a"]["status"] == status
        assert f"{closed} cannot be read (Permission denied)" in run.rows["a"]["why"]
        assert run.rows["b"]["status"] in ("found", "projected")


@pytest.mark.parametrize(
    "error",
    [RuntimeError("odd"), MemoryError(), OSError(28, "No space"), KeyError("x")],
)
def test_whatever_a_scan_raises_is_its_row(tmp_path, monkeypatch, error):
    for name in "abc":
        runs.scan(tmp_path / "scans" / name)
    whole = predict_scan.picture.draw_png

    def draw(name, *rest):
        if name == "b":
            raise error
        return whole(name, *rest)

    monkeypatch.setattr(predict_scan.picture, "draw_png", draw)
    run = runs.predict(tmp_path / "scans", tmp_path / "out")
    assert run.done.returncode == 1
    assert [row["status"] for row in run.rows.values()] == ["found", "failed", "found"]
    assert run.rows["b"]["why"]
    assert [p.name for p in (tmp_path / "out").glob("b.*")] == ["b.json"]
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count("<figure id") == 2
    assert "1 failed, 2 found" in page


def test_a_stopped_run_leaves_a_page_that_fits_the_table(tmp_path, monkeypatch, caplog):
    scans, out = tmp_path / "scans", tmp_path / "out"
    for name in "abc":
        runs.scan(scans / name)
    runs.predict(scans, out, answer="not in view")
    options = predict_scan.PredictOptions(method="paper")
    whole = predict_scan.picture.draw_png

    def draw(name, *rest):
        if name == "b":
            raise KeyboardInterrupt  # As Ctrl-C does.
        return whole(name, *rest)

    monkeypatch.setattr(predict_scan.picture, "draw_png", draw)
    with pytest.raises(KeyboardInterrupt, match="1 of 3 scans have a result"):
        predict.predict(scans, out, runs.model("found"), options=options)
    rows = runs.rows(out / "results.csv")
    assert list(rows) == ["a"]
    assert rows["a"]["status"] == "found"
    page = (out / "index.html").read_text()
    assert "L3 in 1 scan<" in page
    assert "1 found, 2 without a result yet" in page
    assert page.count("<figure id") == 1
    monkeypatch.setattr(predict_scan.picture, "draw_png", whole)
    run = runs.predict(scans, out)
    assert "1 of 3 scans have a result" in caplog.text
    assert [row["status"] for row in run.rows.values()] == ["found"] * 3


def test_values_that_are_no_numbers_fail_one_scan(tmp_path):
    hu = np.full((24, 80, 80), 0, np.int16)
    runs.scan(tmp_path / "scans" / "empty", hu)
    runs.scan(tmp_path / "scans" / "good")
    run = runs.predict(tmp_path / "scans", tmp_path / "out")
    assert run.done.returncode == 1
    assert run.rows["empty"]["status"] == "failed"
    assert run.rows["good"]["status"] == "found"
