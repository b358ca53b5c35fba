"""Reads results.csv, which `l3spot.predict` writes."""

import csv
import math
from pathlib import Path
from typing import NamedTuple

from mtl.host.errors import DataError


class ResultRow(NamedTuple):
    """The result of a scan; unknown numbers are NaN.

    Attributes:
      z_mm: of L3; NaN if the result is that L3 is not in view.
      slice_mm: the distance between slices.
      low_mm: z of the lowest slice.
      fold: the fold's name, or "".
    """

    z_mm: float
    slice_mm: float
    low_mm: float
    fold: str


def read(path: Path) -> dict[str, ResultRow]:
    """Returns the rows by scan, without those of failed scans.

    Raises:
      DataError: the file is no results.csv.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        return {r["scan"]: _result(r) for r in rows if r["status"] != "failed"}
    except (OSError, KeyError, TypeError, ValueError) as e:
        raise DataError(
            f"{path} is no results.csv of l3spot.predict ({e!r}); give that"
        ) from e


def _result(row: dict[str, str]) -> ResultRow:
    slice_mm, low_mm = (float(row.get(k) or math.nan) for k in ("slice_mm", "low_mm"))
    if slice_mm <= 0:
        raise ValueError(f"slice_mm={slice_mm:g}")
    z_mm = float(row["z_mm"] or math.nan)
    return ResultRow(z_mm, slice_mm, low_mm, row.get("fold") or "")
