"""What `l3spot.project` left, for training."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from l3spot.labels import csv_labels
from mtl.data.readers import load_npz
from mtl.host import workdir
from mtl.host.errors import DataError

STATES = (csv_labels.IN, csv_labels.OUT, csv_labels.NONE)


class Example(NamedTuple):
    """A scan.

    frontal: int16 [R, C], HU; the head is up, the patient's right on the left.
    z: float64 [R], decreasing, and x: float64 [C], increasing; mm, LPS.
    l3_z: of the middle of the L3 body, mm; NaN unless it is in view.
    label: "in view", "not in view", or "" where nothing is known.
    """

    id: str
    frontal: np.ndarray
    z: np.ndarray
    x: np.ndarray
    l3_z: float
    label: str


def load(mips: str | Path) -> list[Example]:
    """The examples that the report of a folder lists, in the order of their names.

    Others are left of scans that have gone.

    Raises:
      DataError: there are none, or a file is broken.
    """
    root = Path(mips)
    names = _listed(root / "report.csv")
    if not names:
        raise DataError(
            f"{root} holds no projections; make them with: python -m l3spot.project "
            f"--scans SCANS --out {root}"
        )
    return [read(root / f"{name}.json") for name in names]


def _listed(path: Path) -> list[str]:
    """The scans that were projected, as a report has them; none if there is none."""
    try:
        with path.open(errors="surrogateescape", encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            return sorted(r["scan"] for r in rows if r["status"] == "projected")
    except FileNotFoundError:
        return []
    except (OSError, KeyError, csv.Error) as e:
        raise DataError(
            f"{path} is no report of l3spot.project ({e!r}); project again"
        ) from e


def read(path: Path) -> Example:
    """The example of a NAME.json and the .npz beside it.

    Raises:
      DataError: the .npz is missing or broken, or they do not fit.
      WorkdirError: the JSON is missing or broken.
    """
    arrays = load_npz(path.with_name(f"{path.stem}.npz"), ("frontal", "z", "x", "l3_z"))
    report = workdir.read_json(path)
    label = report.get("label") if isinstance(report, dict) else None
    l3 = arrays["l3_z"]
    fits = arrays["frontal"].shape == (len(arrays["z"]), len(arrays["x"]))
    if (
        label not in STATES
        or not fits
        or (label == csv_labels.IN) != bool(np.isfinite(l3))
    ):
        raise DataError(f"{path} and its .npz do not fit; delete them, project again")
    return Example(
        path.stem, arrays["frontal"], arrays["z"], arrays["x"], float(l3), label
    )
