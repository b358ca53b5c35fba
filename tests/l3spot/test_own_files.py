"""The user's own files stay, and tables that Excel saved are read."""

import csv
import io

import pytest

from mtl.host import csv_text
from tests import program
from tests.l3spot import runs

FILES = (
    *("P1.json", "P1.png", "P1.mrk.json", "P1.review.json", "P1.frontal.png"),
    *("results.csv", "levels.csv", "index.html", "review.html", "summary.json"),
)
OTHERS = ("P1.dcm", "P1.sr.dcm", "P1.sc.dcm", "P2.json", "notes.txt", "montage.png")


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_user_refuses_the_run(tmp_path, name):
    runs.scan(tmp_path / "scans" / "P1")
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine")
    done = runs.predict(tmp_path / "scans", out).done
    assert done.returncode == 1
    assert f"holds {name}, which no run wrote" in done.stderr
    visible = [p.name for p in out.iterdir() if not p.name.startswith(".lock")]
    assert visible == [name]
    assert (out / name).read_text() == "mine"


def test_files_that_a_run_does_not_write_stay(tmp_path):
    runs.scan(tmp_path / "scans" / "P1")
    out = tmp_path / "out"
    out.mkdir()
    for name in OTHERS:
        (out / name).write_text("mine")
    for answer in ("found", "not in view"):
        run = runs.predict(tmp_path / "scans", out, answer=answer)
        assert run.done.returncode == 0
        assert run.rows["P1"]["status"] == answer
        assert (out / "P1.mrk.json").exists() == (answer == "found")
        assert all((out / name).read_text() == "mine" for name in OTHERS)
    done = runs.predict(tmp_path / "scans", out, "--copy_slice").done
    assert "holds P1.dcm, which no run wrote" in done.stderr


def test_projections_replace_no_file_of_the_user(tmp_path):
    runs.scan(tmp_path / "scans" / "P1")
    for name in ("P1.json", "P1.npz", "report.csv", "montage.png"):
        out = tmp_path / name
        out.mkdir()
        (out / name).write_text("mine")
        done = runs.project(tmp_path / "scans", out).done
        assert done.returncode == 1
        assert f"holds {name}, which no run wrote" in done.stderr
        assert (out / name).read_text() == "mine"
    for _ in range(2):
        run = runs.project(tmp_path / "scans", tmp_path / "out")
        assert run.done.returncode == 0


TABLE = [
    ["scan", "status", "z_mm", "slice_mm", "low_mm"],
    ["a", "found", "12.5", "2.5", "-10"],
    ["M\u00fcller", "not in view", "", "2.5", "0"],
    ["c", "failed", "", "", ""],
]


def saved(delimiter=",", encoding="utf-8", decimal=".", first=""):
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter, lineterminator="\r\n")
    for row in TABLE:
        writer.writerow([cell.replace(".", decimal) for cell in row])
    return (first + stream.getvalue()).encode(encoding)


SAVED = {
    "byte order mark": saved(encoding="utf-8-sig"),
    "semicolons": saved(";", "utf-8-sig"),
    "semicolons and decimal commas": saved(";", decimal=","),
    "UTF-16, tabs": saved("\t", "utf-16"),
    "UTF-16, big endian": b"\xfe\xff" + saved("\t", "utf-16-be"),
    "a line for Excel": saved(";", first="sep=;\r\n"),
}


@pytest.mark.parametrize("kind", SAVED)
def test_a_table_that_excel_saved_is_evaluated(tmp_path, kind):
    results, labels = tmp_path / "results.csv", tmp_path / "labels.csv"
    results.write_bytes(SAVED[kind])
    text = SAVED[kind].decode("utf-16" if "UTF-16" in kind else "utf-8-sig")
    encoding = "utf-16" if "UTF-16" in kind else "utf-8-sig"
    labels.write_bytes(text.encode(encoding))
    done = program.call("l3spot.evaluate", "--results", results, "--labels", labels)
    assert done.returncode == 0, done.stderr
    assert dict(line.split() for line in done.stdout.splitlines()[:1]) == {"scans": "2"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name;z\na;1\n", "it has no column scan, status, z_mm"),
        (b"\xff\xfe\x00", "cannot be read as a results.csv"),
        (b"scan,status,z_mm\na,found,12 mm\n", "row 2: z_mm='12 mm' is no number"),
        (b"", "it has no column scan"),
    ],
)
def test_other_files_are_refused_without_their_contents(tmp_path, content, message):
    results, labels = tmp_path / "results.csv", tmp_path / "labels.csv"
    results.write_bytes(content)
    labels.write_text("scan,z_mm\na,1\n")
    done = program.call("l3spot.evaluate", "--results", results, "--labels", labels)
    assert done.returncode == 1
    assert message in done.stderr
    assert "\\x" not in done.stderr


def test_names_are_no_formulas_in_a_spreadsheet(tmp_path):
    names = ["=1+1", "+a", "-b", "@c", "'=d", "'e", "-5"]
    for name in names:
        runs.scan(tmp_path / "scans" / name)
    out = tmp_path / "out"
    run = runs.predict(tmp_path / "scans", out)
    assert run.done.returncode == 0
    for table in ("results.csv", "levels.csv"):
        cells = list(csv.reader((out / table).read_text().splitlines()))
        starts = {row[0][0] for row in cells}
        assert not starts & set("=+@")
    labels = tmp_path / "labels.csv"
    lines = [f"{csv_text.protect(name)},70\n" for name in names]
    labels.write_text("".join(["scan,z_mm\n", *lines]))
    arguments = ["--results", out / "results.csv", "--labels", labels]
    done = program.call("l3spot.evaluate", *arguments)
    assert dict(line.split() for line in done.stdout.splitlines()[:1]) == {"scans": "7"}
    run = runs.project(tmp_path / "scans", tmp_path / "mips", "--labels", labels)
    assert run.done.returncode == 0, run.done.stderr
