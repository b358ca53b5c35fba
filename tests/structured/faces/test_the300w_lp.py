import json
import sys

import numpy as np
import pytest
from PIL import Image

from structured.faces import crops, the300w_lp
from structured.faces.crops import Crop
from tests import tfds_folder
from tests.mtl.images import assert_refused

CROP = Crop(30, context=2)


def tensor(shape):
    kind = f"{tfds_folder.FEATURES}.tensor_feature.Tensor"
    dimensions = {"dimensions": [str(n) for n in shape]}
    return {
        "pythonClassName": kind,
        "tensor": {"shape": dimensions, "dtype": "float32", "encoding": "none"},
    }


FEATURES = tfds_folder.features(
    image=tfds_folder.image_feature((450, 450, 3), "jpeg"),
    landmarks_2d=tensor((68, 2)),
    landmarks_3d=tensor((68, 2)),
    pose_params=tensor((7,)),
)


def face(seed):
    """Makes an image of noise blocks, and points in pixels from 0."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (45, 45, 3), np.uint8)
    return blocks.repeat(10, 0).repeat(10, 1), rng.uniform(50, 400, (68, 2))


@pytest.fixture
def prepared(tmp_path):
    """Writes a prepared folder of five faces in two shards."""
    tfds_folder.need_extra()
    folder = tmp_path / "the300w_lp" / "1.0.0"
    folder.mkdir(parents=True)
    write(folder, [face(seed) for seed in range(5)])
    return folder


def write(folder, rows, features=FEATURES):
    made = [example(*row) for row in rows]
    tfds_folder.write(folder, features, {"train": [made[:3], made[3:]]})


def example(image, points):
    """Encodes a face as the builder does: MATLAB's coordinates divided by the side."""
    if not isinstance(image, bytes):
        image = tfds_folder.encode(image, "jpeg", quality=95)
    return tfds_folder.example(
        image=image,
        landmarks_2d=(points + 1) / 450,
        landmarks_3d=np.zeros((68, 2)),
        pose_params=np.zeros(7),
    )


def test_round_trip(prepared):
    faces, problems = the300w_lp.read(str(prepared), "train", CROP)
    assert problems == []
    assert faces.canvas.shape == (5, 34, 34)
    assert faces.name.tolist() == [f"the300w_lp/train/00000{i}" for i in range(5)]
    for seed in range(5):
        image, points = face(seed)
        np.testing.assert_allclose(faces.points[seed], points, atol=1e-3)
        frame = crops.frame(crops.tight_box(points), CROP)
        np.testing.assert_array_equal(faces.frame[seed], frame)
        grey = np.asarray(Image.fromarray(image).convert("L"))
        expected = crops.cut(grey, frame, CROP).astype(int)
        # JPEG blurs the edges of the blocks, but another crop would be far off.
        assert np.abs(faces.canvas[seed] - expected).mean() < 3
    assert faces.points.dtype == faces.frame.dtype == np.float32
    assert "tensorflow" not in sys.modules


def test_part_of_a_split(prepared):
    faces, _ = the300w_lp.read(str(prepared), "train[1:4]", CROP)
    assert len(faces.name) == 3
    np.testing.assert_allclose(faces.points[0], face(1)[1], atol=1e-3)


def test_bad_faces_and_points_outside_of_the_image(prepared):
    rows = [face(seed) for seed in range(5)]
    rows[1] = (rows[1][0], np.full((68, 2), 9.0))
    rows[3][1][4] = [-5, 200]
    write(prepared, rows)
    assert_refused(
        lambda: the300w_lp.read(str(prepared), "train", CROP),
        str(prepared),
        "the300w_lp/train/000001: the box",
        "data.skip_bad=True",
    )
    faces, problems = the300w_lp.read(str(prepared), "train", CROP, skip_bad=True)
    assert [(p.name[-1], p.fatal) for p in problems] == [("1", True), ("3", False)]
    assert "number 5" in problems[1].message
    assert [name[-1] for name in faces.name] == ["0", "2", "3", "4"]


def test_a_broken_image(prepared):
    rows = [face(seed) for seed in range(5)]
    rows[2] = (b"no JPEG", rows[2][1])
    write(prepared, rows)
    _, problems = the300w_lp.read(str(prepared), "train", CROP, skip_bad=True)
    assert [(p.name[-1], p.fatal) for p in problems] == [("2", True)]
    assert "not a whole JPEG" in problems[0].message


def assert_unreadable(folder, split="train"):
    assert_refused(
        lambda: the300w_lp.read(str(folder), split, CROP),
        str(folder),
        f"the split {split} with image and landmarks_2d",
    )


@pytest.mark.parametrize("split", ["test", "train[", ""])
def test_missing_split(prepared, split):
    assert_unreadable(prepared, split)


def test_other_points(prepared):
    features = json.loads(json.dumps(FEATURES))
    features["featuresDict"]["features"]["landmarks_2d"] = tensor((34, 2))
    rows = [(image, points[:34]) for image, points in map(face, range(5))]
    write(prepared, rows, features=features)
    assert_unreadable(prepared)


def test_no_landmarks(prepared):
    features = json.loads(json.dumps(FEATURES))
    del features["featuresDict"]["features"]["landmarks_2d"]
    write(prepared, [face(seed) for seed in range(5)], features=features)
    assert_unreadable(prepared)


def test_other_images(prepared):
    rows = [(image[:400], points) for image, points in map(face, range(5))]
    write(prepared, rows)
    assert_unreadable(prepared)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("content", ["", '{"nonsense": 3}'])
def test_broken_json(prepared, name, content):
    (prepared / name).write_text(content)
    assert_unreadable(prepared)


@pytest.mark.parametrize("damage", [lambda c: c[:100], lambda c: b"text" * 99])
def test_broken_shard(prepared, damage):
    path = prepared / "the300w_lp-train.array_record-00001-of-00002"
    path.write_bytes(damage(path.read_bytes()))
    assert_unreadable(prepared)
    path.unlink()
    assert_unreadable(prepared)


def test_no_folder(tmp_path):
    pytest.importorskip("tensorflow_datasets", reason="the extra tf brings it")
    folder = str(tmp_path / "absent")
    assert_refused(
        lambda: the300w_lp.read(folder, "train", CROP), folder, "dataset_info.json"
    )


def test_without_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    assert_refused(
        lambda: the300w_lp.read(str(tmp_path), "train", CROP),
        "data.source='the300w_lp'",
        "pip install",
    )
