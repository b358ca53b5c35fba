import gzip
import io
import json
import math
import os
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtl import readers
from mtl.errors import DataError

STEMS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

repeatable = settings(
    derandomize=True,
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def random_images(count, seed=0, shape=(28, 28)):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (count, *shape), np.uint8)
    return x, rng.integers(0, 10, count, np.uint8)


def idx(values, sizes=None):
    """An IDX file's bytes; `sizes` lies in the header about the shape of `values`."""
    sizes = values.shape if sizes is None else sizes
    head = bytes([0, 0, 8, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes)
    return head + values.tobytes()


def idx_contents(train=5, test=3, shape=(28, 28)):
    sets = random_images(train, 0, shape) + random_images(test, 1, shape)
    return {stem: idx(values) for stem, values in zip(STEMS, sets, strict=True)}


def write_idx(folder, contents, zipped=False):
    for stem, content in contents.items():
        path = folder / (f"{stem}.gz" if zipped else stem)
        path.write_bytes(gzip.compress(content, 1) if zipped else content)
    return str(folder)


def assert_refused(read, *parts):
    """DataError, with all these parts in the message."""
    with pytest.raises(DataError) as e:
        read()
    for part in parts:
        assert part in str(e.value)


def assert_same(images, x, y):
    assert images.x.dtype == np.float32
    assert images.y.dtype == np.int32
    np.testing.assert_array_equal(images.x, x.astype(np.float32) / 255)
    np.testing.assert_array_equal(images.y, y)


# IDX


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_round_trip(tmp_path, zipped):
    train, test = readers.idx_folder(write_idx(tmp_path, idx_contents(), zipped))
    assert_same(train, *random_images(5, 0))
    assert_same(test, *random_images(3, 1))
    assert train.x.shape == (5, 28, 28)


def test_idx_missing_folder(tmp_path):
    folder = str(tmp_path / "absent")
    assert_refused(
        lambda: readers.idx_folder(folder), f"data.path={folder!r}", "should hold IDX"
    )


@pytest.mark.parametrize("stem", STEMS)
def test_idx_missing_file(tmp_path, stem):
    contents = idx_contents()
    del contents[stem]
    folder = write_idx(tmp_path, contents)
    assert_refused(lambda: readers.idx_folder(folder), folder, f"{stem}.gz", "get both")


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c[: len(c) // 2],
        lambda c: c[:-4],
        lambda c: c[:5],
        lambda c: b"",
        lambda c: b"no gzip at all",
        lambda c: c[:10] + b"garbage" * 9,
        lambda c: c + b"garbage",
    ],
    ids=["half", "no end", "half a head", "empty", "text", "bad deflate", "appendix"],
)
def test_idx_broken_gzip(tmp_path, damage):
    folder = write_idx(tmp_path, idx_contents(), zipped=True)
    path = tmp_path / f"{STEMS[2]}.gz"
    path.write_bytes(damage(path.read_bytes()))
    # An empty file is an empty gzip: it is the IDX header that is missing then.
    assert_refused(lambda: readers.idx_folder(folder), str(path))
    if path.stat().st_size:
        assert_refused(
            lambda: readers.idx_folder(folder), "broken gzip", "get it again"
        )


@pytest.mark.parametrize(
    "content",
    [b"", b"\0\0", b"<html>no such page</html>", idx_contents()[STEMS[1]]],
    ids=["empty", "two bytes", "html", "labels where images belong"],
)
def test_idx_wrong_magic(tmp_path, content):
    folder = write_idx(tmp_path, idx_contents() | {STEMS[0]: content})
    assert_refused(
        lambda: readers.idx_folder(folder), str(tmp_path / STEMS[0]), "not an IDX file"
    )


@pytest.mark.parametrize(
    "sizes",
    [
        (6, 28, 28),
        (4, 28, 28),
        (5, 28, 27),
        (0, 28, 28),
        (2**32 - 1,) * 3,
        (2**31, 2**31, 4),
    ],
    ids=str,
)
def test_idx_header_does_not_match_byte_count(tmp_path, sizes):
    x, _ = random_images(5)
    folder = write_idx(tmp_path, idx_contents() | {STEMS[0]: idx(x, sizes)})
    assert_refused(
        lambda: readers.idx_folder(folder),
        str(tmp_path / STEMS[0]),
        "header says",
        "get it again",
    )


def test_idx_sizes_whose_product_overflows_are_refused(tmp_path):
    """2^31 * 2^31 * 4 is 0 in 64 bits, which is how many bytes follow."""
    sizes = (2**31, 2**31, 4)
    assert math.prod(sizes) % 2**64 == 0
    none = idx(np.zeros(0, np.uint8), sizes)
    folder = write_idx(tmp_path, idx_contents() | {STEMS[0]: none})
    assert_refused(lambda: readers.idx_folder(folder), str(tmp_path / STEMS[0]))


@pytest.mark.parametrize("shape", [(0, 28), (28, 0), (0, 0)])
def test_idx_images_without_pixels_are_refused(tmp_path, shape):
    folder = write_idx(tmp_path, idx_contents(shape=shape))
    assert_refused(lambda: readers.idx_folder(folder), folder, "must have the shape")


def test_idx_without_rows_is_refused(tmp_path):
    folder = write_idx(tmp_path, idx_contents(train=0))
    assert_refused(lambda: readers.idx_folder(folder), folder, "must have the shape")


@pytest.mark.parametrize(("stem", "part"), [(STEMS[1], "train"), (STEMS[3], "t10k")])
def test_idx_counts_that_differ(tmp_path, stem, part):
    _, y = random_images(7)
    folder = write_idx(tmp_path, idx_contents() | {stem: idx(y)})
    assert_refused(
        lambda: readers.idx_folder(folder), folder, f"{part} images but 7 labels"
    )


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
@pytest.mark.parametrize("zipped", [False, True])
def test_idx_wrong_checksum(tmp_path, name, zipped):
    folder = write_idx(tmp_path, idx_contents(), zipped)
    assert_refused(
        lambda: readers.idx_folder(folder, name),
        str(tmp_path / STEMS[0]),
        f"not {name}'s published file",
        "data.source='idx'",
    )


def test_real_mnist_passes_its_checksums(real_data):
    folder = str(real_data / "mnist")
    if not Path(folder).is_dir():
        pytest.skip(f"there is no mnist/ in {real_data.name}/")
    train, test = readers.idx_folder(folder, "mnist")
    assert train.x.shape == (60_000, 28, 28)
    assert test.x.shape == (10_000, 28, 28)
    assert train.x.min() == 0
    assert train.x.max() == 1
    assert np.bincount(train.y).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949
    ]  # fmt: skip
    assert_refused(
        lambda: readers.idx_folder(folder, "fashion_mnist"),
        "not fashion_mnist's published file",
    )


@st.composite
def mutations(draw, size):
    """A function that changes a few of the bytes of a content of about this size."""
    at = st.integers(0, size)
    some = st.binary(max_size=9)
    edits = draw(st.lists(st.tuples(at, at, some), min_size=1, max_size=3))

    def mutate(content):
        for start, drop, put in edits:
            # Half the edits are replacements, which keep the length.
            drop = len(put) if drop % 2 else drop
            content = content[:start] + put + content[start + drop :]
        return content

    return mutate


@repeatable
@given(
    stem=st.sampled_from(STEMS),
    mutate=mutations(64),
    zipped=st.booleans(),
)
def test_mutated_idx_loads_or_is_refused(tmp_path, stem, mutate, zipped):
    contents = idx_contents(train=4, test=2, shape=(3, 3))
    for other in STEMS:
        (tmp_path / other).unlink(missing_ok=True)
    folder = write_idx(tmp_path, contents, zipped)
    path = tmp_path / (f"{stem}.gz" if zipped else stem)
    path.write_bytes(mutate(path.read_bytes()))
    try:
        sets = readers.idx_folder(folder)
    except DataError as e:
        assert folder in str(e)  # noqa: PT017
    else:
        for x, y in sets:
            assert x.ndim == 3
            assert len(x) == len(y) > 0
            assert x.size > 0


# npz


def npz_arrays(**changes):
    (x, y), (u, v) = random_images(5, 0, (4, 3)), random_images(3, 1, (4, 3))
    arrays = {
        "x_train": x,
        "y_train": y.astype(np.int64),
        "x_test": u,
        "y_test": v.astype(np.int64),
    }
    return {k: v for k, v in (arrays | changes).items() if v is not None}


def write_npz(folder, **changes):
    path = folder / "own.npz"
    np.savez(path, **npz_arrays(**changes))
    return str(path)


def test_npz_bytes(tmp_path):
    train, test = readers.npz(write_npz(tmp_path))
    a = npz_arrays()
    assert_same(train, a["x_train"], a["y_train"])
    assert_same(test, a["x_test"], a["y_test"])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_npz_floats_stay_as_they_are(tmp_path, dtype):
    x = np.linspace(0, 1, 60).reshape(5, 4, 3).astype(dtype)
    train, _ = readers.npz(write_npz(tmp_path, x_train=x))
    assert train.x.dtype == np.float32
    np.testing.assert_array_equal(train.x, x.astype(np.float32))


def test_npz_training_labels_may_be_hidden(tmp_path):
    y = np.array([-1, 3, -1, 0, -1], np.int8)
    train, _ = readers.npz(write_npz(tmp_path, y_train=y))
    assert train.y.dtype == np.int32
    assert train.y.tolist() == y.tolist()


F = np.full((5, 4, 3), 0.5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"x_train": F + 0.6}, "x_train must be finite and in [0, 1]"),
        ({"x_train": F - 0.6}, "x_train must be finite and in [0, 1]"),
        (
            {"x_train": np.where(F.cumsum() > 9, np.nan, 0.5).reshape(F.shape)},
            "x_train",
        ),
        ({"x_train": F * np.inf}, "x_train must be finite and in [0, 1]"),
        ({"x_test": F[:3] * 3}, "x_test must be finite and in [0, 1]"),
        ({"x_train": F.astype(np.int64)}, "make it uint8, or floats in [0, 1]"),
        ({"x_train": F.astype(bool)}, "make it uint8, or floats in [0, 1]"),
        ({"x_train": F.astype(complex)}, "make it uint8, or floats in [0, 1]"),
        ({"x_train": F[:, 0, 0]}, "x_train must have the shape [N, ...]"),
        ({"x_train": np.array(0.5)}, "x_train"),
        ({"x_train": np.zeros((5, 0))}, "x_train must have the shape [N, ...]"),
        ({"x_train": F[:0], "y_train": np.zeros(0, int)}, "y_train must not be empty"),
        ({"y_test": np.array([0, -1, 1])}, "y_test must not be empty or have labels"),
        ({"y_train": np.array([0, -2, 1, 1, 1])}, "labels below -1"),
        ({"y_train": np.zeros(5)}, "y_train must hold 5 integers"),
        ({"y_train": np.zeros(5, bool)}, "y_train must hold 5 integers"),
        ({"y_train": np.array(list("abcde"))}, "y_train must hold 5 integers"),
        ({"y_train": np.zeros((5, 1), int)}, "y_train must hold 5 integers"),
        ({"y_train": np.array(3)}, "y_train must hold 5 integers"),
        ({"y_train": np.zeros(4, int)}, "y_train must hold 5 integers"),
        ({"y_test": np.zeros(5, int)}, "y_test must hold 3 integers"),
        ({"y_train": np.array([0, 1, 2, 3, 2**31])}, "y_train"),
        ({"y_train": np.array([0, 1, 2, 3, 2**64 - 1], np.uint64)}, "y_train"),
        ({"x_test": np.zeros((3, 3, 4))}, "rows of different shapes"),
        ({"x_test": None}, "has no x_test; it has x_train, y_train, y_test"),
        ({"x_train": None, "y_test": None}, "has no x_train, y_test"),
    ],
    ids=lambda v: "-".join(v) if isinstance(v, dict) else None,
)
def test_npz_refusals(tmp_path, changes, said):
    path = write_npz(tmp_path, **changes)
    assert_refused(lambda: readers.npz(path), path, said)


def test_npz_missing_file(tmp_path):
    path = str(tmp_path / "absent.npz")
    assert_refused(lambda: readers.npz(path), path, "no such file")


def npy():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def one_member(content, name="x_train.npy"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as z:
        z.writestr(name, content)
    return buffer.getvalue()


def npy_header(shape):
    buffer = io.BytesIO()
    head = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, head)
    return buffer.getvalue()


def encrypted():
    """The flag that says so is set; Python asks for a password then."""
    content = bytearray(one_member(npy()))
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        npy(),
        one_member(b"no npy"),
        one_member(npy()[:-3]),
        one_member(npy_header((10**15,))),
        one_member(npy_header((10**30,))),
        encrypted(),
    ],
    ids=[
        "empty",
        "text",
        "npy",
        "member is no npy",
        "member cut short",
        "member too large",
        "member far too large",
        "encrypted",
    ],
)
def test_npz_that_is_none(tmp_path, content):
    path = tmp_path / "own.npz"
    path.write_bytes(content)
    read = lambda: readers.load_npz(path, ("x_train",))  # noqa: E731
    assert_refused(read, str(path), "numpy.savez")


def test_npz_that_is_a_folder(tmp_path):
    assert_refused(lambda: readers.npz(str(tmp_path)), str(tmp_path), "numpy.savez")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_truncated_npz(tmp_path, share):
    path = Path(write_npz(tmp_path))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert_refused(lambda: readers.npz(str(path)), str(path), "numpy.savez")


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickle_in_npz_is_refused_and_not_executed(tmp_path):
    mark = tmp_path / "executed"
    path = write_npz(tmp_path, x_train=np.array([Bomb(mark)], object))
    assert_refused(lambda: readers.npz(path), path, "plain arrays")
    assert not mark.exists()
    # The bomb is live: NumPy sets it off when asked to.
    with np.load(path, allow_pickle=True) as file:
        file["x_train"]
    assert mark.exists()


@repeatable
@given(mutate=mutations(1000), packed=st.booleans())
def test_mutated_npz_loads_or_is_refused(tmp_path, mutate, packed):
    path = tmp_path / "own.npz"
    (np.savez_compressed if packed else np.savez)(path, **npz_arrays())
    path.write_bytes(mutate(path.read_bytes()))
    try:
        train, test = readers.npz(str(path))
    except DataError as e:
        assert str(path) in str(e)  # noqa: PT017
    else:
        assert len(train.x) == len(train.y) > 0
        assert len(test.x) == len(test.y) > 0


# tensorflow-datasets

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
