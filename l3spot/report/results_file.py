"""What `l3spot.predict` found, read back from its results.csv."""

import csv
import math
from pathlib import Path
from typing import NamedTuple

from mtl.host.errors import DataError


class Result(NamedTuple):
    """Of a scan; NaN is what is not known.

    z: mm; NaN if L3 was said not to be in view. step: mm between slices. low: z of the
    lowest slice, mm. fold: "" if there is none.
    """

    z: float
    step: float
    low: float
    fold: str


def read(path: Path) -> dict[str, Result]:
    """The rows by scan; failed scans are left out.

    Raises:
      DataError: it is no results.csv.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        return {r["scan"]: _result(r) for r in rows if r["status"] != "failed"}
    except (OSError, KeyError, TypeError, ValueError) as e:
        raise DataError(
            f"{path} is no results.csv of l3spot.predict ({e!r}); give that"
        ) from e


def _result(row: dict[str, str]) -> Result:
    step, low = (float(row.get(name) or math.nan) for name in ("slice_mm", "low_mm"))
    if step <= 0:
        raise ValueError(f"slice_mm={step:g}")
    return Result(float(row["z_mm"] or math.nan), step, low, row.get("fold") or "")
