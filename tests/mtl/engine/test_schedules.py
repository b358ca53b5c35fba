"""The borders of the schedules."""

import numpy as np
import pytest

from mtl.engine import schedules


def test_a_weight_equal_to_the_cutoff_is_kept():
    weights = schedules.exponential(np.arange(2), sigma=1.0, cutoff=1.0)
    assert weights.tolist() == [1, 0]


def test_linear_over_a_single_epoch_is_1():
    assert schedules.linear(np.arange(1), epochs=1).tolist() == [1]


def test_piecewise_refuses_two_points_of_one_epoch():
    with pytest.raises(ValueError, match="must increase"):
        schedules.piecewise(0, [(1, 0.5), (1, 0.7)])
