import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl.data import readers
from mtl.host.errors import DataError
from tests.harm import Harm
from tests.mtl.images import (
    assert_refused,
    assert_same,
    mutations,
    random_images,
    repeatable,
)


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
    train, test, _ = readers.npz(write_npz(tmp_path))
    a = npz_arrays()
    assert_same(train, a["x_train"], a["y_train"])
    assert_same(test, a["x_test"], a["y_test"])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_npz_floats_stay_as_they_are(tmp_path, dtype):
    x = np.linspace(0, 1, 60).reshape(5, 4, 3).astype(dtype)
    train, *_ = readers.npz(write_npz(tmp_path, x_train=x))
    assert train.x.dtype == np.float32
    np.testing.assert_array_equal(train.x, x.astype(np.float32))


def test_npz_training_labels_may_be_hidden(tmp_path):
    y = np.array([-1, 3, -1, 0, -1], np.int8)
    train, *_ = readers.npz(write_npz(tmp_path, y_train=y))
    assert train.y.dtype == np.int32
    assert train.y.tolist() == y.tolist()


def test_npz_bits_and_names(tmp_path):
    x = np.arange(60).reshape(5, 4, 3) % 2 == 0
    names, others = np.array(["cat", "", "dog", "", "cat"]), np.array(list("cdc"))
    path = write_npz(tmp_path, x_train=x, y_train=names, y_test=others)
    train, test, _ = readers.npz(path)
    np.testing.assert_array_equal(train.x, x.astype(np.float32))
    assert train.y.tolist() == names.tolist()
    assert test.y.tolist() == others.tolist()


def test_npz_own_validation_set(tmp_path):
    x, y = random_images(4, 2, (4, 3))
    own = readers.npz(write_npz(tmp_path, x_valid=x, y_valid=y))
    assert_same(own.validation, x, y)


@pytest.mark.parametrize("lazy", [False, True])
def test_arrays_that_are_not_used_are_named(tmp_path, caplog, lazy):
    x, y = random_images(4, 2, (4, 3))
    with caplog.at_level("WARNING"):
        readers.npz(write_npz(tmp_path, x_valid=x, y_valid=y), lazy=lazy)
        assert not caplog.text
        readers.npz(write_npz(tmp_path, x_val=x, ids=y), lazy=lazy)
    assert "own.npz: not used: x_val, ids; did you mean x_valid?" in caplog.text


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.float64, bool, np.int8])
def test_npz_that_is_scaled_later_has_any_numbers(tmp_path, dtype):
    x = (np.arange(60).reshape(5, 4, 3) * 2 - 9).astype(dtype)
    train, *_ = readers.npz(write_npz(tmp_path, x_train=x), scaled=True)
    np.testing.assert_array_equal(train.x, x.astype(np.float32))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (np.full((5, 4, 3), np.nan), "must be finite"),
        (np.full((5, 4, 3), 1e300), "must be finite"),
        (np.full((5, 4, 3), 1j), "make it numbers"),
        (np.full((5, 4, 3), "a"), "make it numbers"),
        (np.full(5, 1), "must have the shape"),
    ],
)
def test_npz_that_is_scaled_later_refuses(tmp_path, bad, said):
    path = write_npz(tmp_path, x_train=bad)
    assert_refused(lambda: readers.npz(path, scaled=True), path, said)


F = np.full((5, 4, 3), 0.5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"x_train": F + 0.6}, "x_train must be in [0, 1]; it spans 1.1 to 1.1"),
        ({"x_train": F - 0.6}, "x_train must be in [0, 1]; it spans -0.1 to -0.1"),
        (
            {"x_train": np.where(F.cumsum() > 9, np.nan, 0.5).reshape(F.shape)},
            "x_train must be finite; 4 of 5 rows have NaN or infinite values, such as "
            "row 1",
        ),
        ({"x_train": F * np.inf}, "x_train must be finite; 5 of 5 rows"),
        ({"x_test": F[:3] * 3}, "x_test must be in [0, 1]"),
        ({"x_train": F.astype(np.int64)}, "make it uint8, or floats in [0, 1]"),
        ({"x_train": F.astype(complex)}, "make it uint8, or floats in [0, 1]"),
        ({"x_train": F[:, 0, 0]}, "x_train must have the shape [N, ...]"),
        ({"x_train": np.array(0.5)}, "x_train"),
        ({"x_train": np.zeros((5, 0))}, "x_train must have the shape [N, ...]"),
        ({"x_train": F[:0], "y_train": np.zeros(0, int)}, "y_train is empty"),
        ({"y_test": np.array([0, -1, 1])}, "y_test has labels from -1 to 1"),
        ({"y_train": np.array([0, -2, 1, 1, 1])}, "y_train has labels from -2 to 1"),
        ({"y_train": np.zeros(5)}, "it is float64[5]; take astype(int)"),
        (
            {"y_train": np.array([0, 1, np.nan, 1, np.nan])},
            "it is float64[5] with 2 NaN, such as in row 2; "
            'for "no label", take np.where(np.isnan(y), -1, y).astype(int)',
        ),
        (
            {"y_test": np.array([0, np.nan, 1])},
            "with 1 NaN, such as in row 1; leave these rows out",
        ),
        (
            {"y_train": np.eye(5)},
            "it is float64[5, 5]; of one-hot rows, take argmax(1)",
        ),
        (
            {"y_train": np.zeros(5, bool)},
            "y_train must hold 5 whole numbers or strings, one for each row of x; "
            "it is bool[5]; take astype(int)",
        ),
        ({"y_train": np.zeros((5, 1), int)}, "it is int64[5, 1]; take y[:, 0]"),
        ({"y_train": np.array([b"a"] * 5)}, "it is |S1[5]; take astype(str)"),
        ({"y_train": np.array(list("abcde"))}, "some labels are strings"),
        (
            {"y_test": np.array(["a", "", "b"])},
            "y_test has empty labels; only labels to train on may be",
        ),
        ({"x_valid": F}, "must have both x_valid and y_valid"),
        (
            {"x_valid": F[:, 0], "y_valid": np.zeros(5, int)},
            "rows have different shapes: x_train [4, 3], x_test [4, 3], x_valid [3]",
        ),
        (
            {"y_train": np.zeros((5, 1), int)},
            "y_train must hold 5 whole numbers",
        ),
        ({"y_train": np.array(3)}, "y_train must hold 5 whole numbers"),
        ({"y_train": np.zeros(4, int)}, "y_train must hold 5 whole numbers"),
        ({"y_test": np.zeros(5, int)}, "y_test must hold 3 whole numbers"),
        ({"y_train": np.array([0, 1, 2, 3, 2**31])}, "y_train"),
        ({"y_train": np.array([0, 1, 2, 3, 2**64 - 1], np.uint64)}, "y_train"),
        ({"x_test": np.zeros((3, 3, 4))}, "x_train [4, 3], x_test [3, 4]"),
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


def test_pickle_in_npz_is_refused_and_not_executed(tmp_path):
    mark = tmp_path / "executed"
    path = write_npz(tmp_path, x_train=np.array([Harm(mark)], object))
    assert_refused(lambda: readers.npz(path), path, "x_train holds Python objects")
    assert not mark.exists()
    # NumPy runs the code of a file that it may trust.
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
        train, test, _ = readers.npz(str(path))
    except DataError as e:
        assert str(path) in str(e)  # noqa: PT017
    else:
        assert len(train.x) == len(train.y) > 0
        assert len(test.x) == len(test.y) > 0
