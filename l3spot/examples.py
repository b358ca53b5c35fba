"""What `l3spot.project` left, for training."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from l3spot import labels
from mtl import workdir
from mtl.errors import DataError
from mtl.readers import load_npz

STATES = (labels.IN, labels.OUT, labels.NONE)


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
    """The examples of a folder, in the order of their names.

    Raises:
      DataError: there are none, or a file is broken.
    """
    root = Path(mips)
    paths = [p for p in sorted(root.glob("*.json")) if not p.name.startswith(".")]
    if not paths:
        raise DataError(
            f"{root} holds no projections; make them with: python -m l3spot.project "
            f"--scans SCANS --out {root}"
        )
    return [_example(path) for path in paths]


def _example(path: Path) -> Example:
    arrays = load_npz(path.with_name(f"{path.stem}.npz"), ("frontal", "z", "x", "l3_z"))
    report = workdir.read_json(path)
    label = report.get("label") if isinstance(report, dict) else None
    l3 = arrays["l3_z"]
    fits = arrays["frontal"].shape == (len(arrays["z"]), len(arrays["x"]))
    if label not in STATES or not fits or (label == labels.IN) != bool(np.isfinite(l3)):
        raise DataError(f"{path} and its .npz do not fit; delete them, project again")
    return Example(
        path.stem, arrays["frontal"], arrays["z"], arrays["x"], float(l3), label
    )
