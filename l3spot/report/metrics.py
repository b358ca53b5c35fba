"""Errors of predicted positions in mm and in slices, and their average over folds."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

# A larger error is more than half the height of a lumbar vertebra and its disc.
WRONG_VERTEBRA_MM = 18.0
COUNTS = ("scans", "compared")

Errors: TypeAlias = dict[str, float]  # See `errors`.


class Group(NamedTuple):
    """The errors of a group of scans, such as a fold, or of a reader."""

    name: str
    errors: Errors

    def to_json(self, kind: str) -> dict[str, str | float]:
        """Returns the errors with the name, as the value of `kind`."""
        return {kind: self.name, **self.errors}


def errors(
    predicted_mm: np.ndarray, true_mm: np.ndarray, slice_mm: np.ndarray | None = None
) -> Errors:
    """Summarises the errors of predicted positions.

    Args:
      predicted_mm: [N] z; NaN where the prediction is that L3 is not in view.
      true_mm: [N] z; NaN where L3 is not in view.
      slice_mm: [N] distance between slices; NaN where it is unknown.

    Returns:
      The number of scans, and of scans that are compared: those with L3 in view for
      which a position is predicted. Over these, the mean, standard deviation, median,
      95th percentile and maximum of the absolute error in mm; the shares within 5 mm,
      within 10 mm and at another vertebra; and the errors in slices if all distances
      between slices are known. "missed" is the share of scans with L3 for which none is
      predicted, "false_alarms" the share of scans without L3 for which one is.
    """
    in_view, predicted = ~np.isnan(true_mm), ~np.isnan(predicted_mm)
    compared = in_view & predicted
    error_mm = np.abs(predicted_mm - true_mm)[compared]
    summary: Errors = {"scans": len(true_mm), "compared": len(error_mm)}
    if len(error_mm):
        summary |= _spread(error_mm, "mm")
        summary |= {
            "within_5_mm": (error_mm <= 5).mean(),
            "within_10_mm": (error_mm <= 10).mean(),
            "wrong_vertebra": (error_mm > WRONG_VERTEBRA_MM).mean(),
        }
        if slice_mm is not None and not np.isnan(slice_mm[compared]).any():
            summary |= _spread(error_mm / slice_mm[compared], "slices")
    if in_view.any():
        summary["missed"] = float((~predicted[in_view]).mean())
    if (~in_view).any():
        summary["false_alarms"] = float(predicted[~in_view].mean())
    return {name: float(value) for name, value in summary.items()}


def _spread(error: np.ndarray, unit: str) -> Errors:
    return {
        f"mean_{unit}": error.mean(),
        f"std_{unit}": error.std(),
        f"median_{unit}": np.median(error),
        f"p95_{unit}": np.percentile(error, 95),
        f"max_{unit}": error.max(),
    }


def average(folds: Sequence[Errors]) -> Errors:
    """Averages each number over the folds, standard deviations included.

    Numbers of scans are summed. Numbers that some folds lack are left out.
    """
    sums = {k: sum(f[k] for f in folds) for k in COUNTS}
    others = [k for k in folds[0] if k not in COUNTS and all(k in f for f in folds)]
    return sums | {k: float(np.mean([f[k] for f in folds])) for k in others}
