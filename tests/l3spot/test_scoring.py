"""Scores of rows and of confidence, on scans of a few lines."""

from types import SimpleNamespace

import numpy as np
import pytest

from l3spot.localize.model import SIZE
from l3spot.localize.window_search import REACH, Sequence
from l3spot.training import scoring
from l3spot.training.dataset import Pool

HEIGHTS_MM = np.array([400.0, 400.0, 301.0, 400.0], np.float32)


def pool(l3_mm):
    """Scans of bone above air, so that their height can be seen."""
    hu = np.full((len(l3_mm), 250, 200), -1024, np.int16)
    for picture, height in zip(hu, HEIGHTS_MM, strict=False):
        picture[: int(height) // 2] = 800
    heights = HEIGHTS_MM[: len(l3_mm)]
    return Pool(hu, heights, np.array(l3_mm, np.float32), np.arange(len(l3_mm)))


def finder(found_mm, shown=None, confidence=0.9):
    """A model that points at one row after the other, whatever it is shown."""
    rows_mm = iter(found_mm)

    def look(x):
        if shown is not None:
            shown.append(x)
        row = np.arange(-REACH, 2 * len(x) + REACH, 2.0)
        return Sequence(row, np.clip(next(rows_mm) - row, -REACH, REACH))

    return SimpleNamespace(
        look=look, low=0.0, high=1000.0, calibration=lambda evidence: confidence
    )


def test_l3_is_in_view_from_the_first_row_to_the_last():
    truth = scoring.truth(pool([0.0, 400.0, 301.5, -0.5]))
    np.testing.assert_array_equal(truth, [0, 400, np.nan, np.nan])
    assert np.isnan(scoring.truth(pool([np.nan]))).all()


def test_found_is_found_to_10_mm_and_errors_are_those_of_l3_in_view():
    given = pool([200.0, 200.0, 150.0, -80.0])
    errors, evidence, good = scoring.judge(finder([209.5, 189.5, 150.0, 20.0]), given)
    assert good.tolist() == [True, False, True, False]
    assert errors["scans"] == 3
    assert errors["mean_mm"] == pytest.approx((9.5 + 10.5 + 0) / 3)
    assert evidence.shape == (4, SIZE)
    assert "false_alarms" not in errors


def test_each_scan_is_shown_to_its_end_alone():
    shown = []
    scoring.judge(finder([200.0] * 4, shown), pool([200.0] * 4))
    assert [len(x) for x in shown] == [200, 200, 150, 200]
    assert all((x[:, 80:96] > 0.79).all() for x in shown)


def test_what_is_not_half_sure_is_not_in_view():
    given = pool([200.0, 200.0, 150.0, -80.0])
    rows, confidence = scoring.predict(finder([201.0, 230, 150, 20], None, 0.7), given)
    assert rows == pytest.approx([201, 230, 150, 20])
    assert confidence.tolist() == [0.7] * 4
    sure = np.array([0.5, 0.49, 0.9, 0.9])
    errors = scoring.errors(rows, sure, given)
    assert (errors["scans"], errors["compared"]) == (4, 2)
    assert errors["mean_mm"] == pytest.approx(0.5)
    assert errors["missed"] == pytest.approx(1 / 3)
    assert errors["false_alarms"] == 1


@pytest.mark.parametrize(("good", "confidence"), [(True, 0.9933), (False, 0.0067)])
def test_if_all_are_right_or_none_confidence_is_the_same_for_all(good, confidence):
    fitted = scoring.calibrate(np.ones((6, SIZE)), np.full(6, good))
    for evidence in (np.zeros(SIZE), np.ones(SIZE)):
        assert fitted(evidence) == pytest.approx(confidence, abs=1e-4)


def test_confidence_follows_the_shares_of_right_ones():
    """Of 100 with a high peak 90 are right, of 100 with a low one 10."""
    evidence = np.zeros((200, SIZE))
    evidence[:100, 0] = 1
    good = np.zeros(200, bool)
    good[:90] = good[100:110] = True
    fitted = scoring.calibrate(evidence, good)
    assert fitted(evidence[0]) == pytest.approx(0.9, abs=0.02)
    assert fitted(evidence[-1]) == pytest.approx(0.1, abs=0.02)
