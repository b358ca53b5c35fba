"""The confidence is fitted on drawn scans with known vertebrae."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from l3spot.training import calibration
from l3spot.training.calibration import Answer
from l3spot.training.drawn_scans import DrawnScan
from l3spot.vertebrae import locate
from tests.l3spot.stub_model import stub_model
from tests.l3spot.vertebrae.stub import (
    PITCH_MM,
    TOP_MM,
    StubVertebrae,
    chain,
    projection,
)

L3_MM = TOP_MM + 0.5 - 120.0


def some_answers(count=4000):
    """Answers that the first feature raises, the second lowers, the third does not."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 3))
    p = 1 / (1 + np.exp(-(1.5 * x[:, 0] - 0.8 * x[:, 1] - 0.7)))
    return x, rng.random(count) < p


def fit(x, right, signs):
    answers = [Answer(a, bool(r)) for a, r in zip(x, right, strict=True)]
    return calibration.fit(answers, signs)


def test_the_fitted_probability_is_that_of_scikit_learn():
    x, right = some_answers(300)
    signs = np.sign(LogisticRegression().fit(x, right).coef_[0])
    fitted = fit(x, right, signs)
    reference = LogisticRegression(C=calibration.REGULARISATION, tol=1e-8).fit(x, right)
    np.testing.assert_allclose(fitted.coefficients, reference.coef_[0], atol=1e-3)
    assert fitted.bias == pytest.approx(reference.intercept_[0], abs=1e-3)


def test_a_feature_of_the_other_sign_does_not_count():
    x, right = some_answers()
    fitted = fit(x, right, [1, 1, 1])
    alone = fit(x[:, [0, 2]], right, [1, 1])
    assert fitted.coefficients[1] == 0
    np.testing.assert_allclose(fitted.coefficients[::2], alone.coefficients, atol=1e-3)


@pytest.mark.parametrize(("right", "low", "high"), [(True, 0.98, 1), (False, 0, 0.02)])
def test_answers_that_are_all_alike_do_not_depend_on_the_features(right, low, high):
    fitted = calibration.fit([Answer(np.array([3.0]), right)] * 4, [1])
    assert low < fitted(np.array([-100.0])) < high


def drawn(shift=0):
    """A scan with its true L3 `shift` bodies below the middle one of five."""
    p = projection()
    z = np.full(25, np.nan)
    z[19:24] = PITCH_MM * np.arange(2, -3, -1) + shift * PITCH_MM
    move = p.z[0] - TOP_MM + L3_MM
    band = p.spine._replace(z=p.spine.z - move)
    return DrawnScan(p._replace(z=p.z - move, spine=band), 1.0, z, z * 0 + 13, 12)


def answers(scan, error_mm=0.0):
    bodies = chain(PITCH_MM * np.arange(2, -3, -1) + error_mm)
    located = locate.locate(
        stub_model([120.0]), StubVertebrae(bodies, []), scan.projection
    )
    return (
        calibration.level_answers(scan, located),
        calibration.position_answers(scan, located),
        calibration.frontal_answer(scan, located),
    )


def test_answers_are_right_if_names_and_places_are_those_of_the_phantom():
    level, position, frontal = answers(drawn())
    assert [a.right for a in level] == [True]
    assert [a.right for a in position] == [True] * 5
    assert frontal.right


def test_a_shifted_numbering_is_wrong_and_its_positions_do_not_count():
    level, position, frontal = answers(drawn(shift=1))
    assert [a.right for a in level] == [False]
    assert position == []
    assert frontal.right  # It is about L3 at 0 alone.


def test_a_position_6_mm_away_is_not_within_5_mm():
    level, position, _ = answers(drawn(), error_mm=6.0)
    assert [a.right for a in level] == [True]
    assert [a.right for a in position] == [False] * 5


def test_without_vertebrae_there_is_only_the_frontal_answer():
    located = locate.locate(
        stub_model([200.0]), StubVertebrae(chain([0.0]), []), drawn().projection
    )
    assert calibration.level_answers(drawn(), located) == []
    assert calibration.position_answers(drawn(), located) == []
    assert not calibration.frontal_answer(drawn(), located).right
