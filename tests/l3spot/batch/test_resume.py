"""Runs that were stopped, run again, or shared between machines."""

import csv
import json
import os
import shutil
from pathlib import Path

import jsonschema
import pytest

from l3spot import correct, predict
from l3spot.predict import BatchOptions
from l3spot.report import predict_scan
from l3spot.report.corrections import COLUMNS
from l3spot.report.predict_scan import PAPER, PredictOptions
from mtl.host import workdir
from mtl.host.errors import WorkdirError
from mtl.host.shards import Shard
from tests import program
from tests.l3spot import runs

PAPERS = PredictOptions(method=PAPER)


@pytest.fixture
def scans(tmp_path):
    """Writes three scans; the last one is broken."""
    for name in "ab":
        runs.scan(tmp_path / "scans" / name)
    runs.scan(tmp_path / "scans" / "few", runs.trunk()[:3])
    return tmp_path / "scans"


@pytest.fixture
def worked_on(monkeypatch):
    """Returns the names of the scans that are worked on from now on."""
    names, whole = [], predict_scan.predict_scan

    def note(job, *rest):
        names.append(job.case.name)
        return whole(job, *rest)

    monkeypatch.setattr(predict_scan, "predict_scan", note)
    return names


def find(scans, out, answer="found", options=PAPERS, **batch):
    batch = BatchOptions(workers=1, **batch)
    model = runs.model(answer)
    return predict.predict(scans, out, model, options=options, batch=batch)


def table(out):
    """Returns the rows without the time that each took."""
    rows = csv.DictReader((out / "results.csv").read_text().splitlines())
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def two_series(folder):
    runs.scan(folder, name="one{:04d}")
    runs.scan(folder, name="two{:04d}", SeriesInstanceUID="1.2.9")


def touch(path):
    later = path.stat().st_mtime + 5
    os.utime(path, (later, later))


def test_only_what_changed_is_worked_on(scans, tmp_path, worked_on):
    out = tmp_path / "out"
    rows = find(scans, out)
    assert worked_on == ["a", "b", "few"]
    first = (out / "results.csv").read_bytes(), (out / "index.html").read_bytes()
    worked_on.clear()
    assert find(scans, out) == rows
    assert worked_on == []
    again = (out / "results.csv").read_bytes(), (out / "index.html").read_bytes()
    assert again == first
    touch(next((scans / "b").iterdir()))
    find(scans, out)
    assert worked_on == ["b"]
    worked_on.clear()
    (out / "a.json").write_text("{")
    find(scans, out)
    assert worked_on == ["a"]
    worked_on.clear()
    (out / "a.png").unlink()
    find(scans, out)
    assert worked_on == ["a"]


def test_a_relative_path_and_a_list_are_the_same_scans(
    scans, tmp_path, worked_on, monkeypatch
):
    out = tmp_path / "out"
    find(scans, out)
    worked_on.clear()
    monkeypatch.chdir(tmp_path)
    find(scans.name, out)
    find(shutil.copy(out / "scans.csv", "listed.csv"), out)
    assert worked_on == []
    scans.rename("elsewhere")  # Names, sizes and times stay, but may be of others.
    find("elsewhere", out)
    assert worked_on == ["a", "b", "few"]


@pytest.mark.parametrize(
    "changed",
    [
        {"answer": "not in view"},
        {"options": PAPERS._replace(copy_slice=True)},
        {"options": PAPERS._replace(mend_hu=True)},
    ],
)
def test_another_model_or_option_finds_all_again(scans, tmp_path, worked_on, changed):
    find(scans, tmp_path / "out")
    worked_on.clear()
    find(scans, tmp_path / "out", **changed)
    assert worked_on == ["a", "b", "few"]


def test_another_version_finds_all_again(scans, tmp_path, worked_on, monkeypatch):
    find(scans, tmp_path / "out")
    worked_on.clear()
    monkeypatch.setattr("importlib.metadata.version", lambda _: "99")
    find(scans, tmp_path / "out")
    assert worked_on == ["a", "b", "few"]


def test_a_failure_is_kept_until_it_is_retried(scans, tmp_path, worked_on):
    out = tmp_path / "out"
    find(scans, out)
    worked_on.clear()
    find(scans, out)
    assert worked_on == []
    find(scans, out, retry_failed=True)
    assert worked_on == ["few"]
    assert table(out)[2]["status"] == "failed"


def test_files_of_other_options_do_not_stay(scans, tmp_path):
    out = tmp_path / "out"
    find(scans, out, options=PAPERS._replace(copy_slice=True))
    assert (out / "a.dcm").exists()
    find(scans, out)
    assert not (out / "a.dcm").exists()


def test_results_of_scans_that_are_gone_are_counted(scans, tmp_path, caplog):
    out = tmp_path / "out"
    find(scans, out)
    assert "not in --scans" not in caplog.text
    shutil.rmtree(scans / "b")
    find(scans, out)
    assert "1 result in" in caplog.text
    assert [row["scan"] for row in table(out)] == ["a", "few"]


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_two_shards_in_a_folder_make_the_whole_table(scans, tmp_path, order):
    find(scans, tmp_path / "whole")
    out = tmp_path / "out"
    for number in order:
        find(scans, out, shard=Shard(number, 2))
        summary = json.loads((out / "summary.json").read_text())
        assert summary["scans"] == 3
    assert summary["without_result"] == 0
    assert table(out) == table(tmp_path / "whole")


def test_a_shard_is_not_worked_on_twice_at_once(scans, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with workdir.lock(out, ".lock-1-of-2"):
        for shard in (Shard(1, 2), Shard(2, 3)):  # These have scans in common.
            with pytest.raises(WorkdirError, match="vertebrae of the part 1/2"):
                find(scans, out, shard=shard)
        find(scans, out, shard=Shard(2, 2))
    assert [row["scan"] for row in table(out)] == ["b"]


def merge(*arguments):
    done = program.call("l3spot.merge", *arguments)
    assert "Traceback" not in done.stderr
    return done


def test_folders_of_shards_are_joined(scans, tmp_path):
    find(scans, tmp_path / "whole")
    folders = []
    for number in (1, 2):
        out = tmp_path / f"part{number}"
        find(scans, out, shard=Shard(number, 2))
        folders += ["--results", out]
    out = tmp_path / "out"
    done = merge(*folders[:2], "--out", out)
    assert "1 scan has no result: b" in done.stdout
    done = merge(*folders, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "no result" not in done.stdout
    assert table(out) == table(tmp_path / "whole")
    made = {p.name for p in out.iterdir() if not p.name.startswith(".")}
    whole = {p.name for p in (tmp_path / "whole").iterdir()}
    assert made == {name for name in whole if not name.startswith(".")}
    done = merge(*folders, "--results", tmp_path / "whole", "--out", out)
    assert "3 scans are in several folders: a, b, few" in done.stdout


def test_equal_names_of_other_paths_are_named(scans, tmp_path):
    other = tmp_path / "other"
    runs.scan(other / "b")
    runs.scan(other / "c")
    find(scans, tmp_path / "one", shard=Shard(1, 2))  # Without b.
    find(other, tmp_path / "two")
    folders = "--results", tmp_path / "one", "--results", tmp_path / "two"
    done = merge(*folders, "--out", tmp_path / "out")
    assert "1 name has another path in each folder: b; one result" in done.stdout
    rows = csv.DictReader((tmp_path / "out" / "scans.csv").read_text().splitlines())
    paths = {row["scan"]: row["path"] for row in rows}
    assert paths["a"] == str(scans / "a")
    assert paths["b"] == str(other / "b")  # That of the result.


def test_results_that_differ_are_not_joined(scans, tmp_path):
    one, other, third = (tmp_path / name for name in ("one", "other", "third"))
    find(scans, one)
    find(scans, other, "not in view")
    done = merge("--results", one, "--results", other, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "was made with models" in done.stderr
    shutil.copytree(one, third)
    content = json.loads((third / "a.json").read_text())
    (third / "a.json").write_text(json.dumps(content | {"z_mm": 1.0}))
    done = merge("--results", one, "--results", third, "--out", tmp_path / "out")
    assert "a has two results that differ" in done.stderr
    done = merge("--results", scans, "--out", tmp_path / "out")
    assert "holds no scans.csv" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_scan_with_several_series_resumes(tmp_path, worked_on):
    two_series(tmp_path / "scans" / "a")
    options, out = PAPERS._replace(all_series=True), tmp_path / "out"
    rows = find(tmp_path / "scans", out, options=options)
    assert [row.scan for row in rows] == ["a~1", "a~2"]
    worked_on.clear()
    assert find(tmp_path / "scans", out, options=options) == rows
    assert worked_on == []
    # A run that was killed had announced these files, and finds them again.
    (out / "a.json").write_text(
        json.dumps({"scan": "a", "results": ["a~1", "a~2"], "made_by": {}})
    )
    again = find(tmp_path / "scans", out, options=options)
    assert [row.status for row in again] == ["found"] * 2
    find(tmp_path / "scans", out)
    assert not list(out.glob("a~*"))


def test_a_file_of_the_user_is_not_replaced_by_one_of_several(tmp_path):
    two_series(tmp_path / "scans" / "a")
    out = tmp_path / "out"
    out.mkdir()
    (out / "a~2.png").write_text("mine")
    rows = find(tmp_path / "scans", out, options=PAPERS._replace(all_series=True))
    assert [row.status for row in rows] == ["found", "failed"]
    assert "a~2.png, which no run wrote" in rows[1].why
    assert (out / "a~2.png").read_text() == "mine"


def test_a_correction_outlives_a_resumed_run(scans, tmp_path, worked_on, caplog):
    out, corrections = tmp_path / "out", tmp_path / "corrections.csv"
    rows = find(scans, out)
    z_mm = rows[0].z_mm + 3
    corrected = ("a", z_mm, "L3", "me", "moved", "")
    workdir.write_csv(corrections, COLUMNS, [corrected])
    correct.correct(out, corrections)
    assert float(table(out)[0]["final_z_mm"]) == z_mm
    done = merge("--results", out, "--out", tmp_path / "joined")
    assert "1 scan was corrected by a person: a; run l3spot.correct" in done.stdout
    schema = Path(predict.__file__).parent / "report" / "result.schema.json"
    content = json.loads((out / "a.json").read_text())
    jsonschema.validate(content, json.loads(schema.read_text()))
    worked_on.clear()
    assert find(scans, out) == rows
    assert worked_on == []
    assert "1 result was corrected by a person" in caplog.text
    assert "final_z_mm" not in table(out)[0]
    correct.correct(out, corrections)
    assert float(table(out)[0]["final_z_mm"]) == z_mm
