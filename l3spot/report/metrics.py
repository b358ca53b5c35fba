"""Errors of predicted positions, in mm and in slices, and their average over folds."""

from collections.abc import Sequence
from typing import Any

import numpy as np

# An error of more than half a lumbar vertebra and its disc is at another vertebra.
WRONG_VERTEBRA_MM = 18.0
COUNTS = ("scans", "compared")


def errors(
    predicted: np.ndarray, true: np.ndarray, step: np.ndarray | None = None
) -> dict[str, float]:
    """What errors come to.

    Args:
      predicted: [N] z in mm; NaN where L3 was said not to be in view.
      true: [N] z in mm; NaN where it is not.
      step: [N] mm between slices; NaN where it is not known.

    Returns:
      Over scans that have L3 and for which it was found: mean, standard deviation,
      median, 95th percentile and largest of the absolute error in mm, and in slices if
      all steps are known, and shares within 5 and 10 mm and at another vertebra. Of
      those that have it, the share that was missed; of those that lack it, the share
      for which it was "found".
    """
    has, said = ~np.isnan(true), ~np.isnan(predicted)
    away = np.abs(predicted - true)[has & said]
    told: dict[str, float] = {"scans": len(true), "compared": len(away)}
    if len(away):
        told |= _spread(away, "mm")
        told |= {
            "within_5_mm": (away <= 5).mean(), "within_10_mm": (away <= 10).mean(),
            "wrong_vertebra": (away > WRONG_VERTEBRA_MM).mean(),
        }  # fmt: skip
        if step is not None and not np.isnan(step[has & said]).any():
            told |= _spread(away / step[has & said], "slices")
    if has.any():
        told["missed"] = float((~said[has]).mean())
    if (~has).any():
        told["false_alarms"] = float(said[~has].mean())
    return {name: float(value) for name, value in told.items()}


def _spread(away: np.ndarray, unit: str) -> dict[str, float]:
    return {
        f"mean_{unit}": away.mean(), f"std_{unit}": away.std(),
        f"median_{unit}": np.median(away), f"p95_{unit}": np.percentile(away, 95),
        f"max_{unit}": away.max(),
    }  # fmt: skip


def average(folds: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The mean of the folds' means, that of their standard deviations, and so on.

    Scans are summed; what not all folds have is left out.
    """
    told = {k: sum(f[k] for f in folds) for k in COUNTS}
    numbers = [k for k in folds[0] if k not in COUNTS and _is_number(folds, k)]
    return told | {k: float(np.mean([f[k] for f in folds])) for k in numbers}


def _is_number(folds: Sequence[dict[str, Any]], key: str) -> bool:
    return all(isinstance(f.get(key), float) for f in folds)
