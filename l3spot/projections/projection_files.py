"""Reads the projections that `l3spot.project` wrote."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from l3spot.labels import csv_labels
from l3spot.projections import names
from mtl.data.readers import load_npz
from mtl.host import csv_text, workdir
from mtl.host.errors import DataError

STATES = (csv_labels.IN_VIEW, csv_labels.NOT_IN_VIEW, csv_labels.UNKNOWN)

ARRAYS = ("frontal", "lateral", "z", "x", "y", "l3_z")  # That an .npz must have.


class Example(NamedTuple):
    """The projections of a scan, and its label.

    id: the scan's name.
    frontal: int16 [R, C], HU; the head is up, the patient's right is on the left.
    z: float64 [R], mm, LPS, decreasing: the z of the rows.
    x: float64 [C], mm, LPS, increasing: the x of the columns of `frontal`.
    l3_z: mm, of the middle of the L3 body; NaN unless L3 is in view.
    label: "in view", "not in view", or "" if the scan has no label.
    lateral: int16 [R, D], HU; the head is up, the front is on the left.
    y: float64 [D], mm, LPS, increasing: the y of the columns of `lateral`.
    """

    id: str
    frontal: np.ndarray
    z: np.ndarray
    x: np.ndarray
    l3_z: float
    label: str
    lateral: np.ndarray
    y: np.ndarray


def load(mips: str | Path) -> list[Example]:
    """Reads the projections that a folder's report lists, sorted by name.

    Other files in the folder belong to scans that were removed.

    Raises:
      DataError: the report lists no projection, or a file is broken.
    """
    root = Path(mips)
    scans = _projected_scans(root / "report.csv")
    if not scans:
        raise DataError(
            f"{root} holds no projections; make them with: python -m l3spot.project "
            f"--scans SCANS --out {root}"
        )
    read_all = (read(root / f"{names.file_stem(scan)}.json") for scan in scans)
    return [e._replace(id=scan) for e, scan in zip(read_all, scans, strict=True)]


def _projected_scans(path: Path) -> list[str]:
    """Returns the projected scans of a report; [] if the report does not exist."""
    try:
        rows = csv_text.open_table(path, errors="surrogateescape")
        projected = [r["scan"] for r in rows if r["status"] == "projected"]
        return sorted(map(csv_text.unprotect, projected))
    except FileNotFoundError:
        return []
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as e:
        raise DataError(
            f"{path} is no report of l3spot.project ({type(e).__name__}); project again"
        ) from e


def read(path: Path) -> Example:
    """Reads a projection from NAME.json and the .npz beside it.

    Raises:
      DataError: the .npz is missing or broken, or does not fit the JSON.
      WorkdirError: the JSON is missing or broken.
    """
    arrays = load_npz(path.with_name(f"{path.stem}.npz"), ARRAYS)
    report = workdir.read_json(path)
    label = report.get("label") if isinstance(report, dict) else None
    l3_z = arrays.pop("l3_z")
    shapes_fit = all(
        arrays[view].shape == (len(arrays["z"]), len(arrays[columns]))
        for view, columns in (("frontal", "x"), ("lateral", "y"))
    )
    if (
        label not in STATES
        or not shapes_fit
        or (label == csv_labels.IN_VIEW) != bool(np.isfinite(l3_z))
    ):
        raise DataError(f"{path} and its .npz do not fit; delete them, project again")
    return Example(path.stem, **arrays, l3_z=float(l3_z), label=label)
