"""The correlation's peak and the windows' vote, on sequences made by hand."""

import numpy as np
import pytest

from l3spot.localize import network, preprocess, window_search
from l3spot.localize.window_search import REACH, Sequence

HEIGHT_MM, L3_MM = 500.0, 250.0
ROWS_MM = np.arange(-REACH, HEIGHT_MM + REACH + 1e-6, 2.0)
IDEAL_MM = np.clip(L3_MM - ROWS_MM, -REACH, REACH)


def turned(row_mm, away_mm):
    """The sequence of the picture upside down."""
    return HEIGHT_MM - row_mm[::-1], -away_mm[::-1]


@pytest.mark.parametrize("end", ["feet", "head"])
def test_a_better_peak_beyond_the_picture_is_not_taken(end):
    """A weak ramp crosses zero at 250 mm, a strong one 40 mm below the picture."""
    weak = np.clip(L3_MM - ROWS_MM, -25, 25)
    strong = np.clip(HEIGHT_MM + 40 - ROWS_MM, -REACH, REACH)
    row, away = ROWS_MM, np.where(ROWS_MM < 400, weak, strong)
    if end == "head":
        row, away = turned(row, away)
    spot = window_search.spot(Sequence(row, away), HEIGHT_MM)
    best = row[spot.correlation.argmax()]
    assert best > HEIGHT_MM if end == "feet" else best < 0
    assert spot.row == pytest.approx(L3_MM, abs=1)
    # The integral of min(|d|, 25) |d| over the ramp, over that of d^2.
    assert spot.evidence[0] == pytest.approx(0.6875, abs=0.02)


@pytest.mark.parametrize("l3_mm", [-30.0, HEIGHT_MM + 30])
def test_l3_beyond_the_picture_is_put_at_its_edge(l3_mm):
    away = np.clip(l3_mm - ROWS_MM, -REACH, REACH)
    spot = window_search.spot(Sequence(ROWS_MM, away), HEIGHT_MM)
    assert spot.row == np.clip(l3_mm, 0, HEIGHT_MM)


@pytest.mark.parametrize("end", ["feet", "head"])
def test_a_fifth_of_the_votes_may_be_wrong(end):
    """Of the 25 windows within 25 mm of L3 five are 50 mm or more off, on one side."""
    away = IDEAL_MM.copy()
    wrong = (ROWS_MM >= L3_MM - 14) & (ROWS_MM <= L3_MM - 6)
    away[wrong] = -REACH
    assert wrong.sum() == 5
    row = ROWS_MM
    if end == "head":
        row, away = turned(row, away)
    spot = window_search.spot(Sequence(row, away), HEIGHT_MM)
    assert spot.row == pytest.approx(L3_MM, abs=1e-6)


def test_the_vote_counts_windows_near_the_second_guess():
    """From 20 mm below L3, 8 of 26 votes are wrong; near the first mean, 2 are."""
    away = IDEAL_MM.copy()
    away[ROWS_MM > L3_MM + 28] = 20.0
    found = window_search._vote(Sequence(ROWS_MM, away), L3_MM + 20)
    assert found == pytest.approx(L3_MM, abs=1e-6)


def test_the_five_numbers_of_evidence():
    """Of a sequence whose numbers can be worked out by hand."""
    away = IDEAL_MM.copy()
    noisy = np.abs(ROWS_MM - L3_MM) <= 25
    away[noisy] += np.where(np.arange(noisy.sum()) % 2, 5.0, -5.0)
    correlation = np.zeros(len(ROWS_MM))
    at = {float(row): i for i, row in enumerate(ROWS_MM)}
    for row, height in ((250, 0.9), (160, 0.8), (148, 0.4), (352, 0.3)):
        correlation[at[row]] = height
    peak, second, off, spread, end = window_search.evidence(
        Sequence(ROWS_MM, away), correlation, at[250.0], L3_MM
    )
    assert (peak, second) == (0.9, 0.4)  # 160 mm is nearer than two reaches.
    assert off == pytest.approx(25 * 5 / len(ROWS_MM) / 50)
    assert spread == pytest.approx(np.sqrt(25 - 0.2**2) / 50)
    assert end == 1  # It lies 300 mm from either end.


def test_evidence_of_a_place_near_an_end():
    sequence = Sequence(ROWS_MM, np.clip(30 - ROWS_MM, -REACH, REACH))
    flat = np.zeros(len(ROWS_MM))
    *_, end = window_search.evidence(sequence, flat, 0, 30.0)
    assert end == pytest.approx((30 + 50) / 100)
    *_, end = window_search.evidence(sequence, flat, 0, 540.0)
    assert end == pytest.approx((550 - 540) / 100)


@pytest.mark.parametrize("pixel", [0, 37, 199])
def test_a_window_whose_middle_is_a_pixels_upper_edge_has_that_row(pixel):
    """Windows begin at each pixel of the frame; a pixel is 2 mm high."""
    x = np.zeros((200, preprocess.WIDTH), np.float32)
    x[pixel] = 1
    (bright,) = np.flatnonzero(window_search.frame(network.CNN4, x).any(axis=1))
    first = bright - preprocess.HEIGHT // 2
    rows_mm = window_search.sequence(np.zeros((1, 400)), len(x), 1).row
    assert rows_mm[first] == 2 * pixel
