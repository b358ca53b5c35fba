import numpy as np
import sklearn.datasets

from structured import data
from tests.structured.datasets import check_missing, config, same


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
    loaded, expected = (16 * whole).reshape(1797, 64), every.reshape(1797, 64)
    assert sorted(map(tuple, loaded)) == sorted(map(tuple, expected))
    # Shuffled, because the file has the digits of one writer after the other.
    assert not (loaded == expected).all(axis=1).mean() > 0.01
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
