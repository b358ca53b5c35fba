"""One scan to its files: NAME.npz with the projections, NAME.json with its report.

z and l3_z are DICOM's, mm, up to the head; l3_z is that of the middle of the L3 body.
"""

import hashlib
import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from l3spot.ct import scan, volumes
from l3spot.ct.slices import Plane
from l3spot.ct.volumes import Volume
from l3spot.labels import csv_labels
from l3spot.labels.csv_labels import Label
from l3spot.projections import kanavati, listing, mip, reader
from l3spot.projections.dataset_layouts import Case
from l3spot.projections.mip import Projection
from mtl.host import workdir
from mtl.host.errors import DataError, WorkdirError

COLUMNS = (
    *("scan", "status", "why", "label", "l3_mm", "l3_row", "label_source", "series"),
    *("planes", "step_mm", "low_mm", "high_mm", "row_mm", "column_mm"),
    *("unread_files", "warnings", "seconds"),
)
OTHER = "left out"  # The status of volumes of a scan that are not the one projected.


class How(NamedTuple):
    """How scans are projected.

    series: a SeriesInstanceUID or file name; "" takes the longest volume.
    row, column: mm between rows and between columns.
    low, high: HU; what is outside is clipped, where they are given.
    """

    series: str = ""
    row: float = 1.0
    column: float = 1.0
    low: float | None = None
    high: float | None = None

    def check(self) -> None:
        """Raises DataError if the numbers make no sense."""
        if not (0 < self.row < math.inf and 0 < self.column < math.inf):
            raise DataError(
                f"row={self.row:g} and column={self.column:g} must be above 0 mm"
            )
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        if not low < high:
            raise DataError(f"--low={low:g} must be below --high={high:g} HU")


class Job(NamedTuple):
    """A scan to be projected; threads: those that decode its planes."""

    case: Case
    out: Path
    how: How
    threads: int | None = None


def run(job: Job) -> list[dict[str, Any]]:
    """Projects a scan.

    Returns:
      Its row of the report, with the reason if rejected, and one for each other volume.
    """
    case, out, how, threads = job
    start = time.perf_counter()
    report, others = blank(case), []
    try:
        files = fingerprint(case)  # Before the files are read: they may change.
        found = scan.read(case.path, threads)
        report["unread_files"] = len(found.unread)
        others = _others(case, found, None, how.series)  # If none is chosen.
        volume = scan.choose(found, case.path, how.series)
        others = _others(case, found, volume, how.series)
        report |= _measures(volume.planes, volume)
        label = case.label.find(volume) if case.label else Label(csv_labels.NONE)
        p = mip.project(volume, row=how.row, column=how.column, workers=threads)
        _check(p, how)
    except DataError as e:
        return [rejected(case, out, str(e), report), *others]
    except OSError as e:
        why = f"{case.path} cannot be read ({e})"
        return [rejected(case, out, why, report), *others]
    report["warnings"] = "; ".join([*volume.warnings, *label.warnings])
    report["seconds"] = round(time.perf_counter() - start, 3)
    more = {"files": files, "others": others}
    origin = _origin(volume, case.path)
    return [_write(report, job, p, label, origin, more), *others]


def _others(
    case: Case, found: scan.Scan, chosen: Volume | None, series: str
) -> list[dict[str, Any]]:
    """The rows of volumes that are not the chosen one, and of planes that make none.

    Where there is but one and it cannot be used, the scan's own row says so.
    """
    rows = []
    for v in found.volumes:
        if chosen is None or v.planes is not chosen.planes:
            why = listing.why_not(v, chosen, series)
            rows.append(_measures(v.planes, v) | {"why": why})
    rows += [_measures(r.planes) | {"why": r.why} for r in found.rejected]
    if chosen is None and len(rows) == 1:
        return []
    return [blank(Case(case.name, case.path)) | row | {"status": OTHER} for row in rows]


def _measures(planes: Sequence[Plane], volume: Volume | None = None) -> dict[str, Any]:
    told: dict[str, Any] = {"series": planes[0].series[-1], "planes": len(planes)}
    if volume is not None:
        told |= {
            "step_mm": round(volumes.step(volume), 3),
            "low_mm": round(float(volume.z[0]), 3),
            "high_mm": round(float(volume.z[-1]), 3),
            "warnings": "; ".join(volume.warnings),
        }
    return told


def keep(found: kanavati.Found, out: Path, how: How) -> dict[str, Any]:
    """Writes what is a projection already; returns its row of the report."""
    count = len(found.planes)
    report = blank(Case(found.name, Path())) | {
        "label_source": "mean of the readers' rows",
        "planes": count,
        "step_mm": round(float(found.planes[1] - found.planes[0]), 3),
        "low_mm": round(float(found.planes[0]), 3),
        "high_mm": round(float(found.planes[-1]), 3),
    }
    origin = {
        "plane_z": found.planes,
        "plane_sop": np.full(count, ""),
        "plane_file": np.full(count, ""),
    }
    try:
        _check(found.projection, how)
    except DataError as e:
        return rejected(Case(found.name, Path()), out, str(e), report)
    job = Job(Case(found.name, Path()), out, how)
    return _write(report, job, found.projection, found.label, origin, {"files": ""})


def _check(p: Projection, how: How) -> None:
    """Raises DataError if a view is but a line."""
    rows, columns = len(p.z), min(len(p.x), len(p.y))
    if min(rows, columns) < 2:
        raise DataError(
            f"a projection with --row={how.row:g} and --column={how.column:g} mm has "
            f"{rows} rows and {columns} columns; take smaller ones"
        )


def blank(case: Case) -> dict[str, Any]:
    """The row of a scan of which nothing is known."""
    source = str(case.label) if case.label else ""
    return dict.fromkeys(COLUMNS, "") | {"scan": case.name, "label_source": source}


def rejected(case: Case, out: Path, why: str, report: dict[str, Any]) -> dict[str, Any]:
    """The row of a scan that cannot be projected; what an earlier run left goes."""
    for name in (f"{case.name}.json", f"{case.name}.npz"):
        (out / name).unlink(missing_ok=True)
    return report | {"status": "rejected", "why": " ".join(why.split())}


def kept(case: Case, out: Path) -> list[dict[str, Any]] | None:
    """The rows of a scan that is there, whole, of the files and label it has now."""
    path = out / f"{case.name}.json"
    if not path.exists():
        return None
    try:
        reader.read(path)
        report = workdir.read_json(path)
        same = report.pop("files", "") == fingerprint(case)
        others = report.pop("others", [])
    except (DataError, WorkdirError, OSError):
        return None  # It is projected again, or says why not.
    source = str(case.label) if case.label else ""
    same = same and report.keys() == set(COLUMNS) and report["label_source"] == source
    return [report, *others] if same else None


def fingerprint(case: Case) -> str:
    """Of the files of a scan and its label: names, sizes and times, not what they hold.

    Raises:
      OSError: a folder cannot be read.
    """
    label = case.label.path if case.label else None
    stamps = []
    for root in filter(None, (case.path, label)):
        for path in _below(root):
            stat = path.stat()
            name = str(path.relative_to(root))
            stamps.append((root == label, name, stat.st_size, stat.st_mtime_ns))
    return hashlib.sha256(repr(sorted(stamps)).encode()).hexdigest()


def _below(root: Path) -> Iterator[Path]:
    """The files that `planes.files` finds; a folder that is closed raises OSError."""
    if not root.is_dir():
        yield root
        return

    def fail(error: OSError) -> None:
        raise error

    for folder, _, names in os.walk(root, onerror=fail):
        paths = (Path(folder, name) for name in names if not name.startswith("."))
        yield from (path for path in paths if path.is_file())


def _write(
    report: dict[str, Any],
    job: Job,
    p: Projection,
    label: Label,
    origin: dict[str, np.ndarray],
    more: dict[str, Any],
) -> dict[str, Any]:
    """The arrays, then the report, and more with it: where that is, all is."""
    case, out, how, _ = job
    low = max(-32768, -math.inf if how.low is None else how.low)
    high = min(32767, math.inf if how.high is None else how.high)
    views = {
        name: np.rint(getattr(p, name)).clip(low, high).astype(np.int16)
        for name in ("frontal", "lateral")
    }
    rest = {name: getattr(p, name) for name in ("z", "x", "y", "nearest")}
    workdir.write_npz(
        out / f"{case.name}.npz", **views, **rest, **origin, l3_z=np.float64(label.z)
    )
    report |= {
        "status": "projected",
        "label": label.state,
        "row_mm": how.row,
        "column_mm": how.column,
    }
    if label.state == csv_labels.IN:
        report["l3_mm"] = round(label.z, 3)
        report["l3_row"] = int(np.abs(p.z - label.z).argmin())
    workdir.write_json(out / f"{case.name}.json", report | more)
    return report


def _origin(volume: Volume, path: Path) -> dict[str, np.ndarray]:
    """Of each plane z, UID and file."""
    files = [str(p.file).removeprefix(str(path))[1:] for p in volume.planes]
    if path.is_file() and not volume.planes[0].file.member:
        files = [path.name] * len(files)
    return {
        "plane_z": volume.z,
        "plane_sop": np.array([p.sop for p in volume.planes]),
        "plane_file": np.array(files),
    }
