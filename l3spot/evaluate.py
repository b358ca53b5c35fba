"""Predictions against labels: how far off, and how often.

python -m l3spot.evaluate --results RESULTS/results.csv --labels labels.csv
python -m l3spot.evaluate --results RESULTS/results.csv --readers a.csv,b.csv,c.csv

labels.csv has the columns scan and z_mm or slice_index, empty where L3 is not in view;
see `l3spot.labels.csv_labels`. Errors are in mm and in slices, which are mm over the
distance of the scan's slices. If results or labels have a column fold, there is a row
for each fold. The first of several readers is the reference for the others and for the
program.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from l3spot.labels import csv_labels
from l3spot.labels.csv_labels import Row
from l3spot.report import metrics, results_file, tables
from l3spot.report.results_file import Result
from mtl.host import launch, workdir
from mtl.host.errors import ConfigError, DataError


def evaluate(results_csv: str | Path, labels_csv: str | Path) -> dict[str, Any]:
    """The errors of a results.csv.

    Returns:
      What `metrics.errors` returns; and, with folds, "folds": a list of those,
      which ends with their average (`metrics.average`).

    Raises:
      DataError: a file is broken, or they have no scan in common.
    """
    found, rows = (
        results_file.read(Path(results_csv)),
        csv_labels.read(Path(labels_csv)),
    )
    both = _common(found, {str(labels_csv): rows}, results_csv)
    told: dict[str, Any] = _compare(_said(found, both), rows, found, both)
    given = csv_labels.read_column(Path(labels_csv), "fold")
    fold = {n: found[n].fold or given[n] for n in both}
    names = sorted(set(fold.values()) - {""}, key=lambda name: (len(name), name))
    parts = []
    for name in names:
        own = [n for n in both if fold[n] == name]
        parts.append({"fold": name} | _compare(_said(found, own), rows, found, own))
    if parts:
        told["folds"] = [*parts, {"fold": "average"} | metrics.average(parts)]
    return told


def compare_readers(
    results_csv: str | Path, readers: Sequence[str | Path]
) -> list[dict[str, Any]]:
    """The errors of other readers and of the program against the first reader.

    Returns:
      For each, what `metrics.errors` returns over the scans that all have, and its
      name as "reader".

    Raises:
      DataError: a file is broken, or they have no scan in common.
    """
    found = results_file.read(Path(results_csv))
    marked = {str(path): csv_labels.read(Path(path)) for path in readers}
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
    return metrics.errors(z, _marked(rows, found, scans), step)


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
    if row.column == "z_mm":
        return float(row.value)
    known = not math.isnan(result.low + result.step)
    if row.column == "slice_index" and known:
        return result.low + int(row.value) * result.step
    raise DataError(
        f"{row.where}: {row.column} cannot be compared; give z_mm, or slice_index and "
        "a results.csv that has slice_mm and low_mm"
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
