"""Errors of predicted positions in mm and in slices, and their average over folds."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

# A larger error is more than half the height of a lumbar vertebra and its disc. It
# counts where the distances between the scan's own vertebrae are unknown.
WRONG_VERTEBRA_MM = 18.0
COUNTS = ("scans", "compared", "own_distances")

Errors: TypeAlias = dict[str, float]  # See `errors`.


class Group(NamedTuple):
    """The errors of a group of scans, such as a fold, or of a reader."""

    name: str
    errors: Errors

    def to_json(self, kind: str) -> dict[str, str | float]:
        """Returns the errors with the name, as the value of `kind`."""
        return {kind: self.name, **self.errors}


class Anatomy(NamedTuple):
    """The true vertebrae of a scan near L3, z in mm; NaN where unknown.

    Attributes:
      above: of the middle of L2.
      upper: of L3's upper end plate.
      lower: of L3's lower end plate.
      below: of the middle of L4.
    """

    above: float = np.nan
    upper: float = np.nan
    lower: float = np.nan
    below: float = np.nan


UNKNOWN = Anatomy()


def errors(
    predicted_mm: np.ndarray,
    true_mm: np.ndarray,
    slice_mm: np.ndarray | None = None,
    anatomy: Sequence[Anatomy] | None = None,
) -> Errors:
    """Summarises the errors of predicted positions.

    Args:
      predicted_mm: [N] z; NaN where the prediction is that L3 is not in view.
      true_mm: [N] z; NaN where L3 is not in view.
      slice_mm: [N] distance between slices; NaN where it is unknown.
      anatomy: [N], of the scans.

    Returns:
      The number of scans, and of scans that are compared: those with L3 in view for
      which a position is predicted. Over these, the mean, standard deviation, median,
      95th percentile and maximum of the absolute error in mm; the shares within 5 mm,
      within 10 mm and at another vertebra; and the errors in slices if all distances
      between slices are known. A position is at another vertebra if it is nearer to the
      middle of L2 or L4 than to that of L3; "own_distances" is the number of scans for
      which these are known; in the others an error above `WRONG_VERTEBRA_MM` counts.
      "inside_body" and "middle_third" are the shares of positions between L3's end
      plates, and in the middle third between them, of scans with known end plates.
      "missed" is the share of scans with L3 for which none is
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
        }
        known = [UNKNOWN] * len(true_mm) if anatomy is None else anatomy
        places = np.array(known, float).reshape(-1, 4)[compared]
        summary |= _levels(predicted_mm[compared], true_mm[compared], places)
        if slice_mm is not None and not np.isnan(slice_mm[compared]).any():
            summary |= _spread(error_mm / slice_mm[compared], "slices")
    if in_view.any():
        summary["missed"] = float((~predicted[in_view]).mean())
    if (~in_view).any():
        summary["false_alarms"] = float(predicted[~in_view].mean())
    return {name: float(value) for name, value in summary.items()}


def _levels(predicted: np.ndarray, true: np.ndarray, places: np.ndarray) -> Errors:
    """Returns the shares at another vertebra and inside the body; all in mm.

    Args:
      predicted: [M].
      true: [M].
      places: [M, 4], see `Anatomy`.
    """
    above, upper, lower, below = places.T
    neighbour = np.where(predicted > true, above, below)
    limit = np.where(
        np.isnan(neighbour), WRONG_VERTEBRA_MM, np.abs(neighbour - true) / 2
    )
    summary: Errors = {
        "wrong_vertebra": (np.abs(predicted - true) > limit).mean(),
        "own_distances": float((~np.isnan(neighbour)).sum()),
    }
    with_plates = ~np.isnan(upper - lower)
    if with_plates.any():
        share = ((predicted - lower) / (upper - lower))[with_plates]
        summary["inside_body"] = ((share >= 0) & (share <= 1)).mean()
        summary["middle_third"] = ((share >= 1 / 3) & (share <= 2 / 3)).mean()
    return summary


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
    sums = {k: sum(f[k] for f in folds) for k in COUNTS if all(k in f for f in folds)}
    others = [k for k in folds[0] if k not in COUNTS and all(k in f for f in folds)]
    return sums | {k: float(np.mean([f[k] for f in folds])) for k in others}
