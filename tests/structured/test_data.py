import re

import numpy as np
import pytest
import sklearn.datasets

from mtl.host.errors import ConfigError
from structured import config as configs
from structured import data
from structured.data import Examples
from structured.faces import crops, face_dataset
from structured.faces.points import read_pts
from tests.mtl.images import assert_refused
from tests.structured.test_face_dataset import write_face

FIELDS = ("x", "y", "has_x", "has_y", "frame")


def config(source="digits", **fields):
    c = configs.default()
    c.data.source = source
    c.update_from_flattened_dict(fields)
    return c


def numbered_examples(pairs=6, only_x=3, only_y=2):
    """Makes examples of different numbers above 0; a missing row is 0."""
    n = pairs + only_x + only_y
    number = np.arange(n)
    x = (1 + np.arange(n * 6, dtype=np.float32)).reshape(n, 2, 3)
    y = (1000 + np.arange(n * 4, dtype=np.float32)).reshape(n, 4)
    has_x, has_y = (
        number < pairs + only_x,
        (number < pairs) | (number >= pairs + only_x),
    )
    x[~has_x], y[~has_y] = 0, 0
    frame = (5000 + np.arange(n * 4, dtype=np.float32)).reshape(n, 4)
    return Examples(x, y, has_x, has_y, frame)


def same(a, b):
    for name, one, two in zip(FIELDS, a, b, strict=True):
        assert one.dtype == two.dtype, name
        np.testing.assert_array_equal(one, two, err_msg=name)


def ids(e):
    """Returns the index of each example in `numbered_examples`, from its frame."""
    return ((e.frame[:, 0] - 5000) / 4).astype(int).tolist()


def check_missing(e):
    """Checks that missing rows are 0, and that each example has x or y."""
    assert (e.has_x | e.has_y).all()
    assert not e.x[~e.has_x].any()
    assert not e.y[~e.has_y].any()
    assert len({len(field) for field in e}) == 1
    assert e.has_x.dtype == e.has_y.dtype == bool


# Rows


def test_pairs_and_rows():
    e = numbered_examples()
    assert np.flatnonzero(e.pairs).tolist() == list(range(6))
    some = e.select(np.array([7, 2]))
    assert ids(some) == [7, 2]
    np.testing.assert_array_equal(some.x[1], e.x[2])


def test_joined_sets_keep_their_order():
    e = numbered_examples()
    parts = e.select(np.array([4, 1])), e.select(np.array([10])), e.select(np.arange(3))
    joined = data.concatenate(*parts)
    assert ids(joined) == [4, 1, 10, 0, 1, 2]
    same(joined, e.select(np.array([4, 1, 10, 0, 1, 2])))


def test_separated_pairs_are_x_alone_and_y_alone():
    e = numbered_examples(5, 0, 0)
    both = data.separate_pairs(e)
    assert ids(both) == [0, 1, 2, 3, 4] * 2
    assert both.has_x.tolist() == [True] * 5 + [False] * 5
    assert both.has_y.tolist() == [False] * 5 + [True] * 5
    check_missing(both)
    np.testing.assert_array_equal(both.x[:5], e.x)
    np.testing.assert_array_equal(both.y[5:], e.y)
    # The input is not changed.
    same(e, numbered_examples(5, 0, 0))


@pytest.mark.parametrize("pairs", [1, 4, 6])
def test_pairs_above_the_limit_become_x_alone_and_y_alone(pairs):
    e, limited = (
        numbered_examples(),
        data.limit_pairs(numbered_examples(), pairs, seed=3),
    )
    check_missing(limited)
    assert limited.pairs.sum() == pairs
    assert (limited.has_x & ~limited.has_y).sum() == 3 + 6 - pairs
    assert (~limited.has_x & limited.has_y).sum() == 2 + 6 - pairs
    kept = ids(limited.select(limited.pairs))
    lost = sorted(set(range(6)) - set(kept))
    assert sorted(ids(limited)) == sorted([*range(11), *lost])
    for i, row in enumerate(ids(limited)):
        if limited.has_x[i]:
            np.testing.assert_array_equal(limited.x[i], e.x[row])
        if limited.has_y[i]:
            np.testing.assert_array_equal(limited.y[i], e.y[row])
    same(e, numbered_examples())


def test_a_negative_limit_keeps_all_pairs():
    same(data.limit_pairs(numbered_examples(), -1, seed=0), numbered_examples())


def test_the_seed_draws_the_pairs_that_are_kept():
    many = numbered_examples(40, 0, 0)

    def kept(seed):
        limited = data.limit_pairs(many, 10, seed)
        return ids(limited.select(limited.pairs))

    assert kept(0) == kept(0)
    assert kept(0) != kept(1)
    assert kept(0) != list(range(10))
    all_kept = np.concatenate([kept(seed) for seed in range(200)])
    counts = np.bincount(all_kept, minlength=40)
    # Binomial(200, 1 / 4): mean 50, deviation 6.1.
    assert np.abs(counts - 50).max() < 4.5 * 6.1


def test_more_pairs_than_available_are_refused():
    with pytest.raises(ConfigError, match=r"data\.pairs=7, but there are 6"):
        data.limit_pairs(numbered_examples(), 7, seed=0)


@pytest.mark.parametrize(
    ("share", "first", "held_out"),
    [
        (0.5, False, [3, 4, 5]),
        (0.5, True, [0, 1, 2]),
        (0.17, False, [5]),
        (0.8, True, [0, 1, 2, 3, 4]),
    ],
)
def test_a_share_of_the_pairs_becomes_the_validation_set(share, first, held_out):
    train, valid = data.split_validation(numbered_examples(), share, first, "here")
    assert ids(valid) == held_out
    assert valid.pairs.all()
    assert ids(train) == [i for i in range(11) if i not in held_out]
    same(
        data.concatenate(train, valid),
        numbered_examples().select(np.array(ids(train) + held_out)),
    )


def test_validation_takes_pairs_between_other_examples():
    """Here the first pairs are not the first rows."""
    e = numbered_examples().select(np.arange(11)[::-1])
    train, valid = data.split_validation(e, 1 / 3, True, "here")
    assert ids(valid) == [5, 4]
    assert ids(train) == [10, 9, 8, 7, 6, 3, 2, 1, 0]


@pytest.mark.parametrize(("share", "count"), [(0.05, 0), (0.95, 6)])
def test_a_share_that_leaves_an_empty_set_is_refused(share, count):
    assert_refused(
        lambda: data.split_validation(numbered_examples(), share, False, "some/where"),
        f"data.valid={share:g} of 6 pairs in some/where are {count}",
        "both training and validation need some",
    )


# Digits


def test_digits_are_halves_of_digits():
    d = data.load(config(**{"data.valid": 297 / 1297}))
    assert [len(part.x) for part in (d.train, d.validation, d.test)] == [1000, 297, 500]
    halves = []
    for part in (d.train, d.validation, d.test):
        assert part.x.shape[1:] == (4, 8)
        assert part.y.shape[1:] == (32,)
        assert part.x.dtype == part.y.dtype == part.frame.dtype == np.float32
        assert part.pairs.all()
        halves.append(np.concatenate([part.x, part.y.reshape(-1, 4, 8)], axis=1))
    whole = np.concatenate(halves)
    assert (whole.min(), whole.max()) == (0, 1)
    every = sklearn.datasets.load_digits().images
    found, expected = (16 * whole).reshape(1797, 64), every.reshape(1797, 64)
    assert sorted(map(tuple, found)) == sorted(map(tuple, expected))
    # Shuffled, because the file has the digits of one writer after the other.
    assert not (found == expected).all(axis=1).mean() > 0.01
    assert d.faces is None
    assert d.problems == ()


def test_the_seed_changes_only_the_pairs_of_the_digits():
    fields = {"data.pairs": 50, "data.valid": 297 / 1297}
    one, two = (data.load(config(seed=seed, **fields)) for seed in (0, 1))
    same(one.test, two.test)
    same(one.validation, two.validation)
    for d in (one, two):
        check_missing(d.train)
        assert d.train.pairs.sum() == 50
        assert (d.train.has_x & ~d.train.has_y).sum() == 950
        assert (d.train.has_y & ~d.train.has_x).sum() == 950
    assert one.train.x.tobytes() != two.train.x.tobytes()


def test_digits_validate_at_either_end():
    first, last = (
        data.load(config(**{"data.valid": 0.1, "data.valid_first": f}))
        for f in (True, False)
    )
    assert len(first.validation.x) == len(last.validation.x) == 130
    np.testing.assert_array_equal(first.train.x[:10], last.train.x[130:140])
    np.testing.assert_array_equal(first.validation.x, last.train.x[:130])
    np.testing.assert_array_equal(last.validation.x, first.train.x[-130:])


# Arrays of an .npz file


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
    for part in (d.train, d.validation, d.test):
        assert part.x.dtype == part.y.dtype == np.float32
        assert np.isfinite(part.x).all()
        assert np.isfinite(part.y).all()
    x, y = (arrays[name].astype(np.float32) for name in ("x_train", "y_train"))
    np.testing.assert_array_equal(d.train.x[3:], x[3:17])
    np.testing.assert_array_equal(
        d.train.y[d.train.has_y], np.delete(y[:17], range(3, 8), 0)
    )
    np.testing.assert_array_equal(d.validation.x, x[17:])
    np.testing.assert_array_equal(d.validation.y, y[17:])
    np.testing.assert_array_equal(d.test.y, arrays["y_test"].astype(np.float32))


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
    save(path, x_train=lambda a: np.full(a.shape, 51, np.uint8))
    np.testing.assert_allclose(load(path).train.x, 0.2, rtol=1e-6)


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


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float32])
def test_numbers_of_any_type(path, dtype):
    save(
        path,
        x_train=lambda a: np.ones(a.shape, dtype),
        y_train=lambda a: np.ones(a.shape, dtype),
    )
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
        ("x must be numbers [N, ...]", "float64[20]", "float64[20, 4]"),
    ),
    "y of one dimension": (
        {"y_train": lambda a: a[:, 0]},
        ("y numbers [N, D]", "float64[20]"),
    ),
    "y of three dimensions": (
        {"y_train": lambda a: a[:, None]},
        ("y numbers [N, D]", "float64[20, 1, 4]"),
    ),
    "other lengths": (
        {"x_train": lambda a: a[:-1]},
        ("the same N", "float64[19, 3, 2]", "float64[20, 4]"),
    ),
    "x of strings": (
        {"x_train": lambda a: np.full(a.shape, "one")},
        ("x must be numbers", "<U3"),
    ),
    "x of booleans": (
        {"x_train": lambda a: np.ones(a.shape, bool)},
        ("x must be numbers", "bool"),
    ),
    "y of complex numbers": (
        {"y_train": lambda a: a * 1j},
        ("y must hold numbers, not complex128",),
    ),
    "x partly NaN": (
        {"x_train": with_value((9, 1, 1), np.nan)},
        (": x", "row 9", "not finite", "the whole row with NaN"),
    ),
    "y partly NaN": (
        {"y_train": with_value((11, 0), np.nan)},
        (": y", "row 11", "not finite", "the whole row with NaN"),
    ),
    "an infinite x": (
        {"x_train": with_value((4,), np.inf)},
        (": x", "row 4", "not finite"),
    ),
    "neither x nor y": (
        {"x_train": with_value((5,), np.nan)},
        ("row 5 lacks both x and y", "leave it out"),
    ),
}


@pytest.mark.parametrize(("changes", "message_parts"), BAD.values(), ids=BAD)
def test_bad_rows_are_named(path, changes, message_parts):
    save(path, **changes)
    assert_refused(lambda: load(path), f"{path}: train", *message_parts)


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_set_without_rows_is_refused(path, part):
    save(path, **{f"x_{part}": lambda a: a[:0], f"y_{part}": lambda a: a[:0]})
    assert_refused(lambda: load(path), str(path), part)


@pytest.mark.parametrize("name", ["x_test", "y_test"])
def test_bad_rows_of_the_test_set_are_named(path, name):
    save(path, **{name: with_value((2, 0), np.nan)})
    if name == "x_test":
        # x[2, 0] is only a part of the row x[2].
        assert_refused(lambda: load(path), f"{path}: test", "row 2")
    else:
        assert_refused(lambda: load(path), f"{path}: test: y", "row 2")
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


def test_no_pairs_to_validate_are_refused(path):
    save(
        path,
        x_train=with_value(slice(0, 3), 1.0),
        y_train=with_value(slice(1, 20), np.nan),
    )
    assert_refused(lambda: load(path), f"data.valid=0.25 of 1 pairs in {path} are 0")


# Faces


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Writes ten faces to train, three to test, four of another set."""
    root = tmp_path_factory.mktemp("300w")
    for folder, many in (("helen/trainset", 10), ("helen/testset", 3), ("afw", 4)):
        for i in range(many):
            write_face(root / folder, f"f{i}_1.png", seed=hash_of(folder, i))
    return root


def hash_of(folder, i):
    return 100 * len(folder) + i


def face_config(root, **fields):
    small = {"data.path": str(root), "data.size": 12, "data.valid": 0.2}
    return config("300w", **(small | fields))


def true_y(root, folder, i):
    points = read_pts(root / folder / f"f{i}_1.pts")
    return crops.to_frame(points, crops.tight_box(points))


def test_faces(root):
    c = face_config(root)
    d = data.load(c)
    assert [len(part.x) for part in (d.train, d.validation, d.test)] == [8, 2, 3]
    for part in (d.train, d.validation, d.test):
        assert part.pairs.all()
        assert part.x.shape[1:] == (12, 12)
        assert part.y.shape[1:] == (136,)
        assert part.x.dtype == part.y.dtype == np.float32
        np.testing.assert_array_equal(part.x.min(axis=(1, 2)), 0)
        np.testing.assert_allclose(part.x.max(axis=(1, 2)), 1, atol=1e-6)
    for i in range(8):
        expected = true_y(root, "helen/trainset", i)
        np.testing.assert_allclose(d.train.y[i], expected, atol=1e-5)
    assert d.faces.name.tolist() == [f"helen/testset/f{i}_1" for i in range(3)]
    points = crops.from_frame(d.test.y, d.test.frame)
    np.testing.assert_allclose(points, d.faces.points, atol=1e-3)
    assert d.problems == ()


def test_faces_validate_at_either_end(root):
    """The authors' program for LFPW validates on the first faces."""
    first = data.load(face_config(root, **{"data.valid_first": True}))
    last = data.load(face_config(root))
    for d, held_out in ((first, (0, 1)), (last, (8, 9))):
        for row, i in zip(d.validation.y, held_out, strict=True):
            np.testing.assert_allclose(
                row, true_y(root, "helen/trainset", i), atol=1e-5
            )


def test_unlabelled_faces_are_x_alone_and_y_alone(root):
    bare = data.load(face_config(root))
    d = data.load(face_config(root, **{"data.unlabelled": ("afw",)}))
    check_missing(d.train)
    assert len(d.train.x) == 8 + 2 * 4
    assert d.train.pairs.tolist() == [True] * 8 + [False] * 8
    assert d.train.has_x.tolist() == [True] * 12 + [False] * 4
    same(d.train.select(d.train.pairs), bare.train)
    same(d.validation, bare.validation)
    same(d.test, bare.test)
    found, _ = face_dataset.read(
        root, ("afw",), data.crop_from_config(face_config(root))
    )
    np.testing.assert_array_equal(
        d.train.x[8:12],
        data.network_input(found.canvas, data.crop_from_config(face_config(root))),
    )
    for i in range(4):
        expected = true_y(root, "afw", i)
        np.testing.assert_allclose(d.train.y[12 + i], expected, atol=1e-5)


def test_limited_pairs_and_unlabelled_faces_add_up(root):
    fields = {"data.unlabelled": ("afw", "helen/testset"), "data.pairs": 3}
    d = data.load(face_config(root, **fields))
    check_missing(d.train)
    assert d.train.pairs.sum() == 3
    assert (~d.train.has_y).sum() == (~d.train.has_x).sum() == 5 + 4 + 3


def test_augmentation_keeps_the_canvases_for_training(root):
    fields = {"data.context": 4, "data.margin": 0.1, "data.unlabelled": ("afw",)}
    plain = data.load(face_config(root, **fields))
    d = data.load(face_config(root, **{"augmentation.on": True}, **fields))
    check_missing(d.train)
    assert d.train.x.dtype == np.uint8
    assert d.train.x.shape == (16, 20, 20)
    seen = data.network_input(
        d.train.x, data.crop_from_config(face_config(root, **fields))
    )
    np.testing.assert_array_equal(seen, plain.train.x)
    np.testing.assert_array_equal(d.train.y, plain.train.y)
    same(d.validation, plain.validation)
    same(d.test, plain.test)


def test_training_and_test_sets_share_no_face(root):
    c = face_config(root, **{"data.train": ("afw",), "data.test": ("helen/testset",)})
    d = data.load(c)
    train, test = (
        {row.tobytes() for part in parts for row in part.x}
        for parts in ((d.train, d.validation), (d.test,))
    )
    assert len(train) == 4
    assert not train & test


def test_problems_of_all_folders_are_named(tmp_path):
    for folder in ("train", "test", "more"):
        for i in range(3):
            write_face(tmp_path / folder, f"f{i}_1.png", seed=hash_of(folder, i))
        (tmp_path / folder / "f1_1.pts").unlink()
    fields = {"data.train": ("train",), "data.test": ("test",)}
    fields |= {"data.unlabelled": ("more",), "data.valid": 0.5}
    c = face_config(tmp_path, **fields)
    assert_refused(
        lambda: data.load(c), str(tmp_path), "data.skip_bad=True", "f1_1.png"
    )
    c.data.skip_bad = True
    d = data.load(c)
    assert [p.name for p in d.problems] == ["train/f1_1", "test/f1_1", "more/f1_1"]
    assert (len(d.train.x), len(d.validation.x), len(d.test.x)) == (1 + 2 * 2, 1, 2)


def test_too_few_faces_to_validate_are_refused(root):
    c = face_config(root, **{"data.train": ("helen/testset",)})
    c.data.valid, c.data.test = 0.1, ("afw",)
    assert_refused(lambda: data.load(c), "data.valid=0.1 of 3 pairs", str(root))


def test_more_pairs_than_faces_are_refused(root):
    with pytest.raises(ConfigError, match=re.escape("data.pairs=9, but there are 8")):
        data.load(face_config(root, **{"data.pairs": 9}))


def test_a_missing_folder_is_named(root):
    c = face_config(root, **{"data.unlabelled": ("lfpw/trainset",)})
    assert_refused(lambda: data.load(c), str(root / "lfpw/trainset"), "is no folder")


def test_real_faces(real_data, tmp_path):
    """The coordinates span the box up to the rounding of its corners."""
    for folder in ("afw", "helen/testset"):
        there = real_data / "300w" / folder
        if not there.is_dir():
            pytest.skip(f"there is no 300w/{folder}/ in {real_data.name}/")
        (tmp_path / folder).mkdir(parents=True)
        for pts in sorted(there.glob("*.pts"))[:8]:
            for path in there.glob(f"{pts.stem}.*"):
                (tmp_path / folder / path.name).symlink_to(path)
    c = face_config(tmp_path, **{"data.train": ("afw",), "data.valid": 0.5})
    d = data.load(c)
    assert [len(part.x) for part in (d.train, d.validation, d.test)] == [4, 4, 8]
    for part in (d.train, d.validation, d.test):
        for xy in np.split(part.y, 2, axis=1):
            assert np.abs(xy.min(axis=1) + 0.5).max() < 0.03
            assert np.abs(xy.max(axis=1) - 0.5).max() < 0.03
        np.testing.assert_allclose(part.x.max(axis=(1, 2)), 1, atol=1e-6)
