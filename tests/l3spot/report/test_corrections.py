"""Lines of corrections.csv: what is read, and what is refused."""

import pytest

from l3spot.report import corrections, review_files
from mtl.host.errors import DataError
from tests.l3spot.report import reviewed

HEAD = "scan,z_mm,level,reader,verdict,note\n"


def read(tmp_path, text):
    path = tmp_path / "corrections.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return corrections.read(path)


def test_names_of_any_bytes_and_formulas_are_read(tmp_path):
    text = HEAD.encode() + b"'=a\xff\" ,,L3,me,not in view,\n"
    (line,) = read(tmp_path, text.replace(b'"', b"")).values()
    assert line.correction[:2] == ("=a\udcff ", None)


def test_a_table_that_a_spreadsheet_saved_is_read(tmp_path):
    text = "sep=;\n" + HEAD.replace(",", ";") + "a;-67,25;L3;me;moved;\n"
    (line,) = read(tmp_path, text.encode("utf-8-sig")).values()
    assert line.correction == ("a", -67.25, "L3", "me", "moved", "")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a,1,L3,me,right,\n", "line 2: verdict='right' is none of accepted, moved"),
        ("a,1,L3,me,,\n", "line 2: verdict=''"),
        ("a,x,L3,me,moved,\n", "line 2: z_mm='x' is no number"),
        ("a,nan,L3,me,moved,\n", "line 2: z_mm='nan' is no number"),
        ("a,,L3,me,moved,\n", "z_mm is empty; give z"),
        ("a,1,L3,me,cannot tell,\n", "leave z_mm empty"),
        ("a,1,L3,me,not in view,\n", "leave z_mm empty"),
        ("a,1,L3,,moved,\na,2,L3,,moved,\n", "line 3: the scan 'a' is there twice"),
        ("a,1,L3\n", "line 2: it has too few columns"),
    ],
)
def test_wrong_lines_are_refused_by_file_and_line(tmp_path, rows, message):
    with pytest.raises(DataError, match=r"corrections\.csv, line \d") as e:
        read(tmp_path, HEAD + rows)
    assert message in str(e.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"scan,z_mm\na,1\n", "has no column level, reader, verdict, note; export"),
        (b"", "has no column scan"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, content)
    with pytest.raises(DataError, match=r"nowhere\.csv cannot be read"):
        corrections.read(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,264,L3,,moved,", None),
        ("a,380.5,L3,,accepted,", None),
        ("a,260,L3,,moved,", "outside of the scan's slices, which span 262.6 to 499.6"),
        ("a,502,L3,,moved,", "outside of the scan's slices"),
        ("a,390,L3,,accepted,", "accepted, but the answer is z_mm=380.5"),
        ("a,,L3,,accepted,", "accepted, but the answer is z_mm=380.5"),
        ("a,390,L2,,moved,", "level='L2', but the results are of 'L3'"),
    ],
)
def test_a_correction_must_fit_its_scan(tmp_path, line, message):
    (row,) = reviewed.make(tmp_path / "out", {"a": reviewed.find()})
    cells = {"level": row.level, "z_mm": str(row.z_mm)}
    data = review_files.read(tmp_path / "out", "a")
    (found,) = read(tmp_path, HEAD + line).values()
    if message is None:
        corrections.check(found, cells, data)
        return
    with pytest.raises(DataError, match=r"corrections\.csv, line 2: ") as e:
        corrections.check(found, cells, data)
    assert message in str(e.value)
