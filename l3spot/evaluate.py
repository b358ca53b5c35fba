"""Predictions against labels: how far off, and how often.

python -m l3spot.evaluate --results RESULTS/results.csv --labels labels.csv

labels.csv has the columns scan and z_mm, empty where L3 is not in view; see
`l3spot.labels`. Errors are in mm and, where results tell slices, in slices.
"""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from l3spot import labels
from mtl import launch, workdir
from mtl.errors import DataError

WRONG = 18.0  # mm: from half of a lumbar vertebra and its disc, it is another one.


def errors(predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """What errors come to.

    Args:
      predicted: [N] z in mm; NaN where L3 was said not to be in view.
      true: [N] z in mm; NaN where it is not.

    Returns:
      Over scans that have L3 and for which it was found: mean, standard deviation,
      median, 95th percentile and largest of the absolute error in mm, and shares
      within 5 and 10 mm and at another vertebra. Of those that have it, the share that
      was missed; of those that lack it, the share for which it was "found".
    """
    has, said = ~np.isnan(true), ~np.isnan(predicted)
    away = np.abs(predicted - true)[has & said]
    told: dict[str, float] = {"scans": len(true), "compared": len(away)}
    if len(away):
        told |= {
            "mean_mm": away.mean(), "std_mm": away.std(), "median_mm": np.median(away),
            "p95_mm": np.percentile(away, 95), "max_mm": away.max(),
            "within_5_mm": (away <= 5).mean(), "within_10_mm": (away <= 10).mean(),
            "wrong_vertebra": (away > WRONG).mean(),
        }  # fmt: skip
    if has.any():
        told["missed"] = float((~said[has]).mean())
    if (~has).any():
        told["false_alarms"] = float(said[~has].mean())
    return {name: float(value) for name, value in told.items()}


def evaluate(results: str | Path, labels_csv: str | Path) -> dict[str, float]:
    """The errors of a results.csv.

    Raises:
      DataError: a file is broken, or they have no scan in common.
    """
    rows = labels.read(Path(labels_csv))
    found = _results(Path(results))
    both = sorted(found.keys() & rows.keys())
    if not both:
        raise DataError(f"{results} and {labels_csv} have no scan in common")
    odd = next((rows[n] for n in both if rows[n].kind != "z_mm"), None)
    if odd:
        raise DataError(f"{odd.where}: {odd.kind} cannot be compared; give z_mm")
    true = np.array([float(rows[n].value or math.nan) for n in both])
    return errors(np.array([found[n] for n in both]), true)


def _results(path: Path) -> dict[str, float]:
    """By scan z, NaN where L3 was said not to be in view; failed scans are left out."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        return {
            r["scan"]: float(r["z_mm"] or math.nan)
            for r in rows if r["status"] != "failed"
        }  # fmt: skip
    except (OSError, KeyError, TypeError, ValueError) as e:
        raise DataError(
            f"{path} is no results.csv of l3spot.predict ({e!r}); give that"
        ) from e


def launcher(arguments: Sequence[str]) -> str:
    """Evaluates as the flags say; returns a table."""
    launch.no_more(arguments)
    args = flags.FLAGS
    told: dict[str, Any] = evaluate(args.results, args.labels)
    if args.out:
        workdir.write_json(Path(args.out), told)
    return "\n".join(f"{name:15s} {value:8.4g}" for name, value in told.items())


if __name__ == "__main__":
    flags.DEFINE_string("results", None, "The results.csv of l3spot.predict.")
    flags.DEFINE_string("labels", None, "A CSV with scan and z_mm.")
    flags.DEFINE_string("out", "", "A JSON file that gets the numbers as well.")
    launch.launch(launcher, "results", "labels")
