"""Evaluates variants of the public scans with L3 in view; writes a CSV and a table.

    python -m experiments.public_variants --scans SCANS

SCANS has a folder for each scan, as for `experiments.public_scans`; scans without one
are left out, and named. The variants are those of `experiments.transfer`, without empty
ones. Scans with rows in docs/results/l3spot_public_variants.csv are not computed again.
A scan takes a minute.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags
from tqdm import tqdm

from experiments import DOCS, csv_rows, public_scans, transfer
from experiments.public_scans import WRONG_MM, Label
from l3spot.ct import scan
from l3spot.labels import csv_labels
from l3spot.localize import model
from l3spot.report.result import IN_VIEW, is_sure
from l3spot.vertebrae import model as vertebra_model
from mtl.host import launch, tables, workdir
from mtl.host.errors import DataError

CSV = DOCS / "results" / "l3spot_public_variants.csv"


class Row(NamedTuple):
    """The answer for a variant of a scan.

    Attributes:
      scan: the name of its folder.
      variant: how it was changed.
      in_view: 1 if L3 is in view.
      error_mm: towards the head; NaN if L3 is not in view, or is not found.
      found: 1 if a position is given.
      confidence: as in results.csv.
      numbering: as in results.csv.
    """

    scan: str
    variant: str
    in_view: int
    error_mm: float
    found: int
    confidence: float
    numbering: str


def measure(arguments: Sequence[str]) -> str:
    """Measures from command-line flags; returns the table.

    Raises:
      DataError: no labelled scan has a folder.
    """
    launch.reject_extra_args(arguments)
    root = Path(flags.FLAGS.scans)
    labels, _ = public_scans.read()
    with_l3 = [label for label in labels if label.state == csv_labels.IN_VIEW]
    absent = [k.scan for k in with_l3 if not (root / k.scan).exists()]
    there = [label for label in with_l3 if label.scan not in absent]
    if not there:
        raise DataError(f"{root} has no folder for any scan of {', '.join(absent)}")
    rows = read() if CSV.exists() else []
    done = {row.scan for row in rows}
    models = model.load(), vertebra_model.load()
    for label in tqdm(there, unit="scan", disable=None):
        if label.scan not in done:
            rows += _measure_one(label, root / label.scan, *models)
            workdir.write_csv(CSV, Row._fields, rows)
    return f"{table(rows)}\n\n{public_scans.left_out(absent)}"


def _measure_one(
    label: Label,
    folder: Path,
    frontal: model.Model,
    vertebrae: vertebra_model.VertebraModel,
) -> list[Row]:
    rows = []
    whole = scan.choose(scan.read(folder), folder)
    for name, in_view, found in transfer.answers(whole, label.z_mm, frontal, vertebrae):
        if found is None:
            continue
        is_found = found.status == IN_VIEW
        error_mm = found.z_mm - label.z_mm if in_view and is_found else math.nan
        basis = "" if found.spine is None else found.spine.numbering.basis
        rows.append(
            Row(
                label.scan, name, int(in_view), round(error_mm, 2), int(is_found),
                round(found.confidence, 4), basis,
            )
        )  # fmt: skip
    return rows


def read() -> list[Row]:
    """Returns the rows of the CSV."""
    return csv_rows.read(CSV, Row)


def table(rows: Sequence[Row]) -> str:
    """Returns a line for each kind of variant, and one for all."""
    variants = list(dict.fromkeys(_kind(row.variant) for row in rows))
    lines = [
        [kind, *_cells([row for row in rows if _kind(row.variant) == kind])]
        for kind in variants
    ]
    head = ("variants", "with L3", "found", "wrong vertebra", "wrong, but sure")
    rest = ("mean error of the others, mm", "worst", "right, but unsure", "without L3")
    scans = len({row.scan for row in rows})
    lines.append([f"all, of {scans} scans", *_cells(rows)])
    return tables.markdown((*head, *rest, "false alarms"), lines)


def _kind(variant: str) -> str:
    """Returns the name of a kind of variants."""
    for start in ("a slice each", "noise", "turned"):
        if variant.startswith(start):
            return {"a slice each": "thicker slices"}.get(start, start)
    if variant.endswith("to the side"):
        return "60 mm to the side"
    if variant.endswith("out of view"):
        return "cut, L3 out of view"
    if variant.startswith("cut"):
        return "cut above and below" if " and " in variant else "cut above or below"
    return variant


def _cells(rows: Sequence[Row]) -> list[str]:
    with_l3 = [row for row in rows if row.in_view]
    found = [row for row in with_l3 if row.found]
    wrong = [row for row in found if abs(row.error_mm) > WRONG_MM]
    right = [row for row in found if abs(row.error_mm) <= WRONG_MM]
    errors = [abs(row.error_mm) for row in right]
    sure = [row for row in wrong if is_sure(row.confidence, row.numbering)]
    unsure = [row for row in right if not is_sure(row.confidence, row.numbering)]
    without = [row for row in rows if not row.in_view]
    return [
        *(str(len(a)) for a in (with_l3, found, wrong, sure)),
        f"{sum(errors) / len(errors):.1f}" if errors else "",
        f"{max(errors):.1f}" if errors else "",
        str(len(unsure)),
        str(len(without)),
        str(sum(row.found for row in without)),
    ]


if __name__ == "__main__":
    flags.DEFINE_string("scans", None, "Folder with a folder for each scan.")
    launch.launch(measure, "scans")
