"""The peak of the correlation and the votes, on handmade offsets."""

import numpy as np
import pytest

from l3spot.localize import network, preprocess, window_search
from l3spot.localize.window_search import MAX_OFFSET_MM, WindowOffsets

HEIGHT_MM, L3_MM = 500.0, 250.0
ROWS_MM = np.arange(-MAX_OFFSET_MM, HEIGHT_MM + MAX_OFFSET_MM + 1e-6, 2.0)
IDEAL_MM = np.clip(L3_MM - ROWS_MM, -MAX_OFFSET_MM, MAX_OFFSET_MM)


def mirrored(row_mm, offset_mm):
    """Returns the window offsets of the image upside down."""
    return HEIGHT_MM - row_mm[::-1], -offset_mm[::-1]


@pytest.mark.parametrize("end", ["feet", "head"])
def test_a_higher_peak_outside_the_image_is_ignored(end):
    """A weak ramp crosses zero at 250 mm, a strong one 40 mm below the picture."""
    weak = np.clip(L3_MM - ROWS_MM, -25, 25)
    strong = np.clip(HEIGHT_MM + 40 - ROWS_MM, -MAX_OFFSET_MM, MAX_OFFSET_MM)
    row_mm, offset_mm = ROWS_MM, np.where(ROWS_MM < 400, weak, strong)
    if end == "head":
        row_mm, offset_mm = mirrored(row_mm, offset_mm)
    estimate = window_search.locate(WindowOffsets(row_mm, offset_mm), HEIGHT_MM)
    best = row_mm[estimate.correlation.argmax()]
    assert best > HEIGHT_MM if end == "feet" else best < 0
    assert estimate.row_mm == pytest.approx(L3_MM, abs=1)
    # The integral of min(|d|, 25) |d| over the ramp, over that of d^2.
    assert estimate.confidence_features[0] == pytest.approx(0.6875, abs=0.02)


@pytest.mark.parametrize("l3_mm", [-30.0, HEIGHT_MM + 30])
def test_l3_outside_the_image_is_clipped_to_its_edge(l3_mm):
    offset_mm = np.clip(l3_mm - ROWS_MM, -MAX_OFFSET_MM, MAX_OFFSET_MM)
    estimate = window_search.locate(WindowOffsets(ROWS_MM, offset_mm), HEIGHT_MM)
    assert estimate.row_mm == np.clip(l3_mm, 0, HEIGHT_MM)


@pytest.mark.parametrize("end", ["feet", "head"])
def test_a_fifth_of_the_votes_may_be_wrong(end):
    """Of the 25 windows within 25 mm of L3 five are 50 mm or more off, on one side."""
    offset_mm = IDEAL_MM.copy()
    wrong = (ROWS_MM >= L3_MM - 14) & (ROWS_MM <= L3_MM - 6)
    offset_mm[wrong] = -MAX_OFFSET_MM
    assert wrong.sum() == 5
    row_mm = ROWS_MM
    if end == "head":
        row_mm, offset_mm = mirrored(row_mm, offset_mm)
    estimate = window_search.locate(WindowOffsets(row_mm, offset_mm), HEIGHT_MM)
    assert estimate.row_mm == pytest.approx(L3_MM, abs=1e-6)


def test_the_second_round_of_votes_uses_windows_near_the_first_mean():
    """From 20 mm below L3, 8 of 26 votes are wrong; near the first mean, 2 are."""
    offset_mm = IDEAL_MM.copy()
    offset_mm[ROWS_MM > L3_MM + 28] = 20.0
    row_mm = window_search._vote(WindowOffsets(ROWS_MM, offset_mm), L3_MM + 20)
    assert row_mm == pytest.approx(L3_MM, abs=1e-6)


def test_the_five_confidence_features():
    """A sequence with numbers that can be worked out by hand."""
    offset_mm = IDEAL_MM.copy()
    noisy = np.abs(ROWS_MM - L3_MM) <= 25
    offset_mm[noisy] += np.where(np.arange(noisy.sum()) % 2, 5.0, -5.0)
    correlation = np.zeros(len(ROWS_MM))
    at = {float(row): i for i, row in enumerate(ROWS_MM)}
    for row, height in ((250, 0.9), (160, 0.8), (148, 0.4), (352, 0.3)):
        correlation[at[row]] = height
    peak, second, off, spread, end = window_search.confidence_features(
        WindowOffsets(ROWS_MM, offset_mm), correlation, at[250.0], L3_MM
    )
    assert (peak, second) == (0.9, 0.4)  # 160 mm is nearer than two reaches.
    assert off == pytest.approx(25 * 5 / len(ROWS_MM) / 50)
    assert spread == pytest.approx(np.sqrt(25 - 0.2**2) / 50)
    assert end == 1  # It lies 300 mm from either end.


def test_the_confidence_feature_of_a_row_near_an_end():
    offsets = WindowOffsets(
        ROWS_MM, np.clip(30 - ROWS_MM, -MAX_OFFSET_MM, MAX_OFFSET_MM)
    )
    flat = np.zeros(len(ROWS_MM))
    *_, end = window_search.confidence_features(offsets, flat, 0, 30.0)
    assert end == pytest.approx((30 + 50) / 100)
    *_, end = window_search.confidence_features(offsets, flat, 0, 540.0)
    assert end == pytest.approx((550 - 540) / 100)


@pytest.mark.parametrize("pixel", [0, 37, 199])
def test_a_window_has_the_row_of_the_upper_edge_at_its_centre(pixel):
    """Windows begin at each pixel of the frame; a pixel is 2 mm high."""
    x = np.zeros((200, preprocess.WIDTH_PX), np.float32)
    x[pixel] = 1
    (bright,) = np.flatnonzero(window_search.pad_image(network.CNN4, x).any(axis=1))
    first = bright - preprocess.HEIGHT_PX // 2
    rows_mm = window_search.from_phases(np.zeros((1, 400)), len(x), 1).row_mm
    assert rows_mm[first] == 2 * pixel
