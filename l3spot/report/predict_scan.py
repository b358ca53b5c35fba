"""Finds a vertebra in one scan, and writes its files; every error becomes a row."""

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from absl import logging

from l3spot.ct import left_out, scan, source_file, volumes
from l3spot.ct.content import Scan
from l3spot.ct.volumes import Volume
from l3spot.projections import fingerprint, names
from l3spot.projections.dataset_layouts import Case
from l3spot.report import (
    dicom_sr,
    files,
    locating,
    picture,
    result,
    result_json,
    review_files,
)
from l3spot.report.locating import Models
from l3spot.report.result import L3Result
from l3spot.report.result_json import MadeBy
from l3spot.report.results_file import FAILED, ResultRow, ScanRows
from mtl.host import errors
from mtl.host.errors import DataError, WorkdirError

VERTEBRAE, PAPER = METHODS = ("vertebrae", "paper")
SUFFIXES = (".json", ".png", ".mrk.json", *review_files.SUFFIXES)
COPY_SUFFIXES, DICOM_SUFFIXES = (".dcm",), (".sr.dcm", ".sc.dcm")


class PredictOptions(NamedTuple):
    """What is read, and what is written besides the results.

    Attributes:
      series: a SeriesInstanceUID or file name; "" selects the longest volume.
      copy_slice: copy the DICOM file of the slice, with the patient's header.
      dicom: write a report and the picture with the scan's patient; see `dicom_sr`.
      level: the vertebra, one of `predict.LEVELS`.
      method: one of `METHODS`. The paper's finds L3 alone, in the frontal projection.
      all_series: find the vertebra in each usable series, not in the longest alone.
      mend_hu: correct values with a plain offset; see `hu_values`.
    """

    series: str = ""
    copy_slice: bool = False
    dicom: bool = False
    level: str = "L3"
    method: str = VERTEBRAE
    all_series: bool = False
    mend_hu: bool = False


EVERY_FILE = PredictOptions(copy_slice=True, dicom=True)


class Job(NamedTuple):
    """A scan to work on.

    Attributes:
      case: the scan.
      made_by: what its result is made from, besides the scan's own files.
      old_files: names of files of an earlier run, which are deleted first.
    """

    case: Case
    made_by: MadeBy
    old_files: tuple[str, ...] = ()


def file_names(scan_name: str, options: PredictOptions) -> list[str]:
    """Returns the names of the files that a scan may have."""
    suffixes = [*SUFFIXES]
    suffixes += COPY_SUFFIXES if options.copy_slice else ()
    suffixes += DICOM_SUFFIXES if options.dicom else ()
    return [names.file_stem(scan_name) + suffix for suffix in suffixes]


def predict_scan(
    job: Job,
    out: Path,
    models: Models,
    options: PredictOptions,
    threads: int | None = None,
) -> list[ScanRows]:
    """Finds the vertebra in a scan and writes its files; NAME.json is the last one.

    Args:
      job: the scan.
      out: the folder for the results.
      models: the networks.
      options: what is read and written.
      threads: number of threads that read and project slices; None takes one per
        core.

    Returns:
      One result; with `options.all_series`, one for each series. If a scan has several,
      "~1", "~2" and so on follow its name.

    Raises:
      WorkdirError: NAME.json cannot be written.
    """
    case, start, files = job.case, time.perf_counter(), ""
    for name in job.old_files:
        (out / name).unlink(missing_ok=True)
    try:
        files = fingerprint.of_files(case)  # Before reading: the files may change.
        content = scan.read(case.path, threads, not case.top_only)
        if options.all_series:
            chosen = scan.usable(content, case.path, options.series)
        else:
            chosen = [scan.choose(content, case.path, options.series)]
    except Exception as e:
        results = [_failed(ResultRow(case.name), e, start)]
    else:
        results = _predict_volumes(
            case.name, content, chosen, out, models, options, start, threads
        )
    result_json.write(out, case.name, results, {**job.made_by, "files": files})
    return results


def write_failure(job: Job, out: Path, why: str) -> list[ScanRows]:
    """Writes the result of a scan that could not be worked on, and returns it."""
    row = ResultRow(job.case.name, status=FAILED, why=why)
    results = [ScanRows(row, [])]
    files = ""
    with contextlib.suppress(DataError, OSError):
        files = fingerprint.of_files(job.case)
    result_json.write(out, job.case.name, results, {**job.made_by, "files": files})
    return results


def _predict_volumes(
    name: str,
    content: Scan,
    chosen: Sequence[Volume],
    out: Path,
    models: Models,
    options: PredictOptions,
    start: float,
    threads: int | None,
) -> list[ScanRows]:
    common = out, models, options
    if len(chosen) == 1:
        return [_predict(name, content, chosen[0], *common, start, threads)]
    own_names = [f"{name}~{number}" for number in range(1, len(chosen) + 1)]
    users = [_file_of_user(own_name, out, options) for own_name in own_names]
    result_json.announce(out, name, own_names)
    results = []
    for own_name, volume, file in zip(own_names, chosen, users, strict=True):
        if file:
            e = WorkdirError(f"{out} holds {file}, which no run wrote; move it")
            results.append(_failed(ResultRow(own_name), e, start))
            continue
        results.append(_predict(own_name, content, volume, *common, start, threads))
        start = time.perf_counter()
    return results


def _file_of_user(name: str, out: Path, options: PredictOptions) -> str:
    """Returns the name of a file that would be replaced, "" if there is none.

    Those of earlier runs are deleted by then.
    """
    there = [f for f in file_names(name, options) if os.path.lexists(out / f)]
    return there[0] if there else ""


def _predict(
    name: str,
    content: Scan,
    volume: Volume,
    out: Path,
    models: Models,
    options: PredictOptions,
    start: float,
    threads: int | None,
) -> ScanRows:
    row = ResultRow(name)
    try:
        row = row._replace(
            series=volume.slices[0].series.series_uid,
            slice_mm=round(volumes.slice_spacing_mm(volume), 3),
            low_mm=round(float(volume.z[0]), 3),
            left_out=left_out.describe(content, volume),
            warnings="; ".join(volume.warnings),
        )
        volume, projection = locating.project(volume, options.mend_hu, threads)
        row = row._replace(warnings="; ".join(volume.warnings))
        l3_result = locating.find(models, content, volume, projection, options.level)
        seconds = round(time.perf_counter() - start, 2)
        row = result.add_result(row, l3_result, volume)._replace(seconds=seconds)
        png = picture.draw_png(names.text(name), projection, l3_result)
        refused = _write_dicom(name, out, options, volume, l3_result, png, models)
        warnings = [*volume.warnings, *l3_result.warnings, *refused]
        row = row._replace(warnings="; ".join(warnings))
        review_files.write(
            *(out, names.file_stem(name), projection, l3_result, volume),
            models.l3.about, copy_slice=options.copy_slice, dicom=options.dicom,
        )  # fmt: skip
        files.write(out, names.file_stem(name), projection, l3_result, png)
        return ScanRows(row, files.level_rows(name, l3_result))
    except Exception as e:
        for file_name in file_names(name, options):
            (out / file_name).unlink(missing_ok=True)
        return _failed(row, e, start)


def _failed(row: ResultRow, e: Exception, start: float) -> ScanRows:
    logging.debug("%s failed", row.scan, exc_info=e)
    seconds = round(time.perf_counter() - start, 2)
    kept = ("scan", "series", "slice_mm", "low_mm", "left_out", "warnings")
    row = ResultRow(**{name: getattr(row, name) for name in kept})
    return ScanRows(
        row._replace(status=FAILED, why=errors.reason(e), seconds=seconds), []
    )


def _write_dicom(
    name: str,
    out: Path,
    options: PredictOptions,
    volume: Volume,
    l3_result: L3Result,
    png: bytes,
    models: Models,
) -> list[str]:
    """Writes the DICOM files that the options select; returns warnings."""
    stem = names.file_stem(name)
    try:
        if options.copy_slice and l3_result.status == result.IN_VIEW:
            source_file.copy(volume, l3_result.slice_index, out / f"{stem}.dcm")
        if options.dicom:
            dicom_sr.write(out, stem, volume, l3_result, png, models.l3.about)
    except DataError as e:
        return [str(e)]
    return []
