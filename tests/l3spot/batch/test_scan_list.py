"""Lists of scans, written and read."""

import os

import pytest

from l3spot.batch import scan_list
from mtl.host.errors import DataError, WorkdirError
from tests import program
from tests.l3spot import runs


def test_a_list_is_read_as_it_was_written(tmp_path):
    for name in ("a", "=b", os.fsdecode(b"c\xff")):
        runs.scan(tmp_path / "scans" / name)
    cases = scan_list.find(tmp_path / "scans")
    scan_list.write(tmp_path / "list.csv", cases)
    assert scan_list.find(tmp_path / "list.csv") == cases
    assert len(cases) == 3


def test_any_arrays_are_no_scans(tmp_path):
    """An .npz file need not hold projections."""
    path = tmp_path / "wines.npz"
    path.touch()
    with pytest.raises(DataError, match=r"arrays, .* as DICOM or NIfTI files"):
        scan_list.find(path)


def test_a_listed_part_of_the_scans_is_predicted(tmp_path):
    for name in "abc":
        runs.scan(tmp_path / "scans" / name)
    flags = ("--scans", tmp_path / "scans", "--list", tmp_path / "list.csv")
    done = program.call("l3spot.predict", *flags)
    assert done.returncode == 0, done.stderr
    assert "3 scans" in done.stdout
    lines = (tmp_path / "list.csv").read_text().splitlines()
    (tmp_path / "list.csv").write_text("\n".join([lines[0], lines[3], lines[1]]))
    run = runs.predict(tmp_path / "list.csv", tmp_path / "out")
    assert list(run.rows) == ["c", "a"]


def test_paths_are_relative_to_the_list_and_name_the_scans(tmp_path):
    runs.scan(tmp_path / "scans" / "a")
    (tmp_path / "list.csv").write_text("path\nscans/a\n")
    (case,) = scan_list.find(tmp_path / "list.csv")
    assert (case.name, case.path) == ("a", tmp_path / "scans" / "a")
    assert not case.top_only


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("scan\na\n", "has no column path"),
        ("path\n", "lists no scans"),
        ("scan,path\na,\n", "row 2: the path is empty"),
        ("path\nscans/a\nscans/b\n", "row 3: .*b does not exist"),
        ("path\nscans/a\nscans/a\n", "row 3: there is a scan 'a' in row 2 already"),
    ],
)
def test_a_broken_list_is_refused_with_its_row(tmp_path, content, message):
    runs.scan(tmp_path / "scans" / "a")
    (tmp_path / "list.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        scan_list.find(tmp_path / "list.csv")


def test_results_do_not_lie_in_a_listed_scan(tmp_path):
    runs.scan(tmp_path / "scans" / "a")
    (tmp_path / "list.csv").write_text("path\nscans/a\n")
    cases = scan_list.find(tmp_path / "list.csv")
    scan_list.check_apart(cases, tmp_path / "list.csv", tmp_path / "scans" / "out")
    out = tmp_path / "scans" / "a" / "out"
    with pytest.raises(WorkdirError, match="lies in"):
        scan_list.check_apart(cases, tmp_path / "list.csv", out)
