import re

import numpy as np
import pytest

from mtl.host.errors import ConfigError
from structured import data
from structured.faces import crops
from structured.faces.points import read_pts
from tests.mtl.images import assert_refused
from tests.structured.datasets import check_missing, config, same
from tests.structured.face_folders import read, write_face


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Writes ten faces to train, three to test, four of another set."""
    root = tmp_path_factory.mktemp("300w")
    for folder, many in (("helen/trainset", 10), ("helen/testset", 3), ("afw", 4)):
        for i in range(many):
            write_face(root / folder, f"f{i}_1.png", seed=hash_of(folder, i))
    return root


def hash_of(folder, i):
    return 100 * len(folder) + i


def face_config(root, **fields):
    small = {"data.path": str(root), "data.size": 12, "data.valid": 0.2}
    return config("300w", **(small | fields))


def true_y(root, folder, i):
    points = read_pts(root / folder / f"f{i}_1.pts")
    return crops.to_frame(points, crops.tight_box(points))


def test_faces(root):
    c = face_config(root)
    d = data.load(c)
    assert [len(part.x) for part in (d.train, d.validation, d.test)] == [8, 2, 3]
    for part in (d.train, d.validation, d.test):
        assert part.pairs.all()
        assert part.x.shape[1:] == (12, 12)
        assert part.y.shape[1:] == (136,)
        assert part.x.dtype == part.y.dtype == np.float32
        np.testing.assert_array_equal(part.x.min(axis=(1, 2)), 0)
        np.testing.assert_allclose(part.x.max(axis=(1, 2)), 1, atol=1e-6)
    for i in range(8):
        expected = true_y(root, "helen/trainset", i)
        np.testing.assert_allclose(d.train.y[i], expected, atol=1e-5)
    assert d.faces.name.tolist() == [f"helen/testset/f{i}_1" for i in range(3)]
    points = crops.from_frame(d.test.y, d.test.frame)
    np.testing.assert_allclose(points, d.faces.points, atol=1e-3)
    assert d.problems == ()


def test_faces_validate_at_either_end(root):
    """The authors' program for LFPW validates on the first faces."""
    first = data.load(face_config(root, **{"data.valid_first": True}))
    last = data.load(face_config(root))
    for d, held_out in ((first, (0, 1)), (last, (8, 9))):
        for row, i in zip(d.validation.y, held_out, strict=True):
            np.testing.assert_allclose(
                row, true_y(root, "helen/trainset", i), atol=1e-5
            )


def test_unlabelled_faces_are_x_alone_and_y_alone(root):
    bare = data.load(face_config(root))
    d = data.load(face_config(root, **{"data.unlabelled": ("afw",)}))
    check_missing(d.train)
    assert len(d.train.x) == 8 + 2 * 4
    assert d.train.pairs.tolist() == [True] * 8 + [False] * 8
    assert d.train.has_x.tolist() == [True] * 12 + [False] * 4
    same(d.train.select(d.train.pairs), bare.train)
    same(d.validation, bare.validation)
    same(d.test, bare.test)
    faces, _ = read(root, ("afw",), data.crop_from_config(face_config(root)))
    np.testing.assert_array_equal(
        d.train.x[8:12],
        data.network_input(faces.canvas, data.crop_from_config(face_config(root))),
    )
    for i in range(4):
        expected = true_y(root, "afw", i)
        np.testing.assert_allclose(d.train.y[12 + i], expected, atol=1e-5)


def test_limited_pairs_and_unlabelled_faces_add_up(root):
    fields = {"data.unlabelled": ("afw", "helen/testset"), "data.pairs": 3}
    d = data.load(face_config(root, **fields))
    check_missing(d.train)
    assert d.train.pairs.sum() == 3
    assert (~d.train.has_y).sum() == (~d.train.has_x).sum() == 5 + 4 + 3


def test_augmentation_keeps_the_canvases_for_training(root):
    fields = {"data.context": 4, "data.margin": 0.1, "data.unlabelled": ("afw",)}
    plain = data.load(face_config(root, **fields))
    d = data.load(face_config(root, **{"augmentation.on": True}, **fields))
    check_missing(d.train)
    assert d.train.x.dtype == np.uint8
    assert d.train.x.shape == (16, 20, 20)
    seen = data.network_input(
        d.train.x, data.crop_from_config(face_config(root, **fields))
    )
    np.testing.assert_array_equal(seen, plain.train.x)
    np.testing.assert_array_equal(d.train.y, plain.train.y)
    same(d.validation, plain.validation)
    same(d.test, plain.test)


def test_training_and_test_sets_share_no_face(root):
    c = face_config(root, **{"data.train": ("afw",), "data.test": ("helen/testset",)})
    d = data.load(c)
    train, test = (
        {row.tobytes() for part in parts for row in part.x}
        for parts in ((d.train, d.validation), (d.test,))
    )
    assert len(train) == 4
    assert not train & test


def test_problems_of_all_folders_are_named(tmp_path):
    for folder in ("train", "test", "more"):
        for i in range(3):
            write_face(tmp_path / folder, f"f{i}_1.png", seed=hash_of(folder, i))
        (tmp_path / folder / "f1_1.pts").unlink()
    fields = {"data.train": ("train",), "data.test": ("test",)}
    fields |= {"data.unlabelled": ("more",), "data.valid": 0.5}
    c = face_config(tmp_path, **fields)
    assert_refused(
        lambda: data.load(c), str(tmp_path), "data.skip_bad=True", "f1_1.png"
    )
    c.data.skip_bad = True
    d = data.load(c)
    assert [p.name for p in d.problems] == ["train/f1_1", "test/f1_1", "more/f1_1"]
    assert (len(d.train.x), len(d.validation.x), len(d.test.x)) == (1 + 2 * 2, 1, 2)


def test_too_few_faces_to_validate_are_refused(root):
    c = face_config(root, **{"data.train": ("helen/testset",)})
    c.data.valid, c.data.test = 0.1, ("afw",)
    assert_refused(lambda: data.load(c), "data.valid=0.1 of 3 pairs", str(root))


def test_more_pairs_than_faces_are_refused(root):
    with pytest.raises(ConfigError, match=re.escape("data.pairs=9, but there are 8")):
        data.load(face_config(root, **{"data.pairs": 9}))


def test_a_missing_folder_is_named(root):
    c = face_config(root, **{"data.unlabelled": ("lfpw/trainset",)})
    assert_refused(lambda: data.load(c), str(root / "lfpw/trainset"), "is no folder")


def test_real_faces(real_data, tmp_path):
    """The coordinates span the box up to the rounding of its corners."""
    for folder in ("afw", "helen/testset"):
        there = real_data / "300w" / folder
        if not there.is_dir():
            pytest.skip(f"there is no 300w/{folder}/ in {real_data.name}/")
        (tmp_path / folder).mkdir(parents=True)
        for pts in sorted(there.glob("*.pts"))[:8]:
            for path in there.glob(f"{pts.stem}.*"):
                (tmp_path / folder / path.name).symlink_to(path)
    c = face_config(tmp_path, **{"data.train": ("afw",), "data.valid": 0.5})
    d = data.load(c)
    assert [len(part.x) for part in (d.train, d.validation, d.test)] == [4, 4, 8]
    for part in (d.train, d.validation, d.test):
        for xy in np.split(part.y, 2, axis=1):
            assert np.abs(xy.min(axis=1) + 0.5).max() < 0.03
            assert np.abs(xy.max(axis=1) - 0.5).max() < 0.03
        np.testing.assert_allclose(part.x.max(axis=(1, 2)), 1, atol=1e-6)
