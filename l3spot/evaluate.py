"""Compares predictions with labels.

python -m l3spot.evaluate --results RESULTS/results.csv --labels labels.csv
python -m l3spot.evaluate --results RESULTS/results.csv --readers a.csv,b.csv,c.csv

labels.csv has the columns scan and z_mm or slice_index, which are empty where L3 is not
in view; see `l3spot.labels.csv_labels`. The corrections.csv of a review is such a file.
Errors are in mm and in slices: mm over the distance between the scan's slices. If
results or labels have a column fold, each fold has a row, and so have scans of similar
confidence. With several readers, the first is the reference for the others and for the
program.

A position is at the wrong vertebra if it is nearer to L2 or L4 than to L3. The middles
of these and L3's end plates come from the columns l2_mm, upper_mm, lower_mm and l4_mm
of labels.csv, else from the bodies in the levels.csv beside results.csv, whatever their
names are. Where neither holds them, an error above 18 mm counts; own_distances is the
number of the other scans.
"""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import flags

from l3spot.labels import csv_labels
from l3spot.labels.csv_labels import Row
from l3spot.report import metrics, results_file, tables
from l3spot.report.metrics import Anatomy, Errors, Group
from l3spot.report.results_file import LevelRow, PredictedPosition
from mtl.host import launch, workdir
from mtl.host.errors import ConfigError, DataError

CONFIDENCES = (0.0, 0.5, 0.8, 0.95, 1.0)  # Limits of the groups of scans.
ANATOMY_COLUMNS = ("l2_mm", "upper_mm", "lower_mm", "l4_mm")


class Evaluation(NamedTuple):
    """The errors of predictions, `metrics.errors`.

    Attributes:
      errors: of all scans.
      confidence: of scans with similar confidence; () without this column.
      folds: of each fold, and their average (`metrics.average`); () without folds.
      readers: of each reader but the first, and of the program; () without readers.
    """

    errors: Errors
    confidence: Sequence[Group] = ()
    folds: Sequence[Group] = ()
    readers: Sequence[Group] = ()

    def to_json(self) -> dict[str, object]:
        """Returns the content of the JSON file."""
        groups = {"folds": self.folds, "readers": self.readers}
        rows = {k: [g.to_json(k[:-1]) for g in v] for k, v in groups.items() if v}
        if self.confidence:
            rows["confidence"] = [g.to_json("confidence") for g in self.confidence]
        return {**self.errors, **rows}


def evaluate(results_csv: str | Path, labels_csv: str | Path) -> Evaluation:
    """Compares a results.csv with labels.

    Raises:
      DataError: a file is broken, or the files have no scan in common.
    """
    results = results_file.read(Path(results_csv))
    labels = csv_labels.read(Path(labels_csv))
    scans = _common_scans(results, {str(labels_csv): labels}, results_csv)
    anatomy = _anatomy(Path(results_csv), Path(labels_csv), labels, results)

    def errors_of(names: Sequence[str]) -> Errors:
        places = [anatomy[n] for n in names]
        true_mm = _label_z(labels, results, names)
        z_mm, slice_mm = _result_z(results, names), _slice_mm(results, names)
        return metrics.errors(z_mm, true_mm, slice_mm, places)

    by_confidence = [
        Group(f"{low:g} to {high:g}", errors_of(inside))
        for low, high in itertools.pairwise(CONFIDENCES)
        if (inside := [n for n in scans if _between(results[n].confidence, low, high)])
    ]
    label_fold = csv_labels.read_column(Path(labels_csv), "fold")
    fold = {n: results[n].fold or label_fold[n] for n in scans}
    names = sorted(set(fold.values()) - {""}, key=lambda name: (len(name), name))
    folds = []
    for name in names:
        fold_scans = [n for n in scans if fold[n] == name]
        folds.append(Group(name, errors_of(fold_scans)))
    if folds:
        folds.append(Group("average", metrics.average([f.errors for f in folds])))
    return Evaluation(errors_of(scans), by_confidence, folds)


def _between(confidence: float, low: float, high: float) -> bool:
    return low <= confidence < high or confidence == high == CONFIDENCES[-1]


def _anatomy(
    results_csv: Path,
    labels_csv: Path,
    labels: dict[str, Row],
    results: dict[str, PredictedPosition],
) -> dict[str, Anatomy]:
    """Returns the true vertebrae near L3 of each scan of the results."""
    columns = [csv_labels.read_column(labels_csv, name) for name in ANATOMY_COLUMNS]
    levels = results_file.read_levels(results_csv.with_name("levels.csv"))
    found = {}
    for name, row in labels.items():
        stated = [column.get(name, "") for column in columns]
        if any(stated):
            found[name] = Anatomy(*(_number(v, row.where) for v in stated))
        elif row.value and name in results:
            found[name] = _nearest_body(levels.get(name, []), _z(row, results[name]))
        else:
            found[name] = metrics.UNKNOWN
    return found


def _number(text: str, where: str) -> float:
    try:
        return float(text or math.nan)
    except ValueError as e:
        names = ", ".join(ANATOMY_COLUMNS)
        raise DataError(f"{where}: {text!r} is no number in mm ({names})") from e


def _nearest_body(levels: Sequence[LevelRow], z_mm: float) -> Anatomy:
    """Returns the body around a height and its neighbours, whatever their names."""
    bodies = sorted((v for v in levels if v.level != "S1"), key=lambda v: -v.z_mm)
    for i, body in enumerate(bodies):
        if body.lower_mm <= z_mm <= body.upper_mm:
            above = bodies[i - 1].z_mm if i else math.nan
            below = bodies[i + 1].z_mm if i + 1 < len(bodies) else math.nan
            return Anatomy(above, body.upper_mm, body.lower_mm, below)
    return metrics.UNKNOWN


def compare_readers(
    results_csv: str | Path, readers: Sequence[str | Path]
) -> list[Group]:
    """Compares the other readers and the program with the first reader.

    Returns:
      For each, its errors over the scans that all files have.

    Raises:
      DataError: a file is broken, or the files have no scan in common.
    """
    results = results_file.read(Path(results_csv))
    labels = {str(path): csv_labels.read(Path(path)) for path in readers}
    scans = _common_scans(results, labels, results_csv)
    reference, *others = labels
    true_mm = _label_z(labels[reference], results, scans)
    z_mm = {name: _label_z(labels[name], results, scans) for name in others}
    z_mm["l3spot"] = _result_z(results, scans)
    slice_mm = _slice_mm(results, scans)
    return [
        Group(name, metrics.errors(z, true_mm, slice_mm)) for name, z in z_mm.items()
    ]


def _common_scans(
    results: dict[str, PredictedPosition],
    labels: dict[str, dict[str, Row]],
    results_csv: str | Path,
) -> list[str]:
    scans = sorted(results.keys() & set.intersection(*map(set, labels.values())))
    if not scans:
        raise DataError(f"{results_csv} and {', '.join(labels)} have no scan in common")
    return scans


def _result_z(
    results: dict[str, PredictedPosition], scans: Sequence[str]
) -> np.ndarray:
    return np.array([results[n].z_mm for n in scans])


def _slice_mm(
    results: dict[str, PredictedPosition], scans: Sequence[str]
) -> np.ndarray:
    return np.array([results[n].slice_mm for n in scans])


def _label_z(
    labels: dict[str, Row],
    results: dict[str, PredictedPosition],
    scans: Sequence[str],
) -> np.ndarray:
    """Returns the labels' z in mm; NaN where L3 is not in view."""
    return np.array([_z(labels[n], results[n]) for n in scans])


def _z(label: Row, result: PredictedPosition) -> float:
    """Returns a label's z in mm; slices are taken to be evenly spaced."""
    if "" not in (label.level, result.level) and label.level != result.level:
        raise DataError(
            f"{label.where}: it is a review of {label.level}, but the results are of "
            f"{result.level}; take the review of these results"
        )
    if not label.value:
        return math.nan
    if label.column == "z_mm":
        return float(label.value)
    known = not math.isnan(result.low_mm + result.slice_mm)
    if label.column == "slice_index" and known:
        return result.low_mm + int(label.value) * result.slice_mm
    raise DataError(
        f"{label.where}: {label.column} cannot be compared; give z_mm, or slice_index "
        "and a results.csv that has slice_mm and low_mm"
    )


def launcher(arguments: Sequence[str]) -> str:
    """Evaluates from command-line flags and returns tables.

    Raises:
      ConfigError: the flags do not fit together.
    """
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    readers = args.readers
    if bool(args.labels) == bool(readers) or len(readers) == 1:
        raise ConfigError("give --labels, or two files or more as --readers")
    evaluation = evaluate(args.results, args.labels or readers[0])
    if readers:
        compared = compare_readers(args.results, readers)
        evaluation = evaluation._replace(readers=compared)
    if args.out:
        workdir.write_json(Path(args.out), evaluation.to_json())
    groups = {
        "confidence": evaluation.confidence,
        "fold": evaluation.folds,
        "reader": evaluation.readers,
    }
    return tables.text(evaluation.errors, groups)


if __name__ == "__main__":
    flags.DEFINE_string("results", None, "The results.csv of l3spot.predict.")
    flags.DEFINE_string(
        "labels",
        "",
        "A CSV file with scan and z_mm or slice_index, or a corrections.csv.",
    )
    flags.DEFINE_list(
        "readers", [], "Several CSV files with labels; the first is the reference."
    )
    flags.DEFINE_string("out", "", "A JSON file for the numbers.")
    launch.launch(launcher, "results")
