"""Fits the confidence of the vertebrae on drawn scans; no real scan is used."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from tqdm import tqdm

from l3spot.localize.model import Model
from l3spot.training.drawn_scans import DrawnScan
from l3spot.vertebrae import confidence, locate
from l3spot.vertebrae.confidence import Calibration, Logistic
from l3spot.vertebrae.locate import Located, Spine
from l3spot.vertebrae.model import VertebraModel

REGULARISATION = 1.0  # C of scikit-learn's logistic regression.
CONSTANT_LOGIT = 5.0  # If all answers are right.
MAX_MISS = 0.35  # A body that is farther from all true ones is none; in pitches.


class Answer(NamedTuple):
    """An answer and its outcome.

    Attributes:
      features: float64 [F].
      right: whether the answer is right.
    """

    features: np.ndarray
    right: bool


def calibrate(
    model: Model, vertebrae: VertebraModel, scans: Iterable[DrawnScan]
) -> Calibration:
    """Fits all probabilities on drawn scans.

    Args:
      model: of the frontal projection.
      vertebrae: the networks; their calibration is not used.
      scans: the scans.
    """
    level: list[Answer] = []
    position: list[Answer] = []
    frontal: list[Answer] = []
    for scan in tqdm(scans, unit="scan", disable=None):
        located = locate.locate(model, vertebrae, scan.projection)
        level += level_answers(scan, located)
        position += position_answers(scan, located)
        frontal.append(frontal_answer(scan, located))
    return Calibration(
        fit(level, confidence.LEVEL_FEATURES.values()),
        fit(position, confidence.POSITION_FEATURES.values()),
        fit(frontal, confidence.FRONTAL_FEATURES.values()),
    )


def fit(answers: list[Answer], signs: Collection[int]) -> Logistic:
    """Fits a logistic regression with coefficients of given signs.

    If all answers are right, or none is, the probability does not depend on the
    features.

    Args:
      answers: the answers.
      signs: for each feature, 1, or -1 for a coefficient of at most 0.
    """
    right = np.array([a.right for a in answers], bool)
    if right.all() or not right.any():
        bias = CONSTANT_LOGIT if right.all() else -CONSTANT_LOGIT
        return Logistic((0.0,) * len(signs), bias)
    # Features times their signs have coefficients that are not negative.
    sign = np.array(list(signs))
    signed = sign * np.stack([a.features for a in answers])
    target = np.where(right, 1.0, -1.0)

    def loss(c: np.ndarray) -> tuple[float, np.ndarray]:
        """Returns the penalised loss and its gradient."""
        margin = target * (signed @ c[:-1] + c[-1])
        slope = -target * expit(-margin)
        gradient = np.append(signed.T @ slope + c[:-1] / REGULARISATION, slope.sum())
        penalty = (c[:-1] ** 2).sum() / (2 * REGULARISATION)
        return float(np.logaddexp(0, -margin).sum() + penalty), gradient

    bounds = [(0, None)] * len(sign) + [(None, None)]
    start = np.zeros(len(bounds))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return Logistic(tuple(map(float, sign * found.x[:-1])), float(found.x[-1]))


def level_answers(scan: DrawnScan, located: Located) -> list[Answer]:
    """Returns whether the numbering is right; nothing if no vertebrae are seen."""
    if (spine := located.spine) is None:
        return []
    features = confidence.level_features(
        scan.projection, spine.slab, spine.chain, spine.numbering, located.frontal
    )
    return [Answer(features, level_is_right(scan, spine))]


def level_is_right(scan: DrawnScan, spine: Spine) -> bool:
    """Returns whether the body nearest to L3 has its true name."""
    l3_mm = spine.numbering.l3_z_mm
    above_s1 = [v for v in spine.numbering.levels if v.name != "S1"]
    nearest = min(above_s1, key=lambda v: abs(v.z_mm - l3_mm))
    true_mm = scan.z_of(nearest.name)
    return abs(nearest.z_mm - true_mm) < MAX_MISS * scan.pitch_mm


def position_answers(scan: DrawnScan, located: Located) -> list[Answer]:
    """Returns whether each body is within the tolerance, if the numbering is right."""
    if (spine := located.spine) is None or not level_is_right(scan, spine):
        return []
    answers = []
    for level in spine.numbering.levels:
        true_mm = np.nan if level.name == "S1" else scan.z_of(level.name)
        if np.isnan(true_mm):
            continue
        body = next(b for b in spine.chain.bodies if b.z_mm == level.z_mm)
        features = confidence.position_features(
            scan.projection, spine.slab, spine.chain, body, spine.numbering.pitch_mm
        )
        error_mm = abs(level.z_mm - true_mm)
        answers.append(Answer(features, error_mm <= confidence.TOLERANCE_MM))
    return answers


def frontal_answer(scan: DrawnScan, located: Located) -> Answer:
    """Returns whether the frontal position is within the tolerance."""
    near = abs(located.frontal.z_mm) <= confidence.TOLERANCE_MM
    features = confidence.frontal_features(scan.projection, located.frontal)
    return Answer(features, scan.in_view and near)
