"""Finds a vertebra in a scan: `locate` is what Python programs call."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Real

from l3spot.ct import array_volume, left_out, scan, volumes
from l3spot.ct.content import Scan
from l3spot.ct.volumes import Volume
from l3spot.localize import model
from l3spot.localize.model import Model
from l3spot.projections import hu_values, mip
from l3spot.projections.mip import Projection
from l3spot.report import files, result
from l3spot.report.result import L3Result
from l3spot.report.results_file import LevelRow
from l3spot.vertebrae import model as vertebra_model
from l3spot.vertebrae.model import VertebraModel
from mtl.host.errors import DataError


class Models(NamedTuple):
    """The networks of a run.

    Attributes:
      l3: finds L3 in one projection.
      vertebrae: finds all vertebrae near it; None with the paper's method.
    """

    l3: Model
    vertebrae: VertebraModel | None


class Location(NamedTuple):
    """Where a vertebra is.

    Attributes:
      found: whether it is in view; else z_mm and slice_index are None.
      level: its name.
      z_mm: of the middle of its body; LPS, or for an array from its first slice on.
      slice_index: the nearest slice: counted from the feet, or the index in an array.
      file: of this slice; "" for an array.
      confidence: if found, the probability that the vertebra is the right one; if the
        position is the frontal one, that of an error below 10 mm. If not in view, the
        probability that the vertebra is in view after all, so low is sure.
      within_5_mm: the probability that z_mm is within 5 mm of its middle; None if it
        is not in view.
      trust: the probability that the answer is right, see `results_file.ResultRow`.
      levels: all vertebrae in view, from the head down.
      warnings: messages for the user.
    """

    found: bool
    level: str
    z_mm: float | None
    slice_index: int | None
    file: str
    confidence: float
    within_5_mm: float | None
    trust: float
    levels: list[LevelRow]
    warnings: tuple[str, ...]


def locate(
    scan_or_array: str | Path | Real[np.ndarray, "Z Y X"],
    spacing_mm: Sequence[float] | None = None,
    orientation: str = "SPL",
    level: str = "L3",
    series: str = "",
    mend_hu: bool = False,
) -> Location:
    """Finds a vertebra in a scan, without writing files.

        from l3spot import locate
        location = locate("folder_of_dicom_files")

    Args:
      scan_or_array: a folder, zip file, DICOM or NIfTI file; or HU [Z, Y, X].
      spacing_mm: of an array, between its slices, rows and columns.
      orientation: of an array, to where its axes point: S or I (head or feet), then P
        or A (back or front), then L or R (the patient's left or right).
      level: the vertebra's name, from T10 to L5.
      series: a SeriesInstanceUID or file name; "" selects the longest volume.
      mend_hu: correct values with a plain offset; see `hu_values`.

    Raises:
      DataError: the scan cannot be read, its values are not HU, or the vertebra may be
        in a gap.
    """
    if isinstance(scan_or_array, np.ndarray):
        volume = array_volume.make(scan_or_array, spacing_mm, orientation)
        content = Scan([volume], [], [])
    else:
        path = Path(scan_or_array)
        content = scan.read(path)
        volume = scan.choose(content, path, series)
    volume, projection = project(volume, mend_hu)
    l3_result = find(_models(), content, volume, projection, level)
    return _location(l3_result, volume)


@functools.cache
def _models() -> Models:
    return Models(model.load(), vertebra_model.load())


def _location(l3_result: L3Result, volume: Volume) -> Location:
    found = l3_result.status == result.IN_VIEW
    nearest = volume.slices[l3_result.slice_index]
    # An array's slices have no file, and know their index in it.
    index = l3_result.slice_index if nearest.file.name else nearest.instance_number
    return Location(
        found,
        l3_result.level,
        l3_result.z_mm if found else None,
        index if found else None,
        str(nearest.file) if found and nearest.file.name else "",
        l3_result.confidence,
        l3_result.within_5_mm,
        l3_result.trust,
        files.level_rows("", l3_result),
        (*volume.warnings, *l3_result.warnings),
    )


def project(
    volume: Volume, mend_hu: bool = False, threads: int | None = None
) -> tuple[Volume, Projection]:
    """Projects a volume; adds warnings about its values, and corrects their offset."""
    projection = mip.project(volume, workers=threads)
    if mend_hu:
        offset = hu_values.plain_offset(projection.hu_sample)
        if offset:
            volume = hu_values.without_offset(volume, offset)
            projection = mip.project(volume, workers=threads)
    warnings = hu_values.check(projection)
    return volume._replace(warnings=(*volume.warnings, *warnings)), projection


def find(
    models: Models, content: Scan, volume: Volume, projection: Projection, level: str
) -> L3Result:
    """Finds a vertebra in a volume of a scan.

    Args:
      models: the networks.
      content: the scan.
      volume: one of its volumes.
      projection: of the volume, with 1 mm pixels.
      level: the name of the vertebra.

    Raises:
      DataError: slices that are missing or not used may change the result.
    """
    found = result.find_l3(models.l3, projection, volume, models.vertebrae, level)
    _check_view(content, volume, found)
    return found


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
