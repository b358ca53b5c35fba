import numpy as np
import pytest

from mtl.host.errors import ConfigError
from structured import config as configs
from structured import data, examples
from tests.mtl.images import assert_refused
from tests.structured.datasets import check_missing, config

PARTS = ("train", "test")


def save(path, **changes):
    """Saves 20 training rows (0 ... 2 lack x, 3 ... 7 lack y) and 5 test rows."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 20), ("test", 5)):
        arrays[f"x_{part}"] = rng.uniform(1, 2, (n, 3, 2))
        arrays[f"y_{part}"] = rng.uniform(-2, -1, (n, 4))
    arrays["x_train"][:3], arrays["y_train"][3:8] = np.nan, np.nan
    for name, change in changes.items():
        arrays[name] = change(arrays[name])
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    return arrays


def load(path, **fields):
    return data.load(
        config("npz", **{"data.path": str(path), "data.valid": 0.25}, **fields)
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "own.npz"


def test_rows_of_nan_are_missing(path):
    arrays = save(path)
    d = load(path)
    check_missing(d.train)
    assert (len(d.train.x), len(d.validation.x), len(d.test.x)) == (17, 3, 5)
    assert d.train.has_x.tolist() == [False] * 3 + [True] * 14
    assert d.train.has_y.tolist() == [True] * 3 + [False] * 5 + [True] * 9
    held = np.sort(np.random.default_rng(0).permutation(np.arange(8, 20))[-3:])
    rest = np.setdiff1d(np.arange(20), held)
    for part in (d.train, d.validation, d.test):
        assert part.x.dtype == part.y.dtype == np.float32
        assert np.isfinite(part.x).all()
        assert np.isfinite(part.y).all()
    x, y = (arrays[name].astype(np.float32) for name in ("x_train", "y_train"))
    np.testing.assert_array_equal(d.train.x[3:], x[rest[3:]])
    np.testing.assert_array_equal(
        d.train.y[d.train.has_y], np.delete(y[rest], range(3, 8), 0)
    )
    np.testing.assert_array_equal(d.validation.x, x[held])
    np.testing.assert_array_equal(d.validation.y, y[held])
    np.testing.assert_array_equal(d.test.y, arrays["y_test"].astype(np.float32))


def test_pairs_that_validate_are_drawn_by_a_seed(path):
    """So a file that is sorted by y does not validate on its end alone."""
    save(path, y_train=lambda y: np.sort(y, axis=0))
    first, again, other = (
        load(path, **{"data.valid_seed": s}).validation for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.y, again.y)
    assert not np.array_equal(first.y, other.y)
    y = load(path, **{"data.valid_first": True}).validation.y
    assert y.max() <= min(first.y.max(), other.y.max())


def test_a_validation_set_in_the_file_is_used(path):
    arrays = save(path)
    own = {"x_valid": arrays["x_test"] + 0.5, "y_valid": arrays["y_test"]}
    np.savez(path, **arrays, **own)
    d = load(path)
    assert len(d.train.x) == 20
    np.testing.assert_array_equal(d.validation.x, own["x_valid"].astype(np.float32))
    np.savez(path, **arrays, **own | {"y_valid": own["y_valid"] * np.nan})
    assert_refused(lambda: load(path), "row 0 of x_valid or y_valid", "must be pairs")
    np.savez(path, **arrays, x_valid=own["x_valid"])
    assert_refused(lambda: load(path), "both x_valid and y_valid, or neither")


def test_pairs_of_arrays_are_limited_too(path):
    save(path)
    d = load(path, **{"data.pairs": 4})
    check_missing(d.train)
    # Of 12 pairs 3 validate and 5 are separated.
    assert d.train.pairs.sum() == 4
    assert (~d.train.has_y).sum() == 5 + 5
    assert (~d.train.has_x).sum() == 3 + 5
    with pytest.raises(ConfigError, match=r"data\.pairs=10, but there are 9"):
        load(path, **{"data.pairs": 10})


def test_grey_levels_are_scaled_to_1(path):
    grey = {f"x_{part}": lambda a: np.full(a.shape, 51, np.uint8) for part in PARTS}
    save(path, **grey)
    d = load(path)
    assert d.grey_levels
    np.testing.assert_allclose(d.train.x, 0.2, rtol=1e-6)
    np.testing.assert_allclose(d.test.x, 0.2, rtol=1e-6)
    save(path)
    assert not load(path).grey_levels


@pytest.mark.parametrize("part", ["train", "test"])
def test_grey_levels_in_one_set_alone_are_refused(path, part):
    """Only one of the sets would be divided by 255."""
    save(path, **{f"x_{part}": lambda a: np.full(a.shape, 51, np.uint8)})
    assert_refused(lambda: load(path), str(path), "uint8", "float64", "all or none")


@pytest.mark.parametrize(
    ("variant", "field", "activation", "message_parts"),
    [
        ("mlp", "model.y_activation", "tanh", "-1.9"),
        ("mlp", "model.y_activation", "relu", "-1.9"),
        ("mlp_in", "model.x_activation", "sigmoid", "1.9"),
        ("mlp", "model.x_activation", "sigmoid", None),
        ("mean", "model.y_activation", "tanh", None),
    ],
)
def test_outputs_that_cannot_reach_the_data_are_refused(
    path, variant, field, activation, message_parts
):
    """X is from 1 to 2, y from -2 to -1; outputs that are not trained pass."""
    save(path)
    c = configs.default()
    c.variant, c.data.source, c.data.path = variant, "npz", str(path)
    c.model.x_activation = c.model.y_activation = "linear"
    c.update_from_flattened_dict({field: activation})
    train = data.load(c).train
    if message_parts is None:
        data.check_output_ranges(c, train)
        return
    with pytest.raises(ConfigError) as e:
        data.check_output_ranges(c, train)
    assert field in str(e.value)
    assert message_parts in str(e.value)


def test_outputs_reach_the_bounds_of_their_activations():
    c = configs.default()
    c.data.source = "npz"
    c.model.x_activation, c.model.y_activation = "sigmoid", "tanh"
    train = examples.make_examples(np.array([[0.0], [1.0]]), np.array([[-1.0], [1.0]]))
    data.check_output_ranges(c, train)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float32])
def test_numbers_of_any_type(path, dtype):
    names = ("x_train", "x_test", "y_train")
    save(path, **{name: lambda a: np.ones(a.shape, dtype) for name in names})
    d = load(path)
    assert d.train.pairs.all()
    assert d.train.x.dtype == d.train.y.dtype == np.float32


def with_value(at, value):
    def change(array):
        array = array.copy()
        array[at] = value
        return array

    return change


BAD = {
    "x without rows": (
        {"x_train": lambda a: a[:, 0, 0]},
        ("x_train is [20]", "give [N, ...]"),
    ),
    "y of one dimension": (
        {"y_train": lambda a: a[:, 0]},
        ("y_train is [20]", "y[:, None] for one value"),
    ),
    "y of three dimensions": (
        {"y_train": lambda a: a[:, None]},
        ("y_train is [20, 1, 4]", "give [N, D]"),
    ),
    "other lengths": (
        {"x_train": lambda a: a[:-1]},
        ("x_train has 19 rows", "y_train has 20"),
    ),
    "x of strings": (
        {"x_train": lambda a: np.full(a.shape, "one")},
        ("x_train is <U3", "make it numbers"),
    ),
    "x of booleans": (
        {"x_train": lambda a: np.ones(a.shape, bool)},
        ("x_train is bool", "astype(numpy.float32)"),
    ),
    "y of complex numbers": (
        {"y_train": lambda a: a * 1j},
        ("y_train is complex128", "make it numbers"),
    ),
    "y without values": (
        {"y_train": lambda a: a[:, :0]},
        ("y_train is [20, 0]", "without a 0"),
    ),
    "x partly NaN": (
        {"x_train": with_value((9, 1, 1), np.nan)},
        (": x_train", "row 9", "not finite", "the whole row with NaN"),
    ),
    "y partly NaN": (
        {"y_train": with_value((11, 0), np.nan)},
        (": y_train", "row 11", "not finite", "the whole row with NaN"),
    ),
    "an infinite x": (
        {"x_train": with_value((4,), np.inf)},
        (": x_train", "row 4", "not finite", "such as inf"),
    ),
    "a value beyond float32": (
        {"y_train": with_value((12, 2), -1e300)},
        (": y_train", "row 12", "float32", "-1e+300", "scale"),
    ),
    "neither x nor y": (
        {"x_train": with_value((5,), np.nan)},
        ("row 5 of", "x_train and of", "leave it out"),
    ),
}


@pytest.mark.parametrize(("changes", "message_parts"), BAD.values(), ids=BAD)
def test_bad_rows_are_named(path, changes, message_parts):
    save(path, **changes)
    assert_refused(lambda: load(path), str(path), *message_parts)


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_set_without_rows_is_refused(path, part):
    save(path, **{f"x_{part}": lambda a: a[:0], f"y_{part}": lambda a: a[:0]})
    assert_refused(lambda: load(path), str(path), part)


@pytest.mark.parametrize("name", ["x_test", "y_test"])
def test_bad_rows_of_the_test_set_are_named(path, name):
    save(path, **{name: with_value((2, 0), np.nan)})
    if name == "x_test":
        # x[2, 0] is only a part of the row x[2].
        assert_refused(lambda: load(path), f"{path}: x_test", "row 2")
    else:
        assert_refused(lambda: load(path), f"{path}: y_test", "row 2")
    save(path, **{name: with_value((2,), np.nan)})
    assert_refused(lambda: load(path), str(path), "the test set must be pairs")


@pytest.mark.parametrize(
    "change",
    [
        {"x_test": lambda a: a[:, :2]},
        {"y_test": lambda a: a[:, :3]},
        {"x_test": lambda a: a.reshape(5, 6)},
    ],
    ids=["x", "y", "the same numbers in another shape"],
)
def test_test_rows_of_another_shape_are_refused(path, change):
    save(path, **change)
    assert_refused(
        lambda: load(path), str(path), "training and test rows have different shapes"
    )


@pytest.mark.parametrize("name", ["x_train", "y_train", "x_test", "y_test"])
def test_a_missing_array_is_named(path, name):
    save(path, **{name: lambda a: None})
    assert_refused(lambda: load(path), f"{path} has no {name}", "it has ")


def test_a_missing_file_is_named(path):
    assert_refused(lambda: load(path), str(path), "no such file")


def test_data_without_any_pair_are_refused(path):
    save(path, y_train=lambda a: np.full(a.shape, np.nan), x_train=np.ones_like)
    assert_refused(
        lambda: load(path), str(path), "no training example has both x and y"
    )


def test_no_pairs_to_validate_are_refused(path):
    save(
        path,
        x_train=with_value(slice(0, 3), 1.0),
        y_train=with_value(slice(1, 20), np.nan),
    )
    assert_refused(lambda: load(path), f"data.valid=0.25 of 1 pairs in {path} are 0")
