"""Training images that stay in their file are those that are read whole."""

import gzip
import tracemalloc

import numpy as np
import pytest

from mtl import config as configs
from mtl import experiment
from mtl.data import datasets, mapped
from mtl.data.mapped import MappedRows
from mtl.host.errors import DataError
from tests.mtl import images
from tests.mtl.data.test_idx import STEMS, idx_bytes, write_idx

ROWS = 300


def arrays(kind):
    """An .npz of one's own; the validation set is drawn from the training rows."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (ROWS, 4, 5)).astype(np.uint8)
    y = np.where(np.arange(ROWS) < 90, np.arange(ROWS) % 3, -1)
    if kind != "bytes":
        x = (x / 255).astype(kind)
    return {"x_train": x, "y_train": y, "x_test": x[:9], "y_test": y[:9]}


def config(source, path, **changes):
    c = configs.default()
    c.data.source, c.data.path, c.data.valid = source, str(path), 20
    c.data.labelled, c.shard_data = 12, True
    for name, value in changes.items():
        c.data[name] = value
    return c


def assert_mapped_as_whole(c):
    """Training rows, description and scaling are the same, to the last bit."""
    whole, lazy = (datasets.load(c.data, lazy) for lazy in (False, True))
    assert isinstance(lazy.train.x, MappedRows)
    assert experiment.describe(lazy) == experiment.describe(whole)
    rows, expected = (
        experiment.make_training(c, dataset).data["image"] for dataset in (lazy, whole)
    )
    assert isinstance(rows, MappedRows)
    assert (rows.shape, rows.dtype) == (expected.shape, expected.dtype)
    for part in (slice(None), slice(3, 50), slice(200, 999), slice(5, 5)):
        np.testing.assert_array_equal(rows[part], expected[part])


@pytest.mark.parametrize("kind", ["bytes", "float32", "float64", "bool"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz(tmp_path, monkeypatch, kind, save):
    monkeypatch.setattr(mapped, "BLOCK_BYTES", 999)
    save(tmp_path / "own.npz", **arrays(kind))
    assert_mapped_as_whole(config("npz", tmp_path / "own.npz"))


@pytest.mark.parametrize("scaling", ["minmax", "standardise"])
@pytest.mark.parametrize("columns", [1, 2, 20])
def test_features_of_any_range_are_scaled_alike(
    tmp_path, monkeypatch, scaling, columns
):
    monkeypatch.setattr(mapped, "BLOCK_BYTES", 999)
    given = arrays("float32")
    x = given["x_train"].reshape(ROWS, -1)[:, :columns] * 1e3 - 37
    given |= {"x_train": x, "x_test": x[:9]}
    np.savez(tmp_path / "own.npz", **given)
    assert_mapped_as_whole(config("npz", tmp_path / "own.npz", scaling=scaling))


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_files(tmp_path, zipped):
    sets = images.random_images(200, 0) + images.random_images(9, 1)
    contents = {s: idx_bytes(v) for s, v in zip(STEMS, sets, strict=True)}
    write_idx(tmp_path, contents, zipped)
    assert_mapped_as_whole(config("idx", tmp_path))


@pytest.mark.parametrize(
    "x",
    [
        np.full((ROWS, 2), 2.0),
        np.full((ROWS, 2), np.nan),
        np.array([{}] * ROWS),
        np.zeros(ROWS),
        np.zeros(()),
        np.zeros((ROWS, 0)),
    ],
    ids=["range", "nan", "objects", "one number a row", "single", "empty"],
)
def test_what_is_refused_whole_is_refused_mapped(tmp_path, x):
    np.savez(tmp_path / "own.npz", **arrays("float32") | {"x_train": x})
    said = []
    for lazy in (False, True):
        with pytest.raises(DataError) as caught:
            datasets.load(config("npz", tmp_path / "own.npz").data, lazy)
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_a_broken_gzip_is_refused(tmp_path):
    sets = images.random_images(200, 0) + images.random_images(9, 1)
    contents = {s: idx_bytes(v) for s, v in zip(STEMS, sets, strict=True)}
    write_idx(tmp_path, contents, zipped=True)
    packed = gzip.compress(contents[STEMS[0]])
    (tmp_path / f"{STEMS[0]}.gz").write_bytes(packed[:-9])
    with pytest.raises(DataError, match="broken gzip"):
        datasets.load(config("idx", tmp_path).data, lazy=True)


def test_rows_in_another_order_of_memory_are_read_whole(tmp_path):
    given = arrays("float32")
    given["x_train"] = np.asfortranarray(given["x_train"])
    np.savez(tmp_path / "own.npz", **given)
    c = config("npz", tmp_path / "own.npz")
    assert not isinstance(datasets.load(c.data, lazy=True).train.x, MappedRows)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_part_of_the_rows_takes_the_memory_of_that_part(tmp_path, monkeypatch, save):
    monkeypatch.setattr(mapped, "BLOCK_BYTES", 2**16)
    x = np.random.default_rng(0).random((20_000, 100), np.float32)  # 8 MB.
    y = np.arange(len(x)) % 10
    save(tmp_path / "own.npz", x_train=x, y_train=y, x_test=x[:99], y_test=y[:99])
    del x, y
    tracemalloc.start()
    c = config("npz", tmp_path / "own.npz")
    dataset = datasets.load(c.data, lazy=True)
    image = experiment.make_training(c, dataset).data["image"]
    experiment.describe(dataset)
    half = image[: len(image) // 2]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert half.nbytes < peak < half.nbytes + 3e6
