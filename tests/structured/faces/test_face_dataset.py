import csv
import os

import numpy as np
import pytest
from PIL import Image

from mtl.host.errors import WorkdirError
from structured.faces import crops, face_dataset
from structured.faces.crops import Crop
from structured.faces.face_dataset import Problem
from structured.faces.points import read_pts, write_pts
from tests.mtl.images import assert_refused
from tests.structured.face_folders import (
    CROP,
    HELEN,
    NAMES,
    box_rows,
    read,
    write_boxes,
    write_face,
)


def same(a, b):
    for x, y in zip(a, b, strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def test_read(root):
    faces, problems = read(root)
    assert problems == []
    assert faces.name.tolist() == [f"helen/trainset/{n.split('.')[0]}" for n in NAMES]
    assert faces.canvas.shape == (4, 14, 14)
    assert faces.canvas.dtype == np.uint8
    assert faces.points.shape == (4, 68, 2)
    assert faces.frame.shape == (4, 4)
    for i, name in enumerate(NAMES):
        path = root / HELEN[0] / name
        points = read_pts(path.with_suffix(".pts"))
        frame = crops.frame(crops.tight_box(points), CROP)
        np.testing.assert_array_equal(faces.points[i], points.astype(np.float32))
        np.testing.assert_array_equal(faces.frame[i], frame)
        expected = crops.cut(crops.open_grey(path), frame, CROP)
        np.testing.assert_array_equal(faces.canvas[i], expected)
    assert faces.points.dtype == faces.frame.dtype == np.float32


def test_faces_of_five_points(root):
    for name in NAMES:
        path = (root / HELEN[0] / name).with_suffix(".pts")
        write_pts(path, read_pts(path)[:5])
    assert read(root, num_points=5)[0].points.shape == (4, 5, 2)


def without_pts(folder):
    (folder / "b_1.pts").unlink()
    return "b_1.png has no .pts beside it"


def without_image(folder):
    (folder / "b_1.png").unlink()
    return "b_1.pts has no image beside it"


def short_pts(folder):
    path = folder / "b_1.pts"
    path.write_text("\n".join(path.read_text().split("\n")[:30]))
    return "b_1.pts: not a whole .pts"


def other_points(folder):
    write_pts(folder / "b_1.pts", read_pts(folder / "b_1.pts")[:67])
    return "b_1.pts: it has 67 points, where 68 are needed"


def broken_image(folder):
    path = folder / "b_1.png"
    path.write_bytes(path.read_bytes()[:200])
    return "b_1.png: not a whole JPEG or PNG"


def no_image_at_all(folder):
    (folder / "b_1.png").write_text("<html>")
    return "b_1.png: not a whole JPEG or PNG"


def dead_link(folder):
    (folder / "b_1.png").unlink()
    (folder / "b_1.png").symlink_to(folder / "absent.png")
    return "b_1.png: no such file"


def flat_box(folder):
    write_pts(folder / "b_1.pts", np.full((68, 2), 7.0))
    return "must be finite, with a width and a height"


def far_box(folder):
    write_pts(folder / "b_1.pts", read_pts(folder / "b_1.pts") + 1000)
    return "lies outside of the image"


def shared_pts(folder):
    Image.new("RGB", (60, 40)).save(folder / "b_1.jpg")
    return "b_1.jpg shares its .pts with another image"


DAMAGES = [
    without_pts,
    without_image,
    short_pts,
    other_points,
    broken_image,
    no_image_at_all,
    dead_link,
    flat_box,
    far_box,
    shared_pts,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_bad_faces_are_named_or_left_out(root, damage):
    whole, _ = read(root)
    message = damage(root / HELEN[0])
    assert_refused(
        lambda: read(root),
        str(root),
        "helen/trainset/b_1: ",
        message,
        "data.skip_bad=True",
    )
    faces, problems = read(root, skip_bad=True)
    same(faces, [column[[0, 2, 3]] for column in whole])
    assert {(p.name, p.fatal) for p in problems} == {("helen/trainset/b_1", True)}
    assert any(message in p.message for p in problems)


def test_an_error_lists_ten_of_many_bad_faces(root):
    for i in range(12):
        write_face(root / HELEN[0], f"x{i:02}.jpg")
        (root / HELEN[0] / f"x{i:02}.pts").unlink()
    assert_refused(lambda: read(root), "12 faces", "x00", "x09", "and 2 more")
    with pytest.raises(face_dataset.DataError) as e:
        read(root)
    assert "trainset/x10" not in str(e.value)


@pytest.mark.parametrize("skip_bad", [False, True])
def test_folders_without_a_good_face_are_refused(root, skip_bad):
    (root / "afw" / "a_1.pts").write_text("")
    assert_refused(
        lambda: read(root, ("afw",), skip_bad=skip_bad), "no other face is left", "a_1"
    )


@pytest.mark.parametrize("skip_bad", [False, True])
def test_points_outside_of_the_image_are_reported(root, skip_bad):
    path = root / HELEN[0] / "b_1.pts"
    points = read_pts(path)
    points[7], points[9] = [-0.51, 20], [30, 39.51]
    points[3], points[4] = [-0.5, 20], [59.5, 39.5]  # Points on the edge are inside.
    write_pts(path, points)
    faces, problems = read(root, skip_bad=skip_bad)
    assert len(faces.name) == 4
    assert problems == [Problem("helen/trainset/b_1", problems[0].message, False)]
    for part in ("2 of its 68", "number 8", "60 x 40"):
        assert part in problems[0].message


@pytest.fixture
def opened(monkeypatch):
    """Returns a list of the names of opened images."""
    names = []
    real = crops.open_grey

    def spy(path):
        names.append(path.name)
        return real(path)

    monkeypatch.setattr(crops, "open_grey", spy)
    return names


def test_cached_faces_open_no_image(root, tmp_path, opened):
    cache = tmp_path / "runs" / "cache"
    points = read_pts(root / HELEN[0] / "c_1.pts")
    points[5] = [-9, -9]
    write_pts(root / HELEN[0] / "c_1.pts", points)
    without_pts(root / HELEN[0])
    first = read(root, cache=cache, skip_bad=True)
    assert sorted(opened) == ["a_1.jpg", "c_1.JPG", "d_1.jpeg"]
    assert [p.fatal for p in first[1]] == [True, False]
    opened.clear()
    second = read(root, cache=cache, skip_bad=True)
    assert opened == []
    same(first[0], second[0])
    assert first[1] == second[1]
    # A cached problem is still an error.
    assert_refused(lambda: read(root, cache=cache), "b_1.png has no .pts")
    assert opened == []
    assert len(list(cache.iterdir())) == 1


def touch(path):
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: touch(folder / "b_1.pts"),
        lambda folder: touch(folder / "b_1.png"),
        lambda folder: (folder / "b_1.png").chmod(0o600),
        lambda folder: write_pts(folder / "b_1.pts", np.eye(68)[:, :2] * 30),
        lambda folder: write_face(folder, "e_1.png"),
        lambda folder: [(folder / f"b_1.{end}").unlink() for end in ("png", "pts")],
        lambda folder: (folder / "b_1.png").rename(folder / "b_1.jpg"),
    ],
    ids=["touch pts", "touch png", "chmod", "pts", "more", "fewer", "rename"],
)
def test_a_changed_folder_is_read_again(root, tmp_path, opened, change):
    read(root, cache=tmp_path / "cache")
    change(root / HELEN[0])
    opened.clear()
    cached = read(root, cache=tmp_path / "cache")
    assert len(opened) == len(cached[0].name)
    fresh = read(root)
    same(cached[0], fresh[0])


@pytest.mark.parametrize(
    "options",
    [
        {"crop": Crop(11, margin=0.1, context=2)},
        {"crop": Crop(10, margin=0.2, context=2)},
        {"crop": Crop(10, margin=0.1, context=3)},
        {"crop": Crop(10, margin=0.1, context=2, square=True)},
        {"folders": ("afw",)},
    ],
    ids=str,
)
def test_another_crop_or_folder_is_read_again(root, tmp_path, opened, options):
    read(root, cache=tmp_path / "cache")
    opened.clear()
    cached = read(root, cache=tmp_path / "cache", **options)
    assert opened
    same(cached[0], read(root, **options)[0])
    opened.clear()
    read(root, cache=tmp_path / "cache")
    read(root, cache=tmp_path / "cache", **options)
    assert opened == []


def test_other_boxes_are_read_again(root, tmp_path, opened):
    options = {"cache": tmp_path / "cache", "boxes": write_boxes(root, box_rows())}
    read(root, **options)
    opened.clear()
    read(root, **options)
    assert opened == []
    write_boxes(root, [*box_rows()[:3], "d_1.jpeg,0,0,40,30"])
    assert read(root, **options)[0].frame[3].tolist() == [0, 0, 40, 30]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-99]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(
            path.read_bytes().replace(b"h\0\0\0e", b"H\0\0\0e")
        ),
        lambda path: np.savez(path, canvas=np.zeros(3)),
        lambda path: np.savez(
            path,
            **dict.fromkeys(("canvas", "points", "frame", "name"), np.zeros(3)),
            problems=np.zeros((0, 2)),
            fatal=np.zeros(0),
        ),
    ],
    ids=["short", "empty", "a flipped byte", "fewer arrays", "other arrays"],
)
def test_a_broken_cache_is_made_again(root, tmp_path, opened, damage):
    fresh = read(root, cache=tmp_path / "cache")
    (path,) = (tmp_path / "cache").iterdir()
    content = path.read_bytes()
    damage(path)
    assert path.read_bytes() != content
    opened.clear()
    same(read(root, cache=tmp_path / "cache")[0], fresh[0])
    assert len(opened) == 4
    opened.clear()
    same(read(root, cache=tmp_path / "cache")[0], fresh[0])
    assert opened == []


def test_a_cache_that_cannot_be_made_is_named(root, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(WorkdirError, match=r"cannot make the folder data\.cache="):
        read(root, cache=tmp_path / "cache")


def test_problems_are_written_as_csv(tmp_path):
    problems = [
        Problem("helen/a", 'x, "y" is\nbad', True),
        Problem("helen/b", "off", False),
    ]
    face_dataset.write_problems(tmp_path / "report.csv", problems)
    with open(tmp_path / "report.csv", newline="") as file:
        assert list(csv.reader(file)) == [
            ["name", "fate", "what"],
            ["helen/a", "fatal", 'x, "y" is\nbad'],
            ["helen/b", "kept", "off"],
        ]
    with pytest.raises(WorkdirError, match="cannot write"):
        face_dataset.write_problems(tmp_path / "absent" / "report.csv", problems)


@pytest.mark.parametrize(
    ("folder", "count"), [("helen/trainset", 870), ("helen/testset", 330), ("afw", 337)]
)
def test_real_faces(real_data, folder, count):
    if not (real_data / "300w" / folder).is_dir():
        pytest.skip(f"there is no 300w/{folder} in {real_data.name}/")
    faces, problems = read(real_data / "300w", (folder,), Crop())
    assert problems == []
    assert faces.canvas.shape == (count, 50, 50)
    assert len(set(faces.name)) == count
    y = crops.to_frame(faces.points, faces.frame)
    # The box is rounded to whole pixels, so a point may be just outside of it.
    assert np.abs(y).max() < 0.52
    assert np.isfinite(y).all()
    # Every face has some contrast.
    assert faces.canvas.std((1, 2)).min() > 5
