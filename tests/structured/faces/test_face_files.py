import numpy as np
import pytest

from structured.faces import crops
from tests.mtl.images import assert_refused
from tests.structured.face_folders import (
    CROP,
    HELEN,
    box_rows,
    read,
    write_boxes,
)


def test_folders_keep_their_order(root):
    faces, _ = read(root, ("helen/trainset", "afw"))
    assert faces.name.tolist()[3:] == ["helen/trainset/d_1", "afw/a_1"]
    faces, _ = read(root, ("afw", "helen/trainset"))
    assert faces.name.tolist()[:2] == ["afw/a_1", "helen/trainset/a_1"]


def test_other_files_are_ignored(root):
    (root / HELEN[0] / "readme.txt").write_text("hello")
    (root / HELEN[0] / "._a_1.jpg").write_text("Finder leaves such files")
    faces, problems = read(root)
    assert len(faces.name) == 4
    assert problems == []


def test_a_missing_folder_is_named(root):
    assert_refused(
        lambda: read(root, ("helen/testset",)),
        str(root / "helen/testset"),
        "is no folder",
    )


def test_a_folder_without_images_is_refused(root):
    (root / "ibug").mkdir()
    assert_refused(
        lambda: read(root, ("ibug",)), str(root / "ibug"), "no image", ".png"
    )


@pytest.mark.parametrize("folders", [(), ("afw", "afw")])
def test_no_folder_and_a_repeated_one_are_refused(root, folders):
    assert_refused(lambda: read(root, folders), str(root), "each named once")


def test_boxes_from_a_file(root):
    rows_of_paths = box_rows()
    rows_of_paths[1] = "helen/trainset/b_1.png,1,2.5,40,30"
    for lines in (box_rows(), rows_of_paths, box_rows()[::-1]):
        faces, problems = read(root, boxes=write_boxes(root, lines))
        assert problems == []
        assert faces.frame.tolist() == [[i, 2.5, 40, 30] for i in range(4)]
    expected = crops.cut(
        crops.open_grey(root / HELEN[0] / "c_1.JPG"), np.array([2, 2.5, 40, 30]), CROP
    )
    np.testing.assert_array_equal(faces.canvas[2], expected)


def test_a_file_name_in_two_folders_has_no_box(root):
    both = ("helen/trainset", "afw")
    boxes = write_boxes(root, box_rows())
    assert_refused(
        lambda: read(root, both, boxes=boxes), "2 faces", boxes, "has no box for", "afw"
    )
    lines = [*box_rows(), "afw/a_1.jpg,9,9,9,9", "helen/trainset/a_1.jpg,8,8,8,8"]
    faces, _ = read(root, both, boxes=write_boxes(root, lines))
    assert faces.frame[[0, 4]].tolist() == [[8, 8, 8, 8], [9, 9, 9, 9]]


def test_boxes_of_a_spreadsheet_in_other_languages(root):
    plain, _ = read(root, boxes=write_boxes(root, box_rows()))
    rows = [row.replace(",", ";").replace(".5", ",5") for row in box_rows()]
    boxes = write_boxes(root, rows, "name;left;top;width;height")
    np.testing.assert_array_equal(read(root, boxes=boxes)[0].frame, plain.frame)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (None, "has no box for"),
        ("b_1.png,1,1,0,30", "a width and a height"),
        ("b_1.png,1,1,30,-3", "a width and a height"),
        ("b_1.png,100,1,30,30", "outside of the image"),
        ("b_1.png,1,1,1e30,30", "the box is 1e+30 pixels long"),
    ],
)
def test_faces_with_a_bad_box(root, line, message):
    lines = [box_rows()[0], *([line] if line else []), *box_rows()[2:]]
    boxes = write_boxes(root, lines)
    assert_refused(lambda: read(root, boxes=boxes), "helen/trainset/b_1: ", message)
    faces, problems = read(root, boxes=boxes, skip_bad=True)
    assert len(faces.name) == 3
    assert [p.fatal for p in problems] == [True]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("b_1.png,1,1,30", "row 3 has too few cells"),
        ("b_1.png,1,1,30,30,9", "row 3 has too few cells, or too many"),
        ("b_1.png,1,one,30,30", "row 3 has 'one', which is no number"),
        ("b_1.png,1,nan,30,30", "row 3 has 'nan', which is no number"),
        ("a_1.jpg,1,1,30,30", "a second row, number 3, for a_1.jpg"),
    ],
)
def test_a_bad_file_of_boxes_is_refused(root, line, message):
    boxes = write_boxes(root, [box_rows()[0], line])
    assert_refused(lambda: read(root, boxes=boxes), boxes, message)


def test_a_file_of_boxes_that_is_missing_or_lacks_a_column(root):
    boxes = write_boxes(root, box_rows(), "name,left,top,right,bottom")
    assert_refused(lambda: read(root, boxes=boxes), boxes, "'width'", "first row")
    (root / "empty.csv").touch()
    boxes = str(root / "empty.csv")
    assert_refused(lambda: read(root, boxes=boxes), boxes, "it is empty")
    boxes = str(root / "absent.csv")
    assert_refused(lambda: read(root, boxes=boxes), boxes, "cannot be read")
