import io
import json
import sys

import numpy as np
import pytest

from mtl.data import readers
from tests.mtl.images import (
    assert_refused,
    assert_same,
    random_images,
)

FEATURES = {
    "pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
    "featuresDict": {
        "features": {
            "image": {
                "pythonClassName": (
                    "tensorflow_datasets.core.features.image_feature.Image"
                ),
                "image": {
                    "shape": {"dimensions": ["28", "28", "1"]},
                    "dtype": "uint8",
                    "encodingFormat": "png",
                },
            },
            "label": {
                "pythonClassName": (
                    "tensorflow_datasets.core.features.class_label_feature.ClassLabel"
                ),
                "classLabel": {"numClasses": "10"},
            },
        }
    },
}


@pytest.fixture
def tfds_version(tmp_path):
    """A prepared folder, written without TensorFlow; two shards to train."""
    for module in ("tensorflow_datasets", "array_record", "PIL"):
        pytest.importorskip(module, reason=f"the extra tf brings {module}")
    folder = tmp_path / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    write_tfds(folder, train=(*random_images(5, 0), 2), test=(*random_images(3, 1), 1))
    return folder


def write_tfds(folder, file_format="array_record", **splits):
    infos = [write_split(folder, name, *split) for name, split in splits.items()]
    info = {
        "name": "mnist",
        "version": "3.0.1",
        "fileFormat": file_format,
        "splits": infos,
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    (folder / "features.json").write_text(json.dumps(FEATURES))


def write_split(folder, name, x, y, shards):
    from array_record.python.array_record_module import ArrayRecordWriter

    rows = np.array_split(np.arange(len(y)), shards)
    for i, shard in enumerate(rows):
        path = folder / f"mnist-{name}.array_record-{i:05}-of-{shards:05}"
        writer = ArrayRecordWriter(str(path), "group_size:1")
        for row in shard:
            writer.write(example(x[row], y[row]))
        writer.close()
    return {
        "name": name,
        "shardLengths": [str(len(shard)) for shard in rows],
        "numBytes": str(x.nbytes),
        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
    }


def example(x, y):
    """A tf.train.Example: the image as PNG, the label as an integer."""
    from PIL import Image
    from tensorflow_datasets.proto import tf_example_pb2
    from tensorflow_datasets.proto import tf_feature_pb2 as proto

    png = io.BytesIO()
    Image.fromarray(x).save(png, "png")
    image = proto.Feature(bytes_list=proto.BytesList(value=[png.getvalue()]))
    label = proto.Feature(int64_list=proto.Int64List(value=[int(y)]))
    features = proto.Features(feature={"image": image, "label": label})
    return tf_example_pb2.Example(features=features).SerializeToString()


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
