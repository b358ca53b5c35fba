import sys

import numpy as np
import pytest

from mtl.data import readers
from tests import tfds_folder
from tests.mtl.images import (
    assert_refused,
    assert_same,
    random_images,
)

LABEL = {
    "pythonClassName": f"{tfds_folder.FEATURES}.class_label_feature.ClassLabel",
    "classLabel": {"numClasses": "10"},
}
FEATURES = tfds_folder.features(
    image=tfds_folder.image_feature((28, 28, 1), "png"), label=LABEL
)


@pytest.fixture
def tfds_version(tmp_path):
    """A prepared folder; two shards to train."""
    tfds_folder.need_extra()
    folder = tmp_path / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    write_tfds(folder, train=(*random_images(5, 0), 2), test=(*random_images(3, 1), 1))
    return folder


def write_tfds(folder, file_format="array_record", **splits):
    """Each split is (images, labels, number of shards)."""
    shards = {name: examples(*split) for name, split in splits.items()}
    tfds_folder.write(folder, FEATURES, shards, file_format)


def examples(x, y, shards):
    """The image as PNG, the label as an integer."""
    made = [
        tfds_folder.example(image=tfds_folder.encode(image, "png"), label=int(label))
        for image, label in zip(x, y, strict=True)
    ]
    return [[made[i] for i in rows] for rows in np.array_split(range(len(y)), shards)]


def test_tfds_round_trip(tfds_version):
    train, test = readers.tfds_folder(str(tfds_version))
    x, y = random_images(5, 0)
    assert_same(train, x[..., None], y)
    x, y = random_images(3, 1)
    assert_same(test, x[..., None], y)
    assert "tensorflow" not in sys.modules


def test_tfds_no_folder(tmp_path):
    pytest.importorskip("tensorflow_datasets", reason="the extra tf brings it")
    folder = str(tmp_path / "absent")
    assert_refused(
        lambda: readers.tfds_folder(folder), folder, "dataset_info.json", "array_record"
    )


def test_tfds_no_dataset_info(tfds_version):
    """As when the folder above, without the version, is given."""
    folder = str(tfds_version.parent)
    assert_refused(
        lambda: readers.tfds_folder(folder), folder, "dataset_info.json", "one version"
    )


def assert_tfds_refused(folder):
    assert_refused(
        lambda: readers.tfds_folder(str(folder)),
        str(folder),
        "splits train and test with image and label, as array_record files",
    )


@pytest.mark.parametrize("part", ["train", "test"])
def test_tfds_missing_split(tfds_version, part):
    write_tfds(tfds_version, **{part: (*random_images(5), 1)})
    assert_tfds_refused(tfds_version)


def test_tfds_other_file_format(tfds_version):
    splits = {part: (*random_images(3), 1) for part in ("train", "test")}
    write_tfds(tfds_version, "tfrecord", **splits)
    assert_tfds_refused(tfds_version)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("content", ["", "{", '{"nonsense": 3}', "[1]"])
def test_tfds_broken_json(tfds_version, name, content):
    (tfds_version / name).write_text(content)
    assert_tfds_refused(tfds_version)


def test_tfds_no_features(tfds_version):
    (tfds_version / "features.json").unlink()
    assert_tfds_refused(tfds_version)


def test_tfds_missing_shard(tfds_version):
    (tfds_version / "mnist-train.array_record-00001-of-00002").unlink()
    assert_tfds_refused(tfds_version)


@pytest.mark.parametrize("damage", [lambda c: c[:100], lambda c: b"text" * 99])
def test_tfds_broken_shard(tfds_version, damage):
    path = tfds_version / "mnist-test.array_record-00000-of-00001"
    path.write_bytes(damage(path.read_bytes()))
    assert_tfds_refused(tfds_version)


@pytest.mark.parametrize(("part", "label"), [("train", -2), ("test", -1)])
def test_tfds_labels_below_what_they_may_be(tfds_version, part, label):
    x, y = random_images(5)
    splits = dict.fromkeys(("train", "test"), (x, y, 1))
    splits[part] = (x, np.array([0, 1, 2, label, 3]), 1)
    write_tfds(tfds_version, **splits)
    assert_refused(lambda: readers.tfds_folder(str(tfds_version)), str(tfds_version))


def test_tfds_without_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    assert_refused(
        lambda: readers.tfds_folder(str(tmp_path)), "data.source='tfds'", "pip install"
    )
