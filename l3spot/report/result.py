"""Finds L3, or another vertebra, in a scan."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from l3spot.ct.volumes import Volume
from l3spot.localize import preprocess, window_search
from l3spot.localize.model import MIN_CONFIDENCE, Model
from l3spot.localize.window_search import L3Estimate, WindowOffsets
from l3spot.projections.mip import Projection
from l3spot.report.results_file import ResultRow
from l3spot.vertebrae import locate
from l3spot.vertebrae.levels import AMBIGUOUS, PICTURE, Level
from l3spot.vertebrae.locate import Spine
from l3spot.vertebrae.model import VertebraModel

IN_VIEW, NOT_IN_VIEW = "found", "not in view"
FRONTAL_ALONE = "the position is that of the frontal projection alone"
NO_SPINE = f"fewer than two vertebrae are seen in the sagittal picture; {FRONTAL_ALONE}"


class L3Result(NamedTuple):
    """The result of a scan.

    Attributes:
      status: IN_VIEW or NOT_IN_VIEW.
      z_mm: of the middle of the vertebra's body, LPS.
      row_mm: this middle, below the top of the projection.
      slice_index: the slice nearest to it, counted from the feet, from 0.
      confidence: the probability that the vertebra is the right one.
      offsets: the window offsets in the frontal projection.
      estimate: L3 from these offsets.
      level: the vertebra's name.
      spine: all vertebrae; None with the paper's method, or if they are not seen.
      warnings: messages for the user.
    """

    status: str
    z_mm: float
    row_mm: float
    slice_index: int
    confidence: float
    offsets: WindowOffsets
    estimate: L3Estimate
    level: str = "L3"
    spine: Spine | None = None
    warnings: tuple[str, ...] = ()

    @property
    def levels(self) -> list[Level]:
        """All named vertebrae."""
        return [] if self.spine is None else self.spine.numbering.levels


def find_l3(
    model: Model,
    projection: Projection,
    volume: Volume,
    vertebrae: VertebraModel | None = None,
    level: str = "L3",
) -> L3Result:
    """Finds a vertebra in a projection with 1 mm pixels.

    Args:
      model: finds L3 in the frontal projection (the paper's method).
      projection: of the volume.
      volume: the scan.
      vertebrae: finds and names all vertebrae near it; None leaves this out.
      level: the name of the vertebra; another one than L3 needs `vertebrae`.
    """
    coarse = find_coarse(model, projection, volume)
    if vertebrae is None:
        return coarse
    spine = locate.locate(vertebrae, projection, coarse.z_mm, coarse.confidence)
    if spine is not None:
        return _refine(coarse, spine, projection, volume, level)
    status = coarse.status if level == "L3" else NOT_IN_VIEW
    warnings = (NO_SPINE,) if coarse.status == IN_VIEW else ()
    return coarse._replace(status=status, level=level, warnings=warnings)


def _refine(
    coarse: L3Result, spine: Spine, projection: Projection, volume: Volume, level: str
) -> L3Result:
    """Replaces the position in the frontal projection by that of a named vertebra."""
    numbering = spine.numbering
    if coarse.status != IN_VIEW and numbering.basis in (AMBIGUOUS, PICTURE):
        # Nothing says that these are lumbar vertebrae, so they get no names.
        return coarse._replace(status=NOT_IN_VIEW, level=level)
    coarse = coarse._replace(level=level, spine=spine)
    found = next((v for v in numbering.levels if v.name == level), None)
    if found is None:
        return _without_vertebra(coarse, numbering.levels)
    row_mm = float(projection.z[0]) + 0.5 - found.z_mm
    return coarse._replace(
        status=IN_VIEW,
        z_mm=found.z_mm,
        row_mm=row_mm,
        slice_index=nearest_slice(volume, found.z_mm),
        confidence=numbering.probability,
    )


def _without_vertebra(coarse: L3Result, levels: Sequence[Level]) -> L3Result:
    """Returns the result if the vertebra is not among those that are seen."""
    if coarse.status != IN_VIEW:
        return coarse
    names = ", ".join(v.name for v in levels)
    if coarse.level == "L3":
        warning = f"L3 is not seen among {names}; {FRONTAL_ALONE}"
        return coarse._replace(warnings=(warning,))
    warning = f"{coarse.level} is not seen; in view are {names}"
    return coarse._replace(status=NOT_IN_VIEW, warnings=(warning,))


def find_coarse(model: Model, projection: Projection, volume: Volume) -> L3Result:
    """Finds L3 in the frontal projection alone."""
    hu = preprocess.crop_to_spine(preprocess.downsample(projection.frontal))
    x = preprocess.to_grey(hu, model.low_hu, model.high_hu)
    offsets = model.window_offsets(x)
    estimate = window_search.locate(offsets, float(len(projection.z)))
    confidence = model.calibration(estimate.confidence_features)
    # Row r of the projection spans r to r + 1 mm.
    z_mm = float(projection.z[0]) + 0.5 - estimate.row_mm
    status = IN_VIEW if confidence >= MIN_CONFIDENCE else NOT_IN_VIEW
    return L3Result(
        status, z_mm, estimate.row_mm, nearest_slice(volume, z_mm), confidence,
        offsets, estimate,
    )  # fmt: skip


def nearest_slice(volume: Volume, z_mm: float) -> int:
    """Returns the index of the slice nearest to a height."""
    return int(np.abs(volume.z - z_mm).argmin())


def add_result(row: ResultRow, result: L3Result, volume: Volume) -> ResultRow:
    """Returns a row with the result; it has a position only if L3 is in view."""
    row = row._replace(
        status=result.status,
        level=result.level,
        confidence=round(result.confidence, 4),
        numbering="" if result.spine is None else result.spine.numbering.basis,
    )
    if result.status != IN_VIEW:
        return row
    nearest = volume.slices[result.slice_index]
    return row._replace(
        z_mm=round(result.z_mm, 2),
        row=round(result.row_mm, 2),
        slice_index=result.slice_index,
        slice_z_mm=round(float(volume.z[result.slice_index]), 3),
        file=str(nearest.file),
        sop_instance_uid=nearest.sop_instance_uid,
        frontal_z_mm=round(frontal_z_mm(result), 2),
        other_z_mm=other_z_mm(result),
    )


def frontal_z_mm(result: L3Result) -> float:
    """Returns z of L3 in the frontal projection alone."""
    return result.z_mm + result.row_mm - result.estimate.row_mm


def other_z_mm(result: L3Result) -> float | None:
    """Returns z of the second candidate if the numbering is ambiguous."""
    if result.spine is None or result.spine.numbering.basis != AMBIGUOUS:
        return None
    numbering = result.spine.numbering
    shift_mm = result.z_mm - numbering.l3_z_mm
    return round(numbering.other_z_mm + shift_mm, 2)
