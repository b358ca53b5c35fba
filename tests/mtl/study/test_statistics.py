import math

import numpy as np
import pytest

from mtl.study import statistics
from mtl.study.statistics import FAILS, HOLDS, UNKNOWN, interval, verdict


def test_an_interval_by_hand():
    # t of 0.975 with 3 degrees of freedom is 3.1824; mean 2.5, deviation 1.2910.
    i = interval([1, 2, 3, 4])
    half = 3.182446 * math.sqrt(5 / 3) / 2
    assert i[:4] == pytest.approx((2.5, math.sqrt(5 / 3), 2.5 - half, 2.5 + half))
    # The interval just reaches 0 where p is 0.05.
    shifted = interval(np.array([1, 2, 3, 4]) - 2.5 + half)
    assert shifted.low == pytest.approx(0, abs=1e-5)
    assert shifted.p == pytest.approx(0.05)


def test_two_values_have_an_interval():
    # t of 0.975 with 1 degree of freedom is 12.706; the deviation is the root of 2.
    i = interval([1.0, 3.0])
    expected = (2, math.sqrt(2), 2 - 12.7062, 2 + 12.7062)
    assert i[:4] == pytest.approx(expected, rel=1e-5)


def test_few_values_say_little():
    assert interval([]).n == 0
    assert math.isnan(interval([]).mean)
    assert interval([3.0]).mean == 3
    assert math.isnan(interval([3.0]).low)


def test_ties_say_nothing():
    assert math.isnan(interval([2.0, 2.0]).low)
    assert math.isnan(interval([11.8 - 12, 12.2 - 12.4]).p), "to rounding"
    assert math.isnan(interval([0.0, 0.0]).p)
    assert verdict(interval([2.0, 2.0]), 0, math.inf) == UNKNOWN


def test_p_values_of_many_tests_by_hand():
    """The k-th smallest of n has p n / k, or that of a larger one if it is less."""
    adjusted = statistics.corrected([0.04, math.nan, 0.001, 0.03, 0.5])
    expected = [0.04 * 4 / 3, math.nan, 0.001 * 4, 0.04 * 4 / 3, 0.5]
    assert adjusted.tolist() == pytest.approx(expected, nan_ok=True)
    assert statistics.corrected([]).tolist() == []


@pytest.mark.parametrize(
    ("values", "least", "most", "said"),
    [
        ([-1.0, -1.1, -0.9], -math.inf, 0, HOLDS),
        ([1.0, 1.1, 0.9], -math.inf, 0, FAILS),
        ([1.0, -1.1, 0.9], -math.inf, 0, UNKNOWN),
        ([0.1, 0.0, -0.1], -0.5, 0.5, HOLDS),
        ([0.5, 0.6, 0.4], -0.5, 0.5, UNKNOWN),
        ([-1.0], -math.inf, 0, UNKNOWN),
    ],
)
def test_verdicts(values, least, most, said):
    assert verdict(interval(values), least, most) == said


def test_a_claim_holds_if_all_of_it_does():
    assert statistics.together([HOLDS, HOLDS]) == HOLDS
    assert statistics.together([HOLDS, UNKNOWN]) == UNKNOWN
    assert statistics.together([FAILS, UNKNOWN]) == FAILS
