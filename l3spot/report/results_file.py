"""The rows of results.csv, which `l3spot.predict` writes."""

import csv
import math
from pathlib import Path
from typing import NamedTuple

from mtl.host.errors import DataError


class ResultRow(NamedTuple):
    """The row of a scan: columns are the fields, and None is an empty cell.

    Attributes:
      scan: the scan's name.
      status: "found", "not in view" or "failed".
      level: the vertebra that was searched, usually L3.
      confidence: the probability that the vertebra is the right one.
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
      frontal_z_mm: of L3 from the frontal projection alone.
      other_z_mm: of the second candidate if the vertebra is not sure.
      within_5_mm: the probability that z_mm is within 5 mm of the middle of the right
        vertebra; None with the paper's method.
      levels: the named vertebrae in view, from the head down.
      fallback: the vertebra in view that can replace an L3 out of view.
      series: the SeriesInstanceUID.
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
    levels: str = ""
    fallback: str = ""
    series: str = ""
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
      probability: that there is a body.
    """

    scan: str
    level: str
    z_mm: float
    upper_mm: float
    lower_mm: float
    probability: float


class PredictedPosition(NamedTuple):
    """What `l3spot.evaluate` needs of a row; unknown numbers are NaN.

    Attributes:
      z_mm: of L3; NaN if the result is that L3 is not in view.
      slice_mm: the distance between slices.
      low_mm: z of the lowest slice.
      fold: the fold's name, or "".
      confidence: of the result.
    """

    z_mm: float
    slice_mm: float
    low_mm: float
    fold: str
    confidence: float


def read(path: Path) -> dict[str, PredictedPosition]:
    """Returns the positions by scan, without those of failed scans.

    Raises:
      DataError: the file is no results.csv.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        return {r["scan"]: _position(r) for r in rows if r["status"] != "failed"}
    except (OSError, KeyError, TypeError, ValueError) as e:
        raise DataError(
            f"{path} is no results.csv of l3spot.predict ({e!r}); give that"
        ) from e


def _position(row: dict[str, str]) -> PredictedPosition:
    slice_mm, low_mm = (float(row.get(k) or math.nan) for k in ("slice_mm", "low_mm"))
    if slice_mm <= 0:
        raise ValueError(f"slice_mm={slice_mm:g}")
    z_mm, confidence = (float(row.get(k) or math.nan) for k in ("z_mm", "confidence"))
    return PredictedPosition(z_mm, slice_mm, low_mm, row.get("fold") or "", confidence)


def read_levels(path: Path) -> dict[str, list[LevelRow]]:
    """Returns the rows of a levels.csv by scan; none if there is no such file.

    Raises:
      DataError: the file is no levels.csv.
    """
    if not path.exists():
        return {}
    rows: dict[str, list[LevelRow]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            for r in csv.DictReader(stream):
                scan, level, *numbers = (r[k] for k in LevelRow._fields)
                row = LevelRow(scan, level, *map(float, numbers))
                rows.setdefault(scan, []).append(row)
    except (OSError, KeyError, TypeError, ValueError) as e:
        raise DataError(
            f"{path} is no levels.csv of l3spot.predict ({e!r}); remove it"
        ) from e
    return rows
