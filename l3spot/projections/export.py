"""Writes a scan's projections to NAME.npz and its report to NAME.json.

z and l3_z are DICOM's, in mm, increasing to the head; l3_z is that of the middle of the
L3 body.
"""

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from l3spot.ct import scan, volumes
from l3spot.ct.volumes import Volume
from l3spot.labels import csv_labels
from l3spot.labels.csv_labels import Label
from l3spot.projections import (
    fingerprint,
    hu_values,
    kanavati,
    mip,
    names,
    projection_files,
    report_row,
    volume_table,
)
from l3spot.projections.dataset_layouts import Case
from l3spot.projections.mip import Projection
from l3spot.projections.report_row import ReportRow
from mtl.host import claims, errors, workdir
from mtl.host.errors import DataError, WorkdirError


class ProjectionOptions(NamedTuple):
    """The options of projections.

    series: a SeriesInstanceUID or file name; "" takes the longest volume.
    row, column: mm, the distance between rows and between columns.
    low, high: HU are clipped to this range; None means no limit.
    """

    series: str = ""
    row: float = 1.0
    column: float = 1.0
    low: float | None = None
    high: float | None = None

    def check(self) -> None:
        """Raises DataError if a number is invalid."""
        if not (0 < self.row < math.inf and 0 < self.column < math.inf):
            raise DataError(
                f"row={self.row:g} and column={self.column:g} must be above 0 mm"
            )
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        if not low < high:
            raise DataError(f"--low={low:g} must be below --high={high:g} HU")


class Job(NamedTuple):
    """A scan to project.

    case: the scan. out: the output folder. options: the options of its projection.
    threads: number of threads that decode slices; None takes one per core.
    """

    case: Case
    out: Path
    options: ProjectionOptions
    threads: int | None = None


def project_scan(job: Job) -> list[ReportRow]:
    """Projects a scan and writes its files.

    Returns:
      The report's row of the scan, with the reason if it is rejected, and a row for
      each of its other volumes.
    """
    case, out, options, threads = job
    start = time.perf_counter()
    report, others = report_row.blank_row(case), []
    try:
        files = fingerprint.of_files(
            case
        )  # Before reading, because the files may change.
        content = scan.read(case.path, threads, not case.top_only)
        report = report._replace(unread_files=len(content.unread))
        # If `choose` raises, the report lists all volumes.
        others = _left_out_rows(case, content, None, options.series)
        volume = scan.choose(content, case.path, options.series)
        others = _left_out_rows(case, content, volume, options.series)
        report = report_row.with_volume(report, volume.slices, volume)
        label = case.label.find(volume) if case.label else Label(csv_labels.UNKNOWN)
        p = mip.project(
            volume, row_mm=options.row, column_mm=options.column, workers=threads
        )
        _check_size(p, options)
        reason = volumes.gap_error(volume, None if math.isnan(label.z) else label.z)
        if reason:
            raise DataError(reason)
        warnings = hu_values.check(p)
    except OSError as e:
        reason = f"{case.path} cannot be read ({e})"
        return [reject(case, out, reason, report), *others]
    except Exception as e:
        return [reject(case, out, errors.reason(e), report), *others]
    report = report._replace(
        warnings="; ".join([*volume.warnings, *label.warnings, *warnings]),
        seconds=round(time.perf_counter() - start, 3),
    )
    json_only = {"files": files, "others": [workdir.cells(row) for row in others]}
    source_slices = _source_slices(volume, case.path)
    return [_write(report, job, p, label, source_slices, json_only), *others]


def _left_out_rows(
    case: Case, content: scan.Scan, chosen: Volume | None, series: str
) -> list[ReportRow]:
    """Returns rows for the volumes that are not chosen, and for rejected slices.

    If the scan has only one and it is not usable, the scan's own row gives the reason.
    """
    rows = []
    blank = ReportRow(case.name, report_row.LEFT_OUT)
    for v in content.volumes:
        if chosen is None or v.slices is not chosen.slices:
            reason = volume_table.why_not_chosen(v, chosen, series)
            rows.append(report_row.with_volume(blank, v.slices, v)._replace(why=reason))
    for r in content.rejected:
        rows.append(report_row.with_volume(blank, r.slices)._replace(why=r.reason))
    return [] if chosen is None and len(rows) == 1 else rows


def export_kanavati(
    case: kanavati.KanavatiScan, out: Path, options: ProjectionOptions
) -> ReportRow:
    """Writes a scan of Kanavati's file; returns its row of the report."""
    count = len(case.slice_z)
    name_only = Case(case.name, Path())
    report = ReportRow(
        case.name,
        label_source="mean of the readers' rows",
        planes=count,
        step_mm=round(float(case.slice_z[1] - case.slice_z[0]), 3),
        low_mm=round(float(case.slice_z[0]), 3),
        high_mm=round(float(case.slice_z[-1]), 3),
    )
    source_slices = {
        "plane_z": case.slice_z,
        "plane_sop": np.full(count, ""),
        "plane_file": np.full(count, ""),
    }
    try:
        _check_size(case.projection, options)
    except DataError as e:
        return reject(name_only, out, str(e), report)
    job = Job(name_only, out, options)
    json_only = {"files": ""}
    return _write(report, job, case.projection, case.label, source_slices, json_only)


def _check_size(p: Projection, options: ProjectionOptions) -> None:
    """Raises DataError if a projection has only one row or column."""
    rows, columns = len(p.z), min(len(p.x), len(p.y))
    if min(rows, columns) < 2:
        raise DataError(
            f"a projection with --row={options.row:g} and "
            f"--column={options.column:g} mm has {rows} rows and {columns} columns; "
            "take smaller ones"
        )


def reject(case: Case, out: Path, reason: str, report: ReportRow) -> ReportRow:
    """Returns the row of a rejected scan, and deletes the files of an earlier run."""
    claims.delete_claimed(out, file_names(case.name))
    return report._replace(status=report_row.REJECTED, why=" ".join(reason.split()))


def file_names(scan_name: str) -> list[str]:
    """Returns the names of the files of a scan."""
    stem = names.file_stem(scan_name)
    return [f"{stem}.json", f"{stem}.npz"]


def load_rows(case: Case, out: Path) -> list[ReportRow] | None:
    """Returns the rows of an earlier run; None if the scan must be projected again.

    The rows are valid if the written files are whole, and the scan's files and label
    did not change.
    """
    path = out / f"{names.file_stem(case.name)}.json"
    if not path.exists():
        return None
    try:
        projection_files.read(path)
        stored = workdir.read_json(path)
        same = stored.pop("files", "") == fingerprint.of_files(case)
        others = [report_row.from_json(row) for row in stored.pop("others", [])]
        report = report_row.from_json(stored)
    except (DataError, WorkdirError, OSError, ValueError):
        return None  # Projecting the scan again raises the error.
    same = same and report.label_source == report_row.blank_row(case).label_source
    return [report, *others] if same else None


def _write(
    report: ReportRow,
    job: Job,
    p: Projection,
    label: Label,
    source_slices: dict[str, np.ndarray],
    json_only: Mapping[str, object],
) -> ReportRow:
    """Writes the .npz, then the JSON, so that a JSON implies a whole .npz.

    Returns the row of the report; the JSON also holds `json_only`.
    """
    case, out, options, _ = job
    low = max(-32768, -math.inf if options.low is None else options.low)
    high = min(32767, math.inf if options.high is None else options.high)
    views = {
        name: np.rint(getattr(p, name)).clip(low, high).astype(np.int16)
        for name in ("frontal", "lateral")
    }
    axes = {name: getattr(p, name) for name in ("z", "x", "y", "nearest")}
    l3_z = np.float64(label.z)
    arrays = {**views, **axes, **source_slices, "l3_z": l3_z}
    stem = names.file_stem(case.name)
    workdir.write_npz(out / f"{stem}.npz", **arrays)
    report = report._replace(
        status=report_row.PROJECTED,
        label=label.state,
        row_mm=options.row,
        column_mm=options.column,
    )
    if label.state == csv_labels.IN_VIEW:
        l3_row = int(np.abs(p.z - label.z).argmin())
        report = report._replace(l3_mm=round(label.z, 3), l3_row=l3_row)
    workdir.write_json(out / f"{stem}.json", {**workdir.cells(report), **json_only})
    return report


def _source_slices(volume: Volume, path: Path) -> dict[str, np.ndarray]:
    """Returns arrays with the z, SOPInstanceUID and file of each slice."""
    files = [str(s.file).removeprefix(str(path))[1:] for s in volume.slices]
    if path.is_file() and not volume.slices[0].file.zip_member:
        files = [path.name] * len(files)
    return {
        "plane_z": volume.z,
        "plane_sop": np.array([s.sop_instance_uid for s in volume.slices]),
        "plane_file": np.array(files),
    }
