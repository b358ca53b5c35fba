"""Projects a folder of CT scans: each sub-folder and each zip file is a scan.

python -m l3spot.project --scans SCANS --out MIPS

Leaves NAME.npz and NAME.json for each scan, report.csv with a row for each, projected
or rejected and why, and montage.png. A scan that is there already is not read again, so
a killed run goes on where it stopped. Of the headers only UIDs are kept.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from tqdm import tqdm

from l3spot import dicom, montage, projection, scan, volumes
from l3spot.planes import File
from l3spot.volumes import Volume
from mtl import launch, workdir
from mtl.errors import DataError, WorkdirError

COLUMNS = (
    *("scan", "status", "why", "series", "planes", "step_mm", "low_mm", "high_mm"),
    *("other_volumes", "rejected", "unread_files", "warnings", "seconds"),
)


def find(root: Path) -> dict[str, Path]:
    """The scans of a folder, by name; the folder itself if it holds DICOM files.

    Raises:
      DataError: there is no such folder, or nothing in it.
    """
    if not root.is_dir():
        raise DataError(f"--scans={str(root)!r} is no folder; it should hold CT scans")
    inside = [p for p in sorted(root.iterdir()) if not p.name.startswith(".")]
    if any(p.is_file() and dicom.is_dicom(File(p)) for p in inside):
        return {root.resolve().name: root}
    zips = [p for p in inside if p.is_file() and p.suffix.lower() == ".zip"]
    found = {p.name: p for p in inside if p.is_dir() or p in zips}
    if not found:
        raise DataError(f"{root} holds no folder, zip file or DICOM file")
    return found


def project(
    scans: str | Path,
    out: str | Path,
    series: str = "",
    row: float = 1.0,
    column: float = 1.0,
) -> list[dict[str, Any]]:
    """Projects all the scans of a folder.

    Args:
      scans: the folder; see `find`.
      out: gets what the module's docstring says.
      series: a SeriesInstanceUID, if not the longest volume is wanted.
      row: mm between rows.
      column: mm between columns.

    Returns:
      The rows of report.csv.

    Raises:
      DataError: there is nothing to project.
      WorkdirError: `out` holds projections made in another way, or cannot be written.
    """
    scans, out = Path(scans), Path(out)
    todo = find(scans)
    how: dict[str, Any] = {"series": series, "row": row, "column": column}
    if not (row > 0 and column > 0):
        raise DataError(f"row={row:g} and column={column:g} must be above 0 mm")
    _prepare(out, scans, how)
    report = []
    for name, path in tqdm(todo.items(), unit="scan", disable=None):
        report.append(_one(name, path, out, **how))
        rows = [[r[k] for k in COLUMNS] for r in report]
        workdir.write_csv(out / "report.csv", COLUMNS, rows)
    done = [r["scan"] for r in report if r["status"] == "projected"]
    if done:
        with_names = {name: out / f"{name}.npz" for name in done}
        workdir.write_bytes(out / "montage.png", montage.draw(with_names))
    return report


def _one(
    name: str, path: Path, out: Path, series: str, row: float, column: float
) -> dict[str, Any]:
    """The row of a scan, which is projected if it is not there."""
    kept = out / f"{name}.json"
    if kept.exists():
        return workdir.read_json(kept)
    start = time.perf_counter()
    report: dict[str, Any] = dict.fromkeys(COLUMNS, "") | {"scan": name}
    try:
        found = scan.read(path)
        report["other_volumes"] = max(len(found.volumes) - 1, 0)
        report["rejected"] = "; ".join(r.why for r in found.rejected)
        report["unread_files"] = len(found.unread)
        volume = scan.choose(found, path, series)
        p = projection.project(volume, row=row, column=column)
    except DataError as e:
        return report | {"status": "rejected", "why": " ".join(str(e).split())}
    workdir.write_npz(out / f"{name}.npz", **_arrays(p, volume, path))
    report |= {
        "status": "projected",
        "series": volume.planes[0].series[-1],
        "planes": len(volume.planes),
        "step_mm": round(volumes.step(volume), 3),
        "low_mm": round(float(volume.z[0]), 3),
        "high_mm": round(float(volume.z[-1]), 3),
        "warnings": "; ".join(volume.warnings),
        "seconds": round(time.perf_counter() - start, 3),
    }
    workdir.write_json(kept, report)
    return report


def _arrays(
    p: projection.Projection, volume: Volume, path: Path
) -> dict[str, np.ndarray]:
    """What a file holds: `Projection` in whole HU; of each plane z, UID and file."""
    files = [str(plane.file).removeprefix(str(path))[1:] for plane in volume.planes]
    hu = {k: np.rint(getattr(p, k)).clip(-32768, 32767) for k in ("frontal", "lateral")}
    rest = {k: getattr(p, k) for k in ("z", "x", "y", "nearest")}
    return {k: v.astype(np.int16) for k, v in hu.items()} | rest | {
        "plane_z": volume.z,
        "plane_sop": np.array([plane.sop for plane in volume.planes]),
        "plane_file": np.array(files),
    }  # fmt: skip


def _prepare(out: Path, scans: Path, how: dict[str, Any]) -> None:
    """Makes the folder; what is there must have been made in the same way."""
    workdir.check_apart(out, scans, "scans")
    workdir.make(out, f"--out={out}")
    path = out / ".how.json"
    if path.exists() and workdir.read_json(path) != how:
        was = workdir.read_json(path)
        raise WorkdirError(f"{out} was made with {was}, not {how}; take another --out")
    workdir.write_json(path, how)


def launcher(arguments: Sequence[str]) -> str:
    """Projects as the flags say; returns what was left where, in words.

    Raises:
      DataError: some scans were rejected; the others are done.
    """
    launch.no_more(arguments)
    args = flags.FLAGS
    report = project(args.scans, args.out, args.series, args.row, args.column)
    wrong = sum(r["status"] == "rejected" for r in report)
    table = Path(args.out) / "report.csv"
    if wrong:
        told = f"{wrong} of {len(report)} scans were rejected; {table} says why"
        rest = f". The others are in {args.out}" if wrong < len(report) else ""
        raise DataError(told + rest)
    return f"{len(report)} scans in {args.out}; all of them in {table}"


if __name__ == "__main__":
    flags.DEFINE_string("scans", None, "A folder of scans: folders or zip files.")
    flags.DEFINE_string("out", None, "The folder that gets projections and report.")
    flags.DEFINE_string(
        "series", "", "A SeriesInstanceUID; the longest volume if empty."
    )
    flags.DEFINE_float("row", 1.0, "mm between the rows of a projection.")
    flags.DEFINE_float("column", 1.0, "mm between its columns.")
    launch.launch(launcher, "scans", "out")
