"""Schedules against values worked out by hand, and their borders."""

import functools

import numpy as np
import pytest

from mtl.engine import schedules


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (functools.partial(schedules.constant, value=0.3), [0.3] * 5),
        (functools.partial(schedules.stairs, t1=2), [1, 1, 0, 0, 0]),
        (functools.partial(schedules.linear, epochs=5), [1, 0.75, 0.5, 0.25, 0]),
        (functools.partial(schedules.abridged, t1=2), [1, 0.5, 0, 0, 0]),
        (
            functools.partial(schedules.exponential, sigma=1 / np.log(2)),
            [1, 0.5, 0.25, 0.125, 0.0625],
        ),
        (
            functools.partial(schedules.exponential, sigma=1 / np.log(2), cutoff=0.2),
            [1, 0.5, 0.25, 0, 0],
        ),
        (
            functools.partial(schedules.piecewise, points=[(1, 1.0), (3, 0.0)]),
            [1, 1, 0.5, 0, 0],
        ),
    ],
)
def test_schedules(schedule, expected):
    both = schedules.table([schedule, schedules.complement(schedule)], epochs=5)
    np.testing.assert_allclose(both[:, 0], expected, atol=1e-15)
    np.testing.assert_allclose(both.sum(axis=1), 1)


def test_piecewise_refuses_points_out_of_order():
    with pytest.raises(ValueError, match="must increase"):
        schedules.piecewise(0, [(3, 1.0), (1, 0.0)])


def test_the_landmark_schedule_of_system_2():
    """1 until epoch 100, then linearly to 0 at 500 (arXiv 1504.07550)."""
    weight = schedules.piecewise(np.arange(1000), [(100, 1.0), (500, 0.0)])
    assert weight[[0, 100, 300, 500, 999]].tolist() == [1, 1, 0.5, 0, 0]


def test_a_weight_equal_to_the_cutoff_is_kept():
    weights = schedules.exponential(np.arange(2), sigma=1.0, cutoff=1.0)
    assert weights.tolist() == [1, 0]


def test_linear_over_a_single_epoch_is_1():
    assert schedules.linear(np.arange(1), epochs=1).tolist() == [1]


def test_piecewise_refuses_two_points_of_one_epoch():
    with pytest.raises(ValueError, match="must increase"):
        schedules.piecewise(0, [(1, 0.5), (1, 0.7)])
