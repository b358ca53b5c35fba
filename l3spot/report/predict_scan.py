"""Finds a vertebra in one scan, and writes its files; every error becomes a row."""

import time
from pathlib import Path
from typing import NamedTuple

from absl import logging

from l3spot.ct import left_out, scan, source_file, volumes
from l3spot.ct.content import Scan
from l3spot.ct.volumes import Volume
from l3spot.localize.model import Model
from l3spot.projections import hu_values, mip, names
from l3spot.projections.dataset_layouts import Case
from l3spot.projections.mip import Projection
from l3spot.report import dicom_sr, files, picture, result, review_files
from l3spot.report.result import L3Result
from l3spot.report.results_file import LevelRow, ResultRow
from l3spot.vertebrae.model import VertebraModel
from mtl.host import errors, workdir
from mtl.host.errors import DataError

FAILED = "failed"
VERTEBRAE, PAPER = METHODS = ("vertebrae", "paper")
SUFFIXES = (".json", ".png", ".mrk.json", *review_files.SUFFIXES)
COPY_SUFFIXES, DICOM_SUFFIXES = (".dcm",), (".sr.dcm", ".sc.dcm")


class Models(NamedTuple):
    """The networks of a run.

    Attributes:
      l3: finds L3 in the frontal projection.
      vertebrae: finds all vertebrae near it; None with the paper's method.
    """

    l3: Model
    vertebrae: VertebraModel | None


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


class ScanRows(NamedTuple):
    """The row of a result in results.csv, and its rows in levels.csv."""

    row: ResultRow
    levels: list[LevelRow]


def file_names(scan_name: str, options: PredictOptions) -> list[str]:
    """Returns the names of the files that a scan may have."""
    suffixes = [*SUFFIXES]
    suffixes += COPY_SUFFIXES if options.copy_slice else ()
    suffixes += DICOM_SUFFIXES if options.dicom else ()
    return [names.file_stem(scan_name) + suffix for suffix in suffixes]


def predict_scan(
    case: Case, out: Path, models: Models, options: PredictOptions
) -> list[ScanRows]:
    """Finds the vertebra in a scan and writes its files.

    Returns:
      One result; with `options.all_series`, one for each series. If a scan has several,
      "~1", "~2" and so on follow its name.
    """
    start = time.perf_counter()
    _delete_files(case.name, out)
    try:
        content = scan.read(case.path, recursive=not case.top_only)
        if options.all_series:
            chosen = scan.usable(content, case.path, options.series)
        else:
            chosen = [scan.choose(content, case.path, options.series)]
    except Exception as e:
        return [_failed(ResultRow(case.name), e, start)]
    if len(chosen) == 1:
        return [_predict(case.name, content, chosen[0], out, models, options, start)]
    results = []
    for number, volume in enumerate(chosen, 1):
        name = f"{case.name}~{number}"
        _delete_files(name, out)
        results.append(_predict(name, content, volume, out, models, options, start))
        start = time.perf_counter()
    return results


def _predict(
    name: str,
    content: Scan,
    volume: Volume,
    out: Path,
    models: Models,
    options: PredictOptions,
    start: float,
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
        volume, projection = _project(volume, options)
        row = row._replace(warnings="; ".join(volume.warnings))
        l3_result = result.find_l3(
            models.l3, projection, volume, models.vertebrae, options.level
        )
        _check_view(content, volume, l3_result)
        seconds = round(time.perf_counter() - start, 2)
        row = result.add_result(row, l3_result, volume)._replace(seconds=seconds)
        if options.all_series:  # The other names were claimed before the run.
            workdir.claim(out, file_names(name, options))
        png = picture.draw_png(names.text(name), projection, l3_result)
        refused = _write_dicom(name, out, options, volume, l3_result, png, models)
        warnings = [*volume.warnings, *l3_result.warnings, *refused]
        row = row._replace(warnings="; ".join(warnings))
        review_files.write(
            *(out, names.file_stem(name), projection, l3_result, volume),
            models.l3.about, copy_slice=options.copy_slice, dicom=options.dicom,
        )  # fmt: skip
        files.write(out, names.file_stem(name), row, projection, l3_result, png)
        return ScanRows(row, files.level_rows(name, l3_result))
    except Exception as e:
        _delete_files(name, out)
        return _failed(row, e, start)


def _project(volume: Volume, options: PredictOptions) -> tuple[Volume, Projection]:
    """Projects a volume; adds warnings about its values, and corrects their offset."""
    projection = mip.project(volume)
    if options.mend_hu:
        offset = hu_values.plain_offset(projection.hu_sample)
        if offset:
            volume = hu_values.without_offset(volume, offset)
            projection = mip.project(volume)
    warnings = hu_values.check(projection)
    return volume._replace(warnings=(*volume.warnings, *warnings)), projection


def _check_view(content: Scan, volume: Volume, l3_result: L3Result) -> None:
    """Refuses a result that slices which are missing or not used may change.

    Raises:
      DataError: the vertebra is near a gap; or it is not in view, but may be in a gap
        or in slices that are not used.
    """
    in_view = l3_result.status == result.IN_VIEW
    reason = volumes.gap_error(volume, l3_result.z_mm if in_view else None)
    if not (reason or in_view):
        reason = left_out.beyond(content, volume)
    if reason and not in_view:
        reason = f"{l3_result.level} is not seen, but {reason}"
    if reason:
        raise DataError(reason)


def _failed(row: ResultRow, e: Exception, start: float) -> ScanRows:
    logging.debug("%s failed", row.scan, exc_info=e)
    seconds = round(time.perf_counter() - start, 2)
    kept = ("scan", "series", "slice_mm", "low_mm", "left_out", "warnings")
    row = ResultRow(**{name: getattr(row, name) for name in kept})
    return ScanRows(
        row._replace(status=FAILED, why=errors.reason(e), seconds=seconds), []
    )


def _delete_files(name: str, out: Path) -> None:
    """Deletes the files of an earlier run, of any options."""
    every = PredictOptions(copy_slice=True, dicom=True)
    workdir.delete_claimed(out, file_names(name, every))


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
