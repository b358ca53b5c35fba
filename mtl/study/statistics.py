"""Differences between runs of the same seed: mean, interval, and verdicts on claims."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

HOLDS, FAILS, UNKNOWN = "holds", "does not hold", "cannot tell"


class Interval(NamedTuple):
    """Of n paired differences: mean, standard deviation, 95 % interval, p.

    Both are Student's t; p is that of a mean of 0. With one difference, std, low, high
    and p are NaN; with equal differences, low, high and p are.
    """

    mean: float
    std: float
    low: float
    high: float
    p: float
    n: int


def interval(differences: Iterable[float]) -> Interval:
    """Of paired differences, one a seed; they may be none."""
    x = np.array(list(differences), np.float64)
    nan, n = math.nan, len(x)
    if n < 2:
        return Interval(float(x[0]) if n else nan, nan, nan, nan, nan, n)
    mean, std = float(x.mean()), float(x.std(ddof=1))
    if std < 1e-9:  # Student's t has no answer for ties.
        return Interval(mean, std, nan, nan, nan, n)
    half = std / math.sqrt(n) * float(stats.t.ppf(0.975, n - 1))
    p = float(stats.ttest_1samp(x, 0).pvalue)
    return Interval(mean, std, mean - half, mean + half, p, n)


def corrected(p: Sequence[float]) -> np.ndarray:
    """Adjusts the p values of many tests, by Benjamini and Hochberg (1995).

    Of all tests with an adjusted p below 0.05, at most 5 % are expected to be false.

    Args:
      p: one value a test; NaN is no test.

    Returns:
      float64 of the same length; NaN stays NaN.
    """
    adjusted = np.array(p, np.float64)
    tests = np.isfinite(adjusted)
    adjusted[tests] = stats.false_discovery_control(adjusted[tests], method="bh")
    return adjusted


def verdict(i: Interval, least: float, most: float) -> str:
    """Whether the interval lies from `least` to `most`, outside, or on a bound."""
    if math.isnan(i.low):
        return UNKNOWN
    if least <= i.low and i.high <= most:
        return HOLDS
    return FAILS if i.high < least or i.low > most else UNKNOWN


def together(verdicts: Iterable[str]) -> str:
    """The verdict on a claim of several parts."""
    found = set(verdicts)
    if FAILS in found:
        return FAILS
    return HOLDS if found == {HOLDS} else UNKNOWN
