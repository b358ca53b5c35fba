"""The rows of results.csv, which `l3spot.predict` writes."""

import csv
import math
from pathlib import Path
from typing import NamedTuple

from mtl.host import csv_text
from mtl.host.errors import DataError

TABLE, LEVEL_TABLE = "results.csv", "levels.csv"
FAILED = "failed"  # The status of a scan without an answer.


class ResultRow(NamedTuple):
    """The row of a scan: columns are the fields, and None is an empty cell.

    Attributes:
      scan: the scan's name.
      status: "found", "not in view" or "failed".
      level: the vertebra that was searched, usually L3.
      confidence: if found, the probability that the vertebra is the right one; if the
        position is the frontal one, that of an error below 10 mm. If not in view, the
        probability that the vertebra is in view after all, so low is sure.
      numbering: what the name rests on, see `vertebrae.levels`; "" with the paper's
        method, or if no vertebrae are seen.
      z_mm: of the middle of the vertebra's body, LPS.
      row: this middle below the top of the projection, mm.
      slice_index: the slice nearest to it, counted from the feet, from 0.
      slice_z_mm: z of this slice.
      slice_mm: the usual distance between slices.
      low_mm: z of the lowest slice.
      file: the file of the slice nearest to it.
      sop_instance_uid: the UID of this slice.
      frontal_z_mm: of L3 from the frontal projection alone; from the lateral one with a
        model of that one.
      other_z_mm: of the second candidate if the vertebra is not sure.
      within_5_mm: the probability that z_mm is within 5 mm of the middle of the right
        vertebra; None with the paper's method, or if it is not in view.
      trust: the probability that the answer is right: `within_5_mm`, or `confidence`
        where there is none, or 1 - `confidence` if not in view. None if failed.
      levels: the named vertebrae in view, from the head down.
      fallback: the vertebra in view that can replace an L3 out of view.
      series: the SeriesInstanceUID.
      left_out: all series, slices and files of the scan that were not used.
      warnings: messages for the user, separated by semicolons.
      why: the reason of a failure.
      seconds: how long the scan took.
    """

    scan: str
    status: str = ""
    level: str = ""
    confidence: float | None = None
    numbering: str = ""
    z_mm: float | None = None
    row: float | None = None
    slice_index: int | None = None
    slice_z_mm: float | None = None
    slice_mm: float | None = None
    low_mm: float | None = None
    file: str = ""
    sop_instance_uid: str = ""
    frontal_z_mm: float | None = None
    other_z_mm: float | None = None
    within_5_mm: float | None = None
    trust: float | None = None
    levels: str = ""
    fallback: str = ""
    series: str = ""
    left_out: str = ""
    warnings: str = ""
    why: str = ""
    seconds: float | None = None


class LevelRow(NamedTuple):
    """A row of levels.csv: a vertebra of a scan.

    Attributes:
      scan: the scan's name.
      level: the vertebra's name.
      z_mm: of the middle of its body, LPS.
      upper_mm: z of the middle of its upper end plate.
      lower_mm: z of the middle of its lower end plate.
      probability: that there is a body, not that its name is right.
    """

    scan: str
    level: str
    z_mm: float
    upper_mm: float
    lower_mm: float
    probability: float


class ScanRows(NamedTuple):
    """The row of a result in results.csv, and its rows in levels.csv."""

    row: ResultRow
    levels: list[LevelRow]


class PredictedPosition(NamedTuple):
    """What `l3spot.evaluate` needs of a row; unknown numbers are NaN.

    Attributes:
      z_mm: of L3; NaN if the result is that L3 is not in view.
      slice_mm: the distance between slices.
      low_mm: z of the lowest slice.
      fold: the fold's name, or "".
      confidence: of the result.
      level: the vertebra; "" if the file does not name it.
    """

    z_mm: float
    slice_mm: float
    low_mm: float
    fold: str
    confidence: float
    level: str = ""


def read(path: Path) -> dict[str, PredictedPosition]:
    """Returns the positions by scan, without those of failed scans.

    Raises:
      DataError: the file is no results.csv.
    """
    try:
        table = csv_text.open_table(path, errors="surrogateescape")
        missing = {"scan", "status", "z_mm"} - set(table.fieldnames or [])
        if missing:
            raise DataError(
                f"{path} is no results.csv of l3spot.predict: it has no column "
                f"{', '.join(sorted(missing))}; give that file"
            )
        rows = list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        why = e.strerror if isinstance(e, OSError) else type(e).__name__
        raise DataError(
            f"{path} cannot be read as a results.csv of l3spot.predict ({why})"
        ) from e
    return {
        csv_text.unprotect(row["scan"]): _position(row, f"{path}, row {i}")
        for i, row in enumerate(rows, 2)
        if row["status"] != FAILED
    }


def _position(row: dict[str, str], where: str) -> PredictedPosition:
    def value(column: str) -> float:
        text = row.get(column) or ""
        try:
            return csv_text.number(text) if text else math.nan
        except ValueError as e:
            raise DataError(f"{where}: {column}={text!r} is no number") from e

    slice_mm = value("slice_mm")
    if slice_mm <= 0:
        raise DataError(f"{where}: slice_mm={slice_mm:g} is not above 0")
    fold, low_mm = row.get("fold") or "", value("low_mm")
    return PredictedPosition(
        value("z_mm"),
        slice_mm,
        low_mm,
        fold,
        value("confidence"),
        row.get("level") or "",
    )


def read_levels(path: Path) -> dict[str, list[LevelRow]]:
    """Returns the rows of a levels.csv by scan; none if there is no such file.

    Raises:
      DataError: the file is no levels.csv.
    """
    if not path.exists():
        return {}
    rows: dict[str, list[LevelRow]] = {}
    try:
        for r in csv_text.open_table(path, errors="surrogateescape"):
            scan, level, *numbers = (r[k] for k in LevelRow._fields)
            scan = csv_text.unprotect(scan)
            row = LevelRow(scan, level, *map(csv_text.number, numbers))
            rows.setdefault(scan, []).append(row)
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as e:
        raise DataError(
            f"{path} is no levels.csv of l3spot.predict ({e!r}); remove it"
        ) from e
    return rows
