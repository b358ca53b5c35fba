"""Reads and checks the corrections.csv that a person exports from review.html."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from l3spot.labels import csv_labels
from l3spot.report import result
from l3spot.report.review_files import ReviewData
from mtl.host import csv_text
from mtl.host.errors import DataError

VERDICTS = ACCEPTED, MOVED, NOT_IN_VIEW, CANNOT_TELL = (
    "accepted",
    "moved",
    result.NOT_IN_VIEW,
    csv_labels.CANNOT_TELL,
)
SAME_MM = 0.011  # Two numbers that are rounded to 0.01 mm may differ so.


class Correction(NamedTuple):
    """A row of corrections.csv: a person's answer for a scan.

    Attributes:
      scan: the scan's name.
      z_mm: of the middle of the vertebra's body, LPS; None unless it is in view.
      level: the vertebra, which is the one of the results.
      reader: the person; "" if unknown.
      verdict: one of `VERDICTS`.
      note: free text.
    """

    scan: str
    z_mm: float | None
    level: str
    reader: str
    verdict: str
    note: str


class Line(NamedTuple):
    """A correction, and its file and line for messages."""

    where: str
    correction: Correction


COLUMNS = Correction._fields


def read(path: Path) -> dict[str, Line]:
    """Returns the corrections by scan.

    Raises:
      DataError: the file cannot be read, is no corrections.csv, or a line is invalid;
        names file, line and fix.
    """
    try:
        table = csv_text.open_table(path, errors="surrogateescape")
        missing = [name for name in COLUMNS if name not in (table.fieldnames or [])]
        if missing:
            raise DataError(
                f"{path} is no corrections.csv of review.html: it has no column "
                f"{', '.join(missing)}; export it from that page"
            )
        rows = [(f"{path}, line {table.line_num}", row) for row in table]
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        why = e.strerror if isinstance(e, OSError) else e
        raise DataError(f"{path} cannot be read as a corrections.csv ({why})") from e
    lines: dict[str, Line] = {}
    for where, row in rows:
        correction = _correction(row, where)
        if correction.scan in lines:
            raise DataError(
                f"{where}: the scan {correction.scan!r} is there twice; keep one line"
            )
        lines[correction.scan] = Line(where, correction)
    return lines


def _correction(row: Mapping[str, str | None], where: str) -> Correction:
    if any(row[name] is None for name in COLUMNS):
        raise DataError(
            f"{where}: it has too few columns; there must be {', '.join(COLUMNS)}"
        )
    text = {name: csv_text.unprotect(row[name] or "") for name in COLUMNS}
    verdict, z_mm = text["verdict"].strip(), _z_mm(text["z_mm"].strip(), where)
    if verdict not in VERDICTS:
        raise DataError(
            f"{where}: verdict={verdict!r} is none of {', '.join(VERDICTS)}; correct it"
        )
    if verdict == MOVED and z_mm is None:
        raise DataError(
            f"{where}: verdict={MOVED}, but z_mm is empty; give z in mm, or the "
            f"verdict {NOT_IN_VIEW!r}"
        )
    if verdict in (NOT_IN_VIEW, CANNOT_TELL) and z_mm is not None:
        raise DataError(
            f"{where}: verdict={verdict!r}, but z_mm={z_mm:g}; leave z_mm empty, or "
            f"give the verdict {MOVED!r}"
        )
    scan, level = text["scan"], text["level"].strip()
    return Correction(scan, z_mm, level, text["reader"], verdict, text["note"])


def _z_mm(text: str, where: str) -> float | None:
    try:
        number = csv_text.number(text) if text else None
    except ValueError:
        number = math.nan
    if number is not None and not math.isfinite(number):
        raise DataError(f"{where}: z_mm={text!r} is no number, such as -67.2")
    return number


def check(line: Line, row: Mapping[str, str], data: ReviewData) -> None:
    """Checks that a correction fits a result.

    Args:
      line: the correction.
      row: the scan's row of results.csv.
      data: the scan's positions.

    Raises:
      DataError: it does not; names file, line and fix.
    """
    where, correction = line
    if correction.level != row["level"]:
        raise DataError(
            f"{where}: level={correction.level!r}, but the results are of "
            f"{row['level']!r}; take the corrections of these results"
        )
    if correction.verdict == ACCEPTED and not _same(correction.z_mm, row["z_mm"]):
        raise DataError(
            f"{where}: z_mm={correction.z_mm} was accepted, but the answer is "
            f"z_mm={row['z_mm'] or None}; open review.html again and export, or give "
            f"the verdict {MOVED!r}"
        )
    low, high = data.z_mm[0], data.z_mm[-1]
    margin = (high - low) / (len(data.z_mm) - 1) / 2
    z_mm = correction.z_mm
    if z_mm is not None and not low - margin <= z_mm <= high + margin:
        raise DataError(
            f"{where}: z_mm={z_mm:g} is outside of the scan's slices, which span "
            f"{low:.1f} to {high:.1f} mm; correct it"
        )


def _same(z_mm: float | None, cell: str) -> bool:
    if z_mm is None or not cell:
        return z_mm is None and not cell
    return abs(z_mm - csv_text.number(cell)) < SAME_MM
