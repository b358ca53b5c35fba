import gzip
import math
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl.data import idx
from mtl.host.errors import DataError
from tests.mtl.images import (
    assert_refused,
    assert_same,
    mutations,
    random_images,
    repeatable,
)

STEMS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx_bytes(values, sizes=None):
    """An IDX file's bytes; `sizes` lies in the header about the shape of `values`."""
    sizes = values.shape if sizes is None else sizes
    head = bytes([0, 0, 8, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes)
    return head + values.tobytes()


def idx_contents(train=5, test=3, shape=(28, 28)):
    sets = random_images(train, 0, shape) + random_images(test, 1, shape)
    return {stem: idx_bytes(values) for stem, values in zip(STEMS, sets, strict=True)}


def write_idx(folder, contents, zipped=False):
    for stem, content in contents.items():
        path = folder / (f"{stem}.gz" if zipped else stem)
        path.write_bytes(gzip.compress(content, 1) if zipped else content)
    return str(folder)


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_round_trip(tmp_path, zipped):
    train, test = idx.load(write_idx(tmp_path, idx_contents(), zipped))
    assert_same(train, *random_images(5, 0))
    assert_same(test, *random_images(3, 1))
    assert train.x.shape == (5, 28, 28)


def test_idx_missing_folder(tmp_path):
    folder = str(tmp_path / "absent")
    assert_refused(lambda: idx.load(folder), f"data.path={folder!r}", "should hold IDX")


@pytest.mark.parametrize("stem", STEMS)
def test_idx_missing_file(tmp_path, stem):
    contents = idx_contents()
    del contents[stem]
    folder = write_idx(tmp_path, contents)
    assert_refused(lambda: idx.load(folder), folder, f"{stem}.gz", "get both")


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
    assert_refused(lambda: idx.load(folder), str(path))
    if path.stat().st_size:
        assert_refused(lambda: idx.load(folder), "broken gzip", "get it again")


@pytest.mark.parametrize(
    "content",
    [b"", b"\0\0", b"<html>no such page</html>", idx_contents()[STEMS[1]]],
    ids=["empty", "two bytes", "html", "labels where images belong"],
)
def test_idx_wrong_magic(tmp_path, content):
    folder = write_idx(tmp_path, idx_contents() | {STEMS[0]: content})
    assert_refused(
        lambda: idx.load(folder), str(tmp_path / STEMS[0]), "not an IDX file"
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
    folder = write_idx(tmp_path, idx_contents() | {STEMS[0]: idx_bytes(x, sizes)})
    assert_refused(
        lambda: idx.load(folder),
        str(tmp_path / STEMS[0]),
        "header says",
        "get it again",
    )


def test_idx_sizes_whose_product_overflows_are_refused(tmp_path):
    """2^31 * 2^31 * 4 is 0 in 64 bits, which is how many bytes follow."""
    sizes = (2**31, 2**31, 4)
    assert math.prod(sizes) % 2**64 == 0
    none = idx_bytes(np.zeros(0, np.uint8), sizes)
    folder = write_idx(tmp_path, idx_contents() | {STEMS[0]: none})
    assert_refused(lambda: idx.load(folder), str(tmp_path / STEMS[0]))


@pytest.mark.parametrize("shape", [(0, 28), (28, 0), (0, 0)])
def test_idx_images_without_pixels_are_refused(tmp_path, shape):
    folder = write_idx(tmp_path, idx_contents(shape=shape))
    assert_refused(lambda: idx.load(folder), folder, "must have the shape")


def test_idx_without_rows_is_refused(tmp_path):
    folder = write_idx(tmp_path, idx_contents(train=0))
    assert_refused(lambda: idx.load(folder), folder, "must have the shape")


@pytest.mark.parametrize(("stem", "part"), [(STEMS[1], "train"), (STEMS[3], "t10k")])
def test_idx_counts_that_differ(tmp_path, stem, part):
    _, y = random_images(7)
    folder = write_idx(tmp_path, idx_contents() | {stem: idx_bytes(y)})
    assert_refused(lambda: idx.load(folder), folder, f"{part} images but 7 labels")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
@pytest.mark.parametrize("zipped", [False, True])
def test_idx_wrong_checksum(tmp_path, name, zipped):
    folder = write_idx(tmp_path, idx_contents(), zipped)
    assert_refused(
        lambda: idx.load(folder, name),
        str(tmp_path / STEMS[0]),
        f"not {name}'s published file",
        "data.source='idx'",
    )


def test_real_mnist_passes_its_checksums(real_data):
    folder = str(real_data / "mnist")
    if not Path(folder).is_dir():
        pytest.skip(f"there is no mnist/ in {real_data.name}/")
    train, test = idx.load(folder, "mnist")
    assert train.x.shape == (60_000, 28, 28)
    assert test.x.shape == (10_000, 28, 28)
    assert train.x.min() == 0
    assert train.x.max() == 1
    assert np.bincount(train.y).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949
    ]  # fmt: skip
    assert_refused(
        lambda: idx.load(folder, "fashion_mnist"),
        "not fashion_mnist's published file",
    )


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
        sets = idx.load(folder)
    except DataError as e:
        assert folder in str(e)  # noqa: PT017
    else:
        for x, y in sets:
            assert x.ndim == 3
            assert len(x) == len(y) > 0
            assert x.size > 0
