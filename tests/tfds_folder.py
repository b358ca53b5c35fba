"""Writes folders as tensorflow-datasets prepares them, without TensorFlow."""

import io
import json

import numpy as np
import pytest
from PIL import Image

FEATURES = "tensorflow_datasets.core.features"


def need_extra():
    """Skips the test if the packages of the extra `tf` are not installed."""
    for module in ("tensorflow_datasets", "array_record"):
        pytest.importorskip(module, reason=f"the extra tf brings {module}")


def image_feature(shape, encoding):
    """Returns the description of an image in features.json."""
    dimensions = {"dimensions": [str(n) for n in shape]}
    return {
        "pythonClassName": f"{FEATURES}.image_feature.Image",
        "image": {"shape": dimensions, "dtype": "uint8", "encodingFormat": encoding},
    }


def features(**parts):
    """Returns the content of features.json."""
    return {
        "pythonClassName": f"{FEATURES}.features_dict.FeaturesDict",
        "featuresDict": {"features": parts},
    }


def encode(image, kind, **options):
    """Returns the bytes of an image file."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **options)
    return stream.getvalue()


def example(**values):
    """Returns a tf.train.Example of bytes, integers and arrays of floats."""
    from tensorflow_datasets.proto import tf_example_pb2
    from tensorflow_datasets.proto import tf_feature_pb2 as proto

    def feature(value):
        if isinstance(value, bytes):
            return proto.Feature(bytes_list=proto.BytesList(value=[value]))
        if isinstance(value, int):
            return proto.Feature(int64_list=proto.Int64List(value=[value]))
        return proto.Feature(float_list=proto.FloatList(value=np.ravel(value)))

    made = proto.Features(feature={k: feature(v) for k, v in values.items()})
    return tf_example_pb2.Example(features=made).SerializeToString()


def write(folder, features, splits, file_format="array_record"):
    """Writes a version of a dataset; the folder above it has the dataset's name.

    Args:
      folder: of the version; it must exist.
      features: the content of features.json.
      splits: the shards of each split by its name; a shard is a list of examples.
      file_format: of the files, as dataset_info.json states it.
    """
    name, version = folder.parent.name, folder.name
    infos = [_write_split(folder, name, *split) for split in splits.items()]
    info = {"name": name, "version": version, "fileFormat": file_format}
    (folder / "dataset_info.json").write_text(json.dumps(info | {"splits": infos}))
    (folder / "features.json").write_text(json.dumps(features))


def _write_split(folder, name, split, shards):
    from array_record.python.array_record_module import ArrayRecordWriter

    for i, shard in enumerate(shards):
        path = folder / f"{name}-{split}.array_record-{i:05}-of-{len(shards):05}"
        writer = ArrayRecordWriter(str(path), "group_size:1")
        for content in shard:
            writer.write(content)
        writer.close()
    return {
        "name": split,
        "shardLengths": [str(len(shard)) for shard in shards],
        "numBytes": str(sum(len(content) for shard in shards for content in shard)),
        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
    }
