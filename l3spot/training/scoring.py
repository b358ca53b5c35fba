"""Measures how well a model finds L3 in a dataset, and calibrates its confidence."""

from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.linear_model import LogisticRegression

from l3spot.localize import model, preprocess, window_search
from l3spot.localize.model import Calibration, Model
from l3spot.localize.window_search import L3Estimate
from l3spot.report import metrics
from l3spot.training.dataset import ProjectionDataset
from mtl import own_metrics
from mtl.own_metrics import Mode, Named

TOLERANCE_MM = 10.0  # Confidence is the probability of a smaller error.
# Metrics that can be `config.monitor`.
MODES: dict[str, Mode] = {
    "mean_mm": "min", "std_mm": "min", "median_mm": "min", "p95_mm": "min",
    "max_mm": "min", "within_5_mm": "max", "within_10_mm": "max",
    "wrong_vertebra": "min",
}  # fmt: skip
NAMES = (*MODES, *metrics.COUNTS, "missed", "false_alarms")


def true_rows(dataset: ProjectionDataset) -> np.ndarray:
    """Returns L3's rows [N] in mm; NaN where L3 is not in view."""
    in_view = (dataset.l3_mm >= 0) & (dataset.l3_mm <= dataset.height_mm)
    return np.where(in_view, dataset.l3_mm, np.nan)


def load_metrics(own: Sequence[str]) -> Named:
    """Imports the functions of `config.metrics`, `(predicted_mm, true_mm) -> number`.

    Raises:
      ConfigError: one cannot be imported, or returns no number.
    """
    named = own_metrics.load(own, NAMES)
    rows_mm = jax.ShapeDtypeStruct((7,), jnp.float32)
    own_metrics.check_shapes(named, rows_mm, rows_mm)
    return named


def errors_in_view(
    rows_mm: np.ndarray, true_mm: np.ndarray, own: Named = ()
) -> dict[str, float]:
    """Evaluates the estimated rows of the scans with L3 in view.

    Args:
      rows_mm: [N].
      true_mm: [N], see `true_rows`.
      own: metrics of the user's, see `load_metrics`.
    """
    in_view = ~np.isnan(true_mm)
    both = rows_mm[in_view], true_mm[in_view]
    own = own if in_view.any() else ()  # Like the errors, they are absent then.
    return metrics.errors(*both) | {name: float(f(*both)) for name, f in own}


def errors_and_features(
    m: Model, dataset: ProjectionDataset, own: Named = ()
) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """Evaluates a model without its confidence.

    Returns:
      `errors_in_view`; the confidence features [N, 5]; and whether the estimate is
      right [N], within `TOLERANCE_MM`.
    """
    estimates = list(_estimates(m, dataset))
    rows_mm, true_mm = np.array([e.row_mm for e in estimates]), true_rows(dataset)
    right = np.abs(rows_mm - true_mm) <= TOLERANCE_MM  # False for NaN.
    features = np.array([e.confidence_features for e in estimates])
    return errors_in_view(rows_mm, true_mm, own), features, right


def calibrate(features: np.ndarray, right: np.ndarray) -> Calibration:
    """Fits the confidence by logistic regression.

    If all estimates are right, or none is, the confidence does not depend on the
    features.

    Args:
      features: [N, 5] confidence features.
      right: bool [N], whether the estimates are right.
    """
    if right.all() or not right.any():
        return Calibration((0.0,) * model.FEATURE_COUNT, 5.0 if right.all() else -5.0)
    fitted = LogisticRegression(C=10.0, max_iter=1000).fit(features, right)
    return Calibration(tuple(map(float, fitted.coef_[0])), float(fitted.intercept_[0]))


def predict(m: Model, dataset: ProjectionDataset) -> tuple[np.ndarray, np.ndarray]:
    """Returns the estimated rows [N] in mm of all scans, and their confidence [N]."""
    estimates = list(_estimates(m, dataset))
    confidence = [m.calibration(e.confidence_features) for e in estimates]
    return np.array([e.row_mm for e in estimates]), np.array(confidence)


def confident_errors(
    rows_mm: np.ndarray, confidence: np.ndarray, dataset: ProjectionDataset
) -> dict[str, float]:
    """Evaluates predictions; those of low confidence count as "not in view"."""
    predicted_mm = np.where(confidence >= model.MIN_CONFIDENCE, rows_mm, np.nan)
    return metrics.errors(predicted_mm, true_rows(dataset))


def _estimates(m: Model, dataset: ProjectionDataset) -> Iterator[L3Estimate]:
    for hu, height_mm in zip(dataset.hu, dataset.height_mm, strict=True):
        scan = hu[: int(height_mm) // preprocess.MM_PER_PX]
        cropped = preprocess.crop_to_spine(scan, view=m.view)
        x = preprocess.to_grey(cropped, m.low_hu, m.high_hu)
        yield window_search.locate(m.window_offsets(x), float(height_mm))
