"""How well a network spots L3 in a pool, and how sure it may be of it."""

from collections.abc import Iterator

import numpy as np
from sklearn.linear_model import LogisticRegression

from l3spot.localize import model, preprocess, window_search
from l3spot.localize.model import Calibration, Model
from l3spot.localize.window_search import Spot
from l3spot.report import metrics
from l3spot.training.dataset import Pool

WITHIN = 10.0  # mm; what confidence is the probability of.


def truth(pool: Pool) -> np.ndarray:
    """[N] L3's row, mm; NaN where it is not in view."""
    seen = (pool.l3 >= 0) & (pool.l3 <= pool.height)
    return np.where(seen, pool.l3, np.nan)


def judge(m: Model, pool: Pool) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """Errors where L3 is in view; evidence [N, 5], and whether L3 was found [N]."""
    found = list(_spots(m, pool))
    rows, true = np.array([s.row for s in found]), truth(pool)
    good = np.abs(rows - true) <= WITHIN  # NaN is not.
    seen = ~np.isnan(true)
    evidence = np.array([s.evidence for s in found])
    return metrics.errors(rows[seen], true[seen]), evidence, good


def calibrate(evidence: np.ndarray, good: np.ndarray) -> Calibration:
    """Logistic regression; of evidence that tells nothing if all are good, or none."""
    if good.all() or not good.any():
        return Calibration((0.0,) * model.SIZE, 5.0 if good.all() else -5.0)
    fitted = LogisticRegression(C=10.0, max_iter=1000).fit(evidence, good)
    return Calibration(tuple(map(float, fitted.coef_[0])), float(fitted.intercept_[0]))


def predict(m: Model, pool: Pool) -> tuple[np.ndarray, np.ndarray]:
    """[N] rows, mm, whether L3 is said to be in view or not; and confidence [N]."""
    found = list(_spots(m, pool))
    sure = [m.calibration(s.evidence) for s in found]
    return np.array([s.row for s in found]), np.array(sure)


def errors(rows: np.ndarray, confidence: np.ndarray, pool: Pool) -> dict[str, float]:
    """Errors when what is not sure is said not to be in view."""
    told = np.where(confidence >= model.SURE, rows, np.nan)
    return metrics.errors(told, truth(pool))


def _spots(m: Model, pool: Pool) -> Iterator[Spot]:
    for hu, height in zip(pool.hu, pool.height, strict=True):
        shown = preprocess.centred(hu[: int(height) // preprocess.MM])
        x = preprocess.window(shown, m.low, m.high)
        yield window_search.spot(m.look(x), float(height))
