"""Compares the answers for public CT scans with positions of L3 that two readers saw.

    python -m l3spot.predict --scans SCANS --out RESULTS
    python -m experiments.public_scans --results RESULTS

SCANS has a folder for each scan of docs/results/l3spot_public_labels.csv, with the
files of the source that the CSV names: data sets of The Cancer Imaging Archive, and
others; a scan without results is "absent". docs/results/l3spot_public.csv has the
answers, and l3spot_public_before.csv those of the version before, commit b24ac6f.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags

from experiments import DOCS, csv_rows
from l3spot.labels import csv_labels
from l3spot.report import results_file
from l3spot.report.result import IN_VIEW, MIN_SURE, NOT_IN_VIEW
from mtl.host import launch, tables, workdir
from mtl.host.errors import DataError
from mtl.host.wording import counted

LABELS = DOCS / "results" / "l3spot_public_labels.csv"
CSV = DOCS / "results" / "l3spot_public.csv"
# An error above this is a wrong vertebra: half the distance between adults' ones.
WRONG_MM = 16.0
ABSENT = "absent"
SETS = {0: "seen during the work", 1: "held out", 2: "found later"}


class Label(NamedTuple):
    """What the readers saw in a scan.

    Attributes:
      scan: the name of its folder.
      held_out: 1 if no answer for it was seen before the classifier of ribs was final,
        2 if it was found after that.
      source: the data set, and the patient in it.
      state: as in `csv_labels`, or why there is no truth.
      z_mm: of L3's middle, LPS, the mean of both readings; NaN if it is not in view, or
        not known.
      first_mm: the reading of the first reader; NaN if that one did not see L3.
      second_mm: that of the second reader, who had seen no answer.
    """

    scan: str
    held_out: int
    source: str
    state: str
    z_mm: float
    first_mm: float
    second_mm: float


class Answer(NamedTuple):
    """The answer for a scan; NaN where there is none.

    Attributes:
      scan: the name of its folder.
      status: "found", "not in view", "failed", or "absent".
      z_mm: of L3's middle, LPS.
      confidence: as in results.csv.
      within_5_mm: as in results.csv.
      numbering: as in results.csv.
      frontal_z_mm: from the frontal projection alone.
    """

    scan: str
    status: str
    z_mm: float
    confidence: float
    within_5_mm: float
    numbering: str
    frontal_z_mm: float


def compare(arguments: Sequence[str]) -> str:
    """Writes the answers of a folder of results; returns the tables.

    Raises:
      DataError: there are no results, or none of a labelled scan.
    """
    launch.reject_extra_args(arguments)
    labels = csv_rows.read(LABELS, Label)
    path = Path(flags.FLAGS.results) / results_file.TABLE
    try:
        answers = {row.scan: row for row in csv_rows.read(path, Answer)}
    except (OSError, KeyError, ValueError) as e:
        fix = "give the folder that l3spot.predict wrote"
        raise DataError(f"{path} is no table of results ({e!r}); {fix}") from e
    rows = [answers.get(label.scan, absent(label.scan)) for label in labels]
    if all(row.status == ABSENT for row in rows):
        raise DataError(f"{path} has none of the scans of {LABELS.name}")
    workdir.write_csv(CSV, Answer._fields, rows)
    missing = left_out([row.scan for row in rows if row.status == ABSENT])
    return "\n\n".join((summary(labels, rows), table(labels, rows), missing))


def left_out(scans: Sequence[str]) -> str:
    """Returns a sentence on the labelled scans that are not at hand."""
    return f"{counted(len(scans), 'scan')} not at hand: {', '.join(scans) or 'none'}"


def absent(scan: str) -> Answer:
    """Returns the row of a scan that is not at hand."""
    nan = math.nan
    return Answer(scan, ABSENT, nan, nan, nan, "", nan)


def read(path: Path = CSV) -> tuple[list[Label], list[Answer]]:
    """Returns the labels, and the answers of a file beside them."""
    return csv_rows.read(LABELS, Label), csv_rows.read(path, Answer)


def summary(labels: Sequence[Label], answers: Sequence[Answer]) -> str:
    """Returns how good the answers are, of each set of scans."""
    lines = []
    pairs = list(zip(labels, answers, strict=True))
    for held_out, name in SETS.items():
        of_set = [
            (k, a) for k, a in pairs if k.held_out == held_out and a.status != ABSENT
        ]
        with_l3 = [(k, a) for k, a in of_set if k.state == csv_labels.IN_VIEW]
        found = [(k, a) for k, a in with_l3 if a.status == IN_VIEW]
        errors = [abs(a.z_mm - k.z_mm) for k, a in found]
        wrong = [a for (_, a), e in zip(found, errors, strict=True) if e > WRONG_MM]
        near = [e for e in errors if e <= WRONG_MM]
        without = [a for k, a in of_set if k.state == csv_labels.NOT_IN_VIEW]
        lines.append([
            name,
            *(str(len(x)) for x in (with_l3, found, wrong)),
            str(sum(a.confidence >= MIN_SURE for a in wrong)),
            f"{sum(near) / len(near):.1f}" if near else "",
            f"{max(near):.1f}" if near else "",
            str(len(without)),
            str(sum(a.status == IN_VIEW for a in without)),
        ])  # fmt: skip
    head = ("scans", "with L3", "found", "wrong vertebra", "wrong, but sure")
    rest = ("mean error of the others, mm", "worst", "without L3", "false alarms")
    return tables.markdown((*head, *rest), lines)


def table(labels: Sequence[Label], answers: Sequence[Answer]) -> str:
    """Returns a line for each scan with L3 in view, and for each false answer."""
    lines = []
    for label, answer in zip(labels, answers, strict=True):
        right = label.state == csv_labels.NOT_IN_VIEW and answer.status == NOT_IN_VIEW
        if right or answer.status == ABSENT:
            continue
        truth = f"{label.z_mm:g}" if label.state == csv_labels.IN_VIEW else label.state
        lines.append([
            label.source + (f" ({SETS[label.held_out]})" if label.held_out else ""),
            truth,
            _difference(answer.z_mm, label.z_mm, answer.status),
            _number(answer.confidence),
            _number(answer.within_5_mm),
            f"`{answer.numbering}`" if answer.numbering else "",
            _difference(answer.frontal_z_mm, label.z_mm, ""),
        ])  # fmt: skip
    head = ("scan", "truth, z in mm", "error, mm", "confidence", "within 5 mm")
    return tables.markdown((*head, "numbering", "frontal: error, mm"), lines)


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"


def _difference(z_mm: float, true_mm: float, status: str) -> str:
    """Returns an error, or the status where there is none."""
    error = z_mm - true_mm
    return status if math.isnan(error) else f"{error:+.1f}"


if __name__ == "__main__":
    flags.DEFINE_string("results", None, "Folder of results of l3spot.predict.")
    launch.launch(compare, "results")
