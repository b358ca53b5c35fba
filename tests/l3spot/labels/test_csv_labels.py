"""Reading valid and invalid CSVs of labels."""

import numpy as np
import pytest

from l3spot.labels import csv_labels
from mtl.host.errors import DataError
from tests.l3spot import series as write
from tests.l3spot.assembled import only_volume
from tests.l3spot.series import SLICES, STEP


@pytest.fixture
def volume(tmp_path):
    """Returns a volume from z = 100 mm with a slice spacing of 2.5 mm."""
    return only_volume(write.write(tmp_path / "scan", write.series()))


@pytest.fixture
def table(tmp_path):
    """Returns a function that writes a CSV and reads it."""

    def read(text, offset=0.0):
        path = tmp_path / "labels.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return csv_labels.read(path, offset)

    return read


def test_each_of_three_columns_names_a_slice(table, volume):
    sop = volume.slices[4].sop_instance_uid
    for kind, value in (
        ("z_mm", "110"),
        ("slice_index", "4"),
        ("sop_instance_uid", sop),
    ):
        result = table(f"scan,{kind}\na,{value}\n")["a"].find(volume)
        assert result == csv_labels.Label(csv_labels.IN_VIEW, 110.0)


def test_the_offset_is_added_to_z(table, volume):
    result = table("scan,z_mm\na,110\n", 13.5)["a"].find(volume)
    assert result.z == 123.5


@pytest.mark.parametrize("offset", [np.nan, np.inf])
def test_the_offset_must_be_finite(table, offset):
    with pytest.raises(DataError, match="is no length in mm"):
        table("scan,z_mm\na,110\n", offset)


def test_an_empty_value_means_not_in_view(table, volume):
    rows = table("scan,z_mm\na,\n b , \n", 5.0)
    for name in "ab":
        result = rows[name].find(volume)
        assert result.state == csv_labels.NOT_IN_VIEW
        assert np.isnan(result.z)


def test_other_columns_semicolons_and_a_byte_order_mark_are_accepted(table):
    rows = table(b"\xef\xbb\xbfreader; scan ;z_mm\nme;a; -12.5\n")
    assert {k: (r.column, r.value) for k, r in rows.items()} == {"a": ("z_mm", "-12.5")}


@pytest.mark.parametrize(
    ("text", "message"),
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
def test_the_error_names_the_line_and_the_value(table, text, message):
    with pytest.raises(DataError, match=r"labels\.csv") as e:
        table(text)
    assert message in str(e.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        csv_labels.read(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("z_mm", 100 + STEP * SLICES, "the scan spans 100.0 to 147.5 mm"),
        ("z_mm", 98, "L3 at z = 98.0 mm"),
        ("slice_index", SLICES, f"the scan has {SLICES} slices"),
        ("sop_instance_uid", "1.2", "0 slices of series 1.2.3.4"),
    ],
)
def test_a_label_of_another_scan_is_refused(table, volume, kind, value, message):
    row = table(f"scan,{kind}\na,{value}\n")["a"]
    with pytest.raises(DataError, match=r"labels\.csv, line 2") as e:
        row.find(volume)
    assert message in str(e.value)


def test_a_uid_shared_by_all_frames_is_refused(table, tmp_path):
    frames = only_volume(
        write.write(tmp_path / "frames", [write.enhanced([1.0] * SLICES)])
    )
    row = table(f"scan,sop_instance_uid\na,{frames.slices[0].sop_instance_uid}\n")["a"]
    with pytest.raises(DataError, match=f"{SLICES} slices of series"):
        row.find(frames)


def test_half_a_slice_beyond_the_end_is_accepted(table, volume):
    assert table("scan,z_mm\na,98.8\n")["a"].find(volume).z == 98.8


def test_a_changed_label_has_another_text(table):
    texts = [
        str(table(text, offset)["a"])
        for text, offset in (
            ("scan,z_mm\na,1\n", 0),
            ("scan,z_mm\na,1\n", 2),
            ("scan,z_mm\na,2\n", 0),
            ("scan,slice_index\na,1\n", 0),
            ("scan,z_mm\na,\n", 0),
        )
    ]
    assert len(set(texts)) == len(texts)
