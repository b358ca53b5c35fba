"""The rows that validate are drawn by class."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.data import labels


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    hidden=st.integers(0, 9),
    share=st.floats(0, 1, exclude_max=True),
    seed=st.integers(0, 5),
)
def test_each_class_validates_in_proportion(sizes, hidden, share, seed):
    y = np.repeat([*range(len(sizes)), -1], [*sizes, hidden])
    y = np.random.default_rng(seed).permutation(y)
    total = sum(sizes)
    count = max(1, min(int(share * total), total - 1))
    if total < 2:
        return
    rows = labels.draw_validation(y, count, seed)
    assert len(set(rows)) == len(rows) == count
    assert (y[rows] >= 0).all()
    drawn = np.bincount(y[rows], minlength=len(sizes))
    if count <= total - len(sizes):  # Each class keeps a row.
        assert (drawn < np.array(sizes)).all()
    wanted = count * np.array(sizes) / total
    room = np.array(sizes) - 1 >= np.ceil(wanted)
    if room.all():
        assert (np.abs(drawn - wanted) < 1).all()


def test_the_seed_draws_them():
    y = np.repeat([0, 1], 50)
    one, same, other = (labels.draw_validation(y, 20, seed) for seed in (1, 1, 2))
    assert one.tolist() == same.tolist() != other.tolist()


@pytest.mark.parametrize("y", [np.array([3, -1, 1]), np.array(["b", "", "a"])])
def test_labels_are_places_in_the_names(y):
    names = labels.class_names(y, "file")
    assert names == tuple(sorted(set(y.tolist()) - {-1, ""}))
    assert labels.encode(y, names, "file").tolist() == [1, -1, 0]
