"""Tests the reader of WFLW's lists on files of the same format."""

import numpy as np
import pytest
from PIL import Image

from structured.faces import face_dataset, wflw
from structured.faces.crops import Crop
from tests import program
from tests.mtl.images import assert_refused

CROP = Crop(12, margin=0.1, context=2)
LISTS = "WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{}.txt"
TRAIN, TEST = (LISTS.format(part) for part in ("train", "test"))


def points_of(seed):
    return np.random.default_rng(seed).uniform([8, 6], [50, 40], (98, 2))


def line_of(seed, image, points=None):
    """A line of a list, with the number formats of WFLW."""
    points = points_of(seed) if points is None else points
    cells = [f"{v:.6f}" for v in points.ravel()]
    return " ".join([*cells, "7", "5", "52", "41", "0", "1", "0", "0", "1", "0", image])


def write_image(root, name, seed=0):
    path = root / wflw.IMAGES_FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.random.default_rng(seed).integers(0, 256, (48, 64), np.uint8)
    Image.fromarray(grey).convert("RGB").save(path)


def write_list(root, name, lines):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def read(root, name=TRAIN, boxes="", partial=False, **options):
    files = wflw.list_faces(root, [name], boxes, partial)
    return face_dataset.read(str(root), files, CROP, 98, partial=partial, **options)


@pytest.fixture
def root(tmp_path):
    """Three faces in two images, one of them with a space in its name."""
    write_image(tmp_path, "0--Parade/a_1.jpg")
    write_image(tmp_path, "9--Press/b 2.png", seed=1)
    lines = [line_of(0, "0--Parade/a_1.jpg"), line_of(1, "9--Press/b 2.png")]
    write_list(tmp_path, TRAIN, [*lines, "", line_of(2, "0--Parade/a_1.jpg")])
    return tmp_path


def test_each_line_is_a_face(root):
    faces, problems = read(root)
    assert problems == []
    assert faces.name.tolist() == [
        "0--Parade/a_1.jpg line 1",
        "9--Press/b 2.png line 2",
        "0--Parade/a_1.jpg line 4",
    ]
    for seed in range(3):
        np.testing.assert_allclose(faces.points[seed], points_of(seed), atol=1e-5)
        low, high = np.floor(points_of(seed).min(0)), np.floor(points_of(seed).max(0))
        np.testing.assert_array_equal(faces.frame[seed], [*low, *(high - low)])
    assert faces.canvas.shape == (3, 16, 16)


def test_the_boxes_of_the_list(root):
    faces, _ = read(root, boxes="list")
    np.testing.assert_array_equal(faces.frame, [[7, 5, 45, 36]] * 3)


def test_missing_points_must_be_allowed(root):
    points = points_of(0)
    points[[3, 96]] = np.nan
    write_list(root, TRAIN, [line_of(0, "0--Parade/a_1.jpg", points)])
    faces, problems = read(root, partial=True)
    assert problems == []
    assert np.flatnonzero(np.isnan(faces.points[0]).all(1)).tolist() == [3, 96]
    low = np.floor(np.nanmin(points, axis=0))
    np.testing.assert_array_equal(faces.frame[0, :2], low)
    assert_refused(
        lambda: read(root),
        *("list_98pt_rect_attr_train.txt, line 1", "point 4 is missing"),
        "data.partial_y=True",
    )


def test_bad_lines_are_named_and_can_be_left_out(root):
    good = line_of(0, "0--Parade/a_1.jpg")
    bad = {
        " ".join(good.split()[1:]): "206 cells instead of 207",
        good.replace("0--Parade/a_1.jpg", "gone.jpg"): "there is no",
        "x" + good: "could not convert string to float",
        "inf " + good.split(maxsplit=1)[1]: "point 1 is not finite",
        good.replace(" 1 0 0 1 0 ", " 7 0 0 1 0 "): "neither 0 nor 1",
    }
    write_list(root, TRAIN, [*bad, good])
    assert_refused(lambda: read(root), "5 faces", "skip_bad=True")
    faces, problems = read(root, skip_bad=True)
    assert faces.name.tolist() == ["0--Parade/a_1.jpg line 6"]
    for number, (problem, message) in enumerate(
        zip(problems, bad.values(), strict=True), 1
    ):
        assert problem.fatal
        assert f"line {number}" in problem.message
        assert message in problem.message


def test_missing_and_empty_lists_are_named(root):
    assert_refused(
        lambda: read(root, "no.txt"), f"{root / 'no.txt'}: No such file", "data.path="
    )
    write_list(root, "empty.txt", [""])
    assert_refused(lambda: read(root, "empty.txt"), "holds no face")
    (root / "binary.txt").write_bytes(b"\xff\xfe\x00")
    assert_refused(lambda: read(root, "binary.txt"), "binary.txt")


def test_a_cache_knows_the_points_of_the_lines(root, tmp_path):
    both = [read(root, cache=tmp_path / "c") for _ in range(2)]
    for one, two in zip(both[0][0], both[1][0], strict=True):
        np.testing.assert_array_equal(one, two)
    write_list(root, TRAIN, [line_of(9, "0--Parade/a_1.jpg")])
    faces, _ = read(root, cache=tmp_path / "c")
    np.testing.assert_allclose(faces.points[0], points_of(9), atol=1e-5)


@pytest.mark.slow
def test_the_launchers_train_on_and_predict_98_points(tmp_path):
    """Some points are missing: also both eyes of a test face."""
    root = tmp_path / "a folder"
    for part, name, count in (("tr", TRAIN, 12), ("te", TEST, 5)):
        lines = []
        for i in range(count):
            points = points_of(100 * count + i)
            if i in (1, 2):
                points[[60, 97] if i == 1 else [7]] = np.nan
            write_image(root, f"{part}_{i}.jpg", seed=i)
            lines.append(line_of(0, f"{part}_{i}.jpg", points))
        write_list(root, name, lines)
    run = tmp_path / "run"
    flags = ["--config=configs/structured/wflw.py:smoke", f"--config.data.path={root}"]
    flags += [f"--workdir={run}", "--config.variant=mlp_in_out"]
    refused = program.call("structured.main", *flags)
    assert refused.returncode == 1
    assert "data.partial_y=True" in refused.stderr
    done = program.call("structured.main", *flags, "--config.data.partial_y=True")
    assert done.returncode == 0, done.stderr
    assert "missing in 2 train, 2 test examples" in done.stdout
    assert "left_out_inter_ocular 1" in done.stdout
    assert "missing_points 3" in done.stdout
    page = (run / "report.html").read_text()
    assert "1 faces that lack an eye, or lie on one line, are left out" in page

    images, out = root / wflw.IMAGES_FOLDER, tmp_path / "out"
    predict = [f"--workdir={run}", f"--images={images}", f"--out={out}", "--nopictures"]
    done = program.call("structured.predict", *predict)
    assert done.returncode == 0, done.stderr
    head = (out / "landmarks.csv").read_text().splitlines()[0].split(",")
    assert head[-3:] == ["y98", "nme_inter_ocular", "problem"]
