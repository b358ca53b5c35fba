"""One's own CSV of labels, right and wrong."""

import numpy as np
import pytest

from l3spot.labels import csv_labels
from mtl.host.errors import DataError
from tests.l3spot import series as write
from tests.l3spot.series import PLANES, STEP
from tests.l3spot.test_volumes import only


@pytest.fixture
def volume(tmp_path):
    """From 100 mm in steps of 2.5 mm."""
    return only(write.write(tmp_path / "scan", write.series()))


@pytest.fixture
def table(tmp_path):
    """Writes a CSV and reads it."""

    def read(text, offset=0.0):
        path = tmp_path / "labels.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return csv_labels.read(path, offset)

    return read


def test_the_three_ways_to_name_a_plane(table, volume):
    sop = volume.planes[4].sop
    for kind, value in (
        ("z_mm", "110"),
        ("slice_index", "4"),
        ("sop_instance_uid", sop),
    ):
        found = table(f"scan,{kind}\na,{value}\n")["a"].find(volume)
        assert found == csv_labels.Label(csv_labels.IN, 110.0)


def test_an_offset_leads_to_the_middle_of_the_body(table, volume):
    found = table("scan,z_mm\na,110\n", 13.5)["a"].find(volume)
    assert found.z == 123.5


@pytest.mark.parametrize("offset", [np.nan, np.inf])
def test_an_offset_must_be_a_length(table, offset):
    with pytest.raises(DataError, match="is no length in mm"):
        table("scan,z_mm\na,110\n", offset)


def test_an_empty_value_says_not_in_view(table, volume):
    rows = table("scan,z_mm\na,\n b , \n", 5.0)
    for name in "ab":
        found = rows[name].find(volume)
        assert found.state == csv_labels.OUT
        assert np.isnan(found.z)


def test_other_columns_semicolons_and_the_mark_that_excel_puts(table):
    rows = table(b"\xef\xbb\xbfreader; scan ;z_mm\nme;a; -12.5\n")
    assert {k: (r.kind, r.value) for k, r in rows.items()} == {"a": ("z_mm", "-12.5")}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it has nothing"),
        ("scan,z\na,1\n", "one of z_mm, slice_index, sop_instance_uid; it has scan, z"),
        ("scan,z_mm,slice_index\na,1,2\n", "one of"),
        ("z_mm\n1\n", "a header that has scan"),
        ("scan,z_mm\na,1\nb,12 mm\n", "line 3: z_mm='12 mm' is no number"),
        ("scan,z_mm\na,nan\n", "line 2: z_mm='nan' is no number"),
        ("scan,z_mm\na,-inf\n", "line 2: z_mm='-inf' is no number"),
        ("scan,slice_index\na,1.5\n", "line 2: slice_index='1.5' is no number"),
        ("scan,slice_index\na,-1\n", "line 2: slice_index='-1' is no number"),
        ("scan,z_mm\na,1\na,2\n", "line 3: 'a' is there twice"),
        ("scan,z_mm\n,1\n", "line 2: it names no scan"),
        ("scan,z_mm\na,1\nb\n", "line 3: it has too few columns"),
        ("z_mm,scan\n1\n", "line 2: it has too few columns"),
        ("scan,z_mm\na," + 140000 * "1", "line 2: field larger than field limit"),
        ("scan,z_mm," + 140000 * "x", "line 1: field larger than field limit"),
        (b"scan,z_mm\n\xff,1\n", "cannot be read as UTF-8"),
    ],
)
def test_what_is_wrong_is_named(table, text, said):
    with pytest.raises(DataError, match=r"labels\.csv") as e:
        table(text)
    assert said in str(e.value)


def test_no_such_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        csv_labels.read(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("z_mm", 100 + STEP * PLANES, "the scan spans 100.0 to 147.5 mm"),
        ("z_mm", 98, "L3 at z = 98.0 mm"),
        ("slice_index", PLANES, f"the scan has {PLANES} planes"),
        ("sop_instance_uid", "1.2", "0 planes of series 1.2.3.4"),
    ],
)
def test_a_label_of_another_scan_is_refused(table, volume, kind, value, said):
    row = table(f"scan,{kind}\na,{value}\n")["a"]
    with pytest.raises(DataError, match=r"labels\.csv, line 2") as e:
        row.find(volume)
    assert said in str(e.value)


def test_a_uid_that_all_frames_share_names_no_slice(table, tmp_path):
    frames = only(write.write(tmp_path / "frames", [write.enhanced([1.0] * PLANES)]))
    row = table(f"scan,sop_instance_uid\na,{frames.planes[0].sop}\n")["a"]
    with pytest.raises(DataError, match=f"{PLANES} planes of series"):
        row.find(frames)


def test_half_a_step_beyond_the_end_is_within(table, volume):
    assert table("scan,z_mm\na,98.8\n")["a"].find(volume).z == 98.8


def test_a_changed_label_has_another_name(table):
    told = [
        str(table(text, offset)["a"])
        for text, offset in (
            ("scan,z_mm\na,1\n", 0),
            ("scan,z_mm\na,1\n", 2),
            ("scan,z_mm\na,2\n", 0),
            ("scan,slice_index\na,1\n", 0),
            ("scan,z_mm\na,\n", 0),
        )
    ]
    assert len(set(told)) == len(told)
