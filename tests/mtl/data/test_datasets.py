import itertools

import numpy as np
import pytest
import sklearn.datasets
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from mtl.data import datasets, label_choice, scaling
from mtl.data.readers import Images
from mtl.host.errors import ConfigError, DataError


def rows_of(y):
    """Images of one pixel, the number of the row."""
    y = np.asarray(y, np.int32)
    return Images(np.arange(len(y), dtype=np.float32)[:, None], y)


def uneven(hidden=0):
    """60 rows of class 0, 30 of 1, 10 of 2, and some without a label among them."""
    y = np.repeat([0, 1, 2, -1], [60, 30, 10, hidden])
    return rows_of(np.random.default_rng(5).permutation(y))


def choose(train, labelled=10, unlabelled=-1, seed=0, balanced=False):
    given = train.y, 3, labelled, unlabelled, seed, balanced
    rows, y = label_choice.choose_rows(*given)
    return Images(train.x[rows], y)


def numbers(images):
    return images.x[:, 0].astype(int)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    labelled=st.integers(1, 30),
    unlabelled=st.integers(-1, 70),
    seed=st.integers(0, 2**32),
    balanced=st.booleans(),
    hidden=st.integers(0, 20),
)
def test_choose(labelled, unlabelled, seed, balanced, hidden):
    """l rows with their label, u others with -1, none twice, all of them from train."""
    train = uneven(hidden)
    chosen = choose(train, labelled, unlabelled, seed, balanced)
    rows = numbers(chosen)
    others = len(train.y) - labelled if unlabelled < 0 else unlabelled
    assert len(chosen.x) == len(chosen.y) == labelled + others
    assert len(set(rows)) == len(rows)
    assert chosen.y.dtype == np.int32
    assert (chosen.y[:labelled] >= 0).all()
    np.testing.assert_array_equal(chosen.y[:labelled], train.y[rows[:labelled]])
    assert (chosen.y[labelled:] == -1).all()


@pytest.mark.parametrize("labelled", [3, 10, 11, 29])
def test_balanced_has_as_many_of_each_class(labelled):
    counts = np.bincount(choose(uneven(), labelled, balanced=True).y[:labelled])
    assert counts.sum() == labelled
    assert counts.max() - counts.min() == (labelled % 3 > 0)


def test_the_classes_with_one_more_are_drawn():
    y = [choose(uneven(), 10, seed=s, balanced=True).y[:10] for s in range(20)]
    assert {np.bincount(labels).argmax() for labels in y} == {0, 1, 2}


def test_unbalanced_follows_the_data():
    y = np.concatenate([choose(uneven(), seed=s).y[:10] for s in range(100)])
    np.testing.assert_allclose(np.bincount(y) / len(y), [0.6, 0.3, 0.1], atol=0.05)


@pytest.mark.parametrize("balanced", [False, True])
def test_the_seed_decides(balanced):
    draws = [choose(uneven(9), 10, 50, s, balanced) for s in (7, 7, 8)]
    np.testing.assert_array_equal(draws[0].x, draws[1].x)
    np.testing.assert_array_equal(draws[0].y, draws[1].y)
    for part in (slice(10), slice(10, None)):
        assert set(numbers(draws[0])[part]) != set(numbers(draws[2])[part])


@pytest.mark.parametrize("balanced", [False, True])
def test_fewer_unlabelled_are_a_subset_of_more(balanced):
    counts = (0, 1, 20, 50, -1)
    draws = [numbers(choose(uneven(9), 10, u, 3, balanced)) for u in counts]
    for fewer, more in itertools.pairwise(draws):
        assert len(fewer) < len(more)
        np.testing.assert_array_equal(fewer, more[: len(fewer)])


@pytest.mark.parametrize("balanced", [False, True])
def test_rows_without_a_label_are_only_unlabelled(balanced):
    train = uneven(hidden=400)
    chosen = choose(train, 30, balanced=balanced)
    assert (train.y[numbers(chosen)[:30]] >= 0).all()
    assert len(chosen.y) == 500


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"labelled": 101}, r"data\.labelled=101, but there are 100 labelled rows"),
        ({"labelled": 0}, r"data\.labelled=0"),
        ({"labelled": -3}, r"data\.labelled=-3"),
        ({"labelled": 0, "balanced": True}, r"data\.labelled=0"),
        ({"labelled": -3, "balanced": True}, r"data\.labelled=-3"),
        (
            {"labelled": 33, "balanced": True},
            r"data\.labelled=33 needs 11 labelled rows of class 2, but there are 10; "
            r"lower it, or set data\.balanced=False",
        ),
        ({"unlabelled": 100}, r"data\.unlabelled=100, but 99 rows are left"),
    ],
)
def test_choose_refuses(arguments, said):
    with pytest.raises(ConfigError, match=said):
        choose(uneven(hidden=9), **arguments)


@pytest.mark.parametrize("labelled", [100, -1])
@pytest.mark.parametrize("balanced", [False, True])
def test_all_labels_can_be_used(labelled, balanced):
    if labelled > 0 and balanced:
        labelled = -1  # The classes are uneven.
    chosen = choose(uneven(), labelled, 0, balanced=balanced)
    assert sorted(numbers(chosen)) == list(range(100))


def config(source="digits", path="", valid=297, **others):
    own = {"source": source, "path": str(path), "valid": valid}
    return ConfigDict(own | {"valid_seed": 0, "scaling": "unit"} | others)


def as_set(images):
    return {row.tobytes() for row in images.x}


def test_digits():
    d = datasets.load(config())
    assert [len(s.y) for s in (d.train, d.validation, d.test)] == [1000, 297, 500]
    assert d.shape == (8, 8)
    assert d.classes == 10
    for s in (d.train, d.validation, d.test):
        assert s.x.shape == (len(s.y), 64)
        assert s.x.dtype == np.float32
        assert s.y.dtype == np.int32
        assert (s.x.min(), s.x.max()) == (0, 1)
        assert set(s.y) == set(range(10))
    # All 1797 images differ, so a row in two sets would show.
    sets = [as_set(s) for s in (d.train, d.validation, d.test)]
    assert len(set.union(*sets)) == 1797


def test_digits_keep_their_labels():
    x, y = sklearn.datasets.load_digits(return_X_y=True)
    label = {row.tobytes(): c for row, c in zip(np.float32(x / 16), y, strict=True)}
    d = datasets.load(config())
    for s in (d.train, d.validation, d.test):
        assert [label[row.tobytes()] for row in s.x] == s.y.tolist()


def test_digits_are_always_in_the_same_order():
    once, again = datasets.load(config()), datasets.load(config())
    np.testing.assert_array_equal(once.test.x, again.test.x)
    np.testing.assert_array_equal(once.test.x, datasets.load(config(valid=9)).test.x)


@pytest.mark.parametrize("valid", [1297, 5000, 0, -1])
def test_a_validation_set_out_of_range(valid):
    with pytest.raises(DataError, match=f"data.valid={valid}, but .* from 1 to 1296"):
        datasets.load(config(valid=valid))


def test_the_validation_set_may_leave_a_single_row():
    assert len(datasets.load(config(valid=1296)).train.y) == 1


def write_npz(path, y_train, y_test=(0, 1)):
    def x(y):
        return np.arange(4 * len(y), dtype=np.uint8).reshape(-1, 2, 2)

    np.savez(path, x_train=x(y_train), y_train=y_train, x_test=x(y_test), y_test=y_test)
    return path


def test_only_labelled_rows_validate(tmp_path):
    y = [0, -1, 1, 2, -1, 1, -1, 0, 2]
    path = write_npz(tmp_path / "own.npz", y)
    d = datasets.load(config("npz", path, valid=3))
    assert sorted(d.validation.y) == [0, 1, 2]
    assert sorted(d.train.y) == [-1, -1, -1, 0, 1, 2]
    for s in (d.train, d.validation):
        for x, label in zip(s.x, s.y, strict=True):
            assert y[round(float(x[0] * 255)) // 4] == label
    assert d.classes == 3
    assert d.shape == (2, 2)


def test_the_validation_set_may_not_take_all_the_labels(tmp_path):
    path = write_npz(tmp_path / "own.npz", [0, -1, 1, -1])
    with pytest.raises(DataError, match=r"own\.npz has 2 labelled training images"):
        datasets.load(config("npz", path, valid=2))


def test_an_own_validation_set_is_taken(tmp_path):
    x = np.arange(16, dtype=np.uint8).reshape(4, 4)
    arrays = {"x_train": x, "y_train": [0, 1, 1, -1], "x_test": x, "y_test": [0] * 4}
    np.savez(tmp_path / "own.npz", **arrays, x_valid=x[:3], y_valid=[1, 0, 1])
    d = datasets.load(config("npz", tmp_path / "own.npz", valid=1))
    assert d.train.y.tolist() == [0, 1, 1, -1]
    assert d.validation.y.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("y_train", "y_test", "names"),
    [
        ([0, 1, 1, 2, 2], [2, 0], (0, 1, 2)),
        ([1, 2, 2, 10, -1, 10], [10, 1], (1, 2, 10)),
        (["dog", "cat", "", "dog"], ["cat", "dog"], ("cat", "dog")),
    ],
)
def test_classes_have_any_names(tmp_path, y_train, y_test, names):
    d = datasets.load(
        config("npz", write_npz(tmp_path / "own.npz", y_train, y_test), 1)
    )
    assert d.names == names
    assert d.classes == len(names)
    assert [names[c] for c in d.test.y] == y_test
    both = [*d.train.y, *d.validation.y]
    hidden = {-1, ""}
    found = sorted(names[c] for c in both if c >= 0)
    assert found == sorted(c for c in y_train if c not in hidden)
    assert both.count(-1) == sum(c in hidden for c in y_train)


@pytest.mark.parametrize(
    ("y_train", "y_test", "said"),
    [
        ([0, 1, 1], [0, 2], r"own\.npz: y_test has the class 2, which no labelled"),
        ([0, 1, 1], [0, 2, 3], r"y_test has the classes 2, 3, which"),
        ([0, 1, 1], [0, 10**8], r"has the class 100000000, which"),
        (["a", "b", "b"], ["a", "c"], r"y_test has the class c, which no labelled"),
        ([4, 4, -1], [4, 4], r"the training rows have the class 4 alone; two classes"),
        ([-1, -1], [0, 1], r"the training rows have no label; two classes are needed"),
    ],
)
def test_classes_that_cannot_be_learned_are_refused(tmp_path, y_train, y_test, said):
    path = write_npz(tmp_path / "own.npz", y_train, y_test)
    with pytest.raises(DataError, match=said):
        datasets.load(config("npz", path, valid=1))


def test_absent_classes_are_told(tmp_path, caplog):
    path = write_npz(tmp_path / "own.npz", [0, 1, 1, 2, 2], [2, 0])
    with caplog.at_level("WARNING"):
        datasets.load(config("npz", path, valid=1))
    assert "no test row has the class 1" in caplog.text
    assert "no validation row has the class" in caplog.text
    assert "so the metrics of the validation set say nothing about it" in caplog.text


@pytest.mark.parametrize("kind", ["minmax", "standardise"])
def test_training_images_scale_all_sets(tmp_path, kind):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 60_000, (40, 6)).astype(np.uint16)
    x[:, 2] = 7
    arrays = {"x_train": x[:30], "x_test": x[30:]}
    y = np.arange(40) % 2
    np.savez(tmp_path / "own.npz", **arrays, y_train=y[:30], y_test=y[30:])
    d = datasets.load(config("npz", tmp_path / "own.npz", valid=6, scaling=kind))
    scaler = {"minmax": MinMaxScaler, "standardise": StandardScaler}[kind]()
    kept = [row for row in x[:30] if row.tobytes() not in raw_rows(d, x)]
    scaler.fit(np.array(kept, np.float64))
    np.testing.assert_allclose(d.test.x, scaler.transform(x[30:]), atol=1e-5)
    assert len(kept) == len(d.train.x) == 24


@pytest.mark.parametrize("kind", ["minmax", "standardise"])
def test_features_of_tiny_and_of_huge_ranges(kind):
    """Float32 holds neither the reciprocal of 1e-40 nor a range of 6e38."""
    x = np.array([[0, 1], [1e-40, 2]], np.float32)
    scaled = scaling.fit(kind, x).apply(x)
    assert scaled[:, 0].tolist() == [0, 0]
    assert np.ptp(scaled[:, 1]) > 0.9
    x[:, 1] = -3e38, 3e38
    with pytest.raises(DataError, match=r"feature 1 .* spans -3e\+38 to 3e\+38"):
        scaling.fit(kind, x)


def raw_rows(d, x):
    """The raw rows that validate, found by undoing the scaling."""
    with np.errstate(divide="ignore", invalid="ignore"):
        back = d.validation.x / d.scaling.factor + d.scaling.shift
    back = np.where(np.isfinite(back), back, 7).round()
    return {row.astype(x.dtype).tobytes() for row in back}


def test_mnist(real_data):
    path = real_data / "mnist"
    if not path.is_dir():
        pytest.skip(f"there is no mnist/ in {real_data.name}/")
    d = datasets.load(config("mnist", path, valid=10_000))
    assert [len(s.y) for s in (d.train, d.validation, d.test)] == [
        50_000,
        10_000,
        10_000,
    ]
    assert d.train.x.shape[1] == 784
    assert d.shape == (28, 28)
    assert d.classes == 10
    # The last 10,000 validate, as everywhere.
    assert d.validation.y[:5].tolist() == [3, 8, 6, 9, 6]
    assert d.train.y[:5].tolist() == [5, 0, 4, 1, 9]
    assert d.test.y[:5].tolist() == [7, 2, 1, 0, 4]
