"""Predictions against labels: how far off, and how often.

python -m l3spot.evaluate --results RESULTS/results.csv --labels labels.csv
python -m l3spot.evaluate --results RESULTS/results.csv --readers a.csv,b.csv,c.csv

labels.csv has the columns scan and z_mm or slice_index, empty where L3 is not in view;
see `l3spot.labels`. Errors are in mm and in slices, which are mm over the distance of
the scan's slices. If results or labels have a column fold, they are told by fold as
well. Of several readers the first is the reference of the others and of the program.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from l3spot import labels, results, tables
from l3spot.labels import Row
from l3spot.results import Result
from mtl import launch, workdir
from mtl.errors import ConfigError, DataError

WRONG = 18.0  # mm: from half of a lumbar vertebra and its disc, it is another one.
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
            "wrong_vertebra": (away > WRONG).mean(),
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


def evaluate(results_csv: str | Path, labels_csv: str | Path) -> dict[str, Any]:
    """The errors of a results.csv.

    Returns:
      What `errors` does; and, where there are folds, "folds", a list with that of each,
      the last of which is the average (`average`).

    Raises:
      DataError: a file is broken, or they have no scan in common.
    """
    found, rows = results.read(Path(results_csv)), labels.read(Path(labels_csv))
    both = _common(found, {str(labels_csv): rows}, results_csv)
    told: dict[str, Any] = _compare(_said(found, both), rows, found, both)
    given = labels.column(Path(labels_csv), "fold")
    fold = {n: found[n].fold or given[n] for n in both}
    names = sorted(set(fold.values()) - {""}, key=lambda name: (len(name), name))
    parts = []
    for name in names:
        own = [n for n in both if fold[n] == name]
        parts.append({"fold": name} | _compare(_said(found, own), rows, found, own))
    if parts:
        told["folds"] = [*parts, {"fold": "average"} | average(parts)]
    return told


def average(folds: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The mean of the folds' means, that of their standard deviations, and so on.

    Scans are summed; what not all folds have is left out.
    """
    told = {k: sum(f[k] for f in folds) for k in COUNTS}
    numbers = [k for k in folds[0] if k not in COUNTS and _is_number(folds, k)]
    return told | {k: float(np.mean([f[k] for f in folds])) for k in numbers}


def _is_number(folds: Sequence[dict[str, Any]], key: str) -> bool:
    return all(isinstance(f.get(key), float) for f in folds)


def compare_readers(
    results_csv: str | Path, readers: Sequence[str | Path]
) -> list[dict[str, Any]]:
    """The errors of other readers and of the program against the first reader.

    Returns:
      What `errors` does for each, its name as "reader", over the scans that all have.

    Raises:
      DataError: a file is broken, or they have no scan in common.
    """
    found = results.read(Path(results_csv))
    marked = {str(path): labels.read(Path(path)) for path in readers}
    both = _common(found, marked, results_csv)
    reference, *others = marked
    said = {name: _marked(marked[name], found, both) for name in others}
    said["l3spot"] = _said(found, both)
    return [
        {"reader": name} | _compare(z, marked[reference], found, both)
        for name, z in said.items()
    ]


def _common(
    found: dict[str, Result], marked: dict[str, dict[str, Row]], where: str | Path
) -> list[str]:
    """The scans that all have."""
    both = sorted(found.keys() & set.intersection(*map(set, marked.values())))
    if not both:
        raise DataError(f"{where} and {', '.join(marked)} have no scan in common")
    return both


def _compare(
    z: np.ndarray, rows: dict[str, Row], found: dict[str, Result], scans: list[str]
) -> dict[str, float]:
    step = np.array([found[n].step for n in scans])
    return errors(z, _marked(rows, found, scans), step)


def _said(found: dict[str, Result], scans: list[str]) -> np.ndarray:
    return np.array([found[n].z for n in scans])


def _marked(
    rows: dict[str, Row], found: dict[str, Result], scans: list[str]
) -> np.ndarray:
    """Of labels z, mm, NaN where L3 is not in view."""
    return np.array([_z(rows[n], found[n]) for n in scans])


def _z(row: Row, result: Result) -> float:
    """That of a slice supposes that slices are evenly spaced."""
    if not row.value:
        return math.nan
    if row.kind == "z_mm":
        return float(row.value)
    known = not math.isnan(result.low + result.step)
    if row.kind == "slice_index" and known:
        return result.low + int(row.value) * result.step
    raise DataError(
        f"{row.where}: {row.kind} cannot be compared; give z_mm, or slice_index and a "
        "results.csv that has slice_mm and low_mm"
    )


def launcher(arguments: Sequence[str]) -> str:
    """Evaluates as the flags say; returns tables.

    Raises:
      ConfigError: the flags do not fit together.
    """
    launch.no_more(arguments)
    args = flags.FLAGS
    readers = args.readers
    if bool(args.labels) == bool(readers) or len(readers) == 1:
        raise ConfigError("give --labels, or two files or more as --readers")
    told = evaluate(args.results, args.labels or readers[0])
    if readers:
        told["readers"] = compare_readers(args.results, readers)
    if args.out:
        workdir.write_json(Path(args.out), told)
    return tables.text(told)


if __name__ == "__main__":
    flags.DEFINE_string("results", None, "The results.csv of l3spot.predict.")
    flags.DEFINE_string("labels", "", "A CSV with scan and z_mm or slice_index.")
    flags.DEFINE_list("readers", [], "Several of those; the first is the reference.")
    flags.DEFINE_string("out", "", "A JSON file that gets the numbers as well.")
    launch.launch(launcher, "results")
