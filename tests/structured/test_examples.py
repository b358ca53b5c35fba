import numpy as np
import pytest

from mtl.host.errors import ConfigError
from structured import examples
from structured.examples import Examples
from tests.mtl.images import assert_refused
from tests.structured.datasets import check_missing, same


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


def ids(e):
    """Returns the index of each example in `numbered_examples`, from its frame."""
    return ((e.frame[:, 0] - 5000) / 4).astype(int).tolist()


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
    joined = examples.concatenate(*parts)
    assert ids(joined) == [4, 1, 10, 0, 1, 2]
    same(joined, e.select(np.array([4, 1, 10, 0, 1, 2])))


def test_separated_pairs_are_x_alone_and_y_alone():
    e = numbered_examples(5, 0, 0)
    both = examples.separate_pairs(e)
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
        examples.limit_pairs(numbered_examples(), pairs, seed=3),
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
    separated = limited.has_x & ~limited.has_y
    assert ids(limited.select(separated))[3:] == lost
    same(e, numbered_examples())


def test_a_negative_limit_keeps_all_pairs():
    same(examples.limit_pairs(numbered_examples(), -1, seed=0), numbered_examples())


def test_the_seed_draws_the_pairs_that_are_kept():
    many = numbered_examples(40, 0, 0)

    def kept(seed):
        limited = examples.limit_pairs(many, 10, seed)
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
        examples.limit_pairs(numbered_examples(), 7, seed=0)


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
    train, validation = examples.split_validation(
        numbered_examples(), share, first, "here"
    )
    assert ids(validation) == held_out
    assert validation.pairs.all()
    assert ids(train) == [i for i in range(11) if i not in held_out]
    same(
        examples.concatenate(train, validation),
        numbered_examples().select(np.array(ids(train) + held_out)),
    )


def test_validation_takes_pairs_between_other_examples():
    """Here the first pairs are not the first rows."""
    e = numbered_examples().select(np.arange(11)[::-1])
    train, validation = examples.split_validation(e, 1 / 3, True, "here")
    assert ids(validation) == [5, 4]
    assert ids(train) == [10, 9, 8, 7, 6, 3, 2, 1, 0]


@pytest.mark.parametrize(("share", "count"), [(0.05, 0), (0.95, 6)])
def test_a_share_that_leaves_an_empty_set_is_refused(share, count):
    assert_refused(
        lambda: examples.split_validation(
            numbered_examples(), share, False, "some/where"
        ),
        f"data.valid={share:g} of 6 pairs in some/where are {count}",
        "both training and validation need some",
    )


# Digits
