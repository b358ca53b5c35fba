"""Finds L3, or another vertebra, in a scan."""

from typing import NamedTuple

import numpy as np

from l3spot.ct.volumes import Volume
from l3spot.localize import frontal
from l3spot.localize.frontal import Frontal
from l3spot.localize.model import MIN_CONFIDENCE, Model
from l3spot.localize.window_search import L3Estimate, WindowOffsets
from l3spot.projections.mip import Projection
from l3spot.report.results_file import ResultRow
from l3spot.vertebrae import locate
from l3spot.vertebrae.levels import AMBIGUOUS, NAMES, PICTURE, Level, Numbering
from l3spot.vertebrae.locate import Spine
from l3spot.vertebrae.model import VertebraModel

IN_VIEW, NOT_IN_VIEW = "found", "not in view"
FALLBACKS = ("L2", "L4", "L5", "L1", "T12")  # In this order, for L3 out of view.
UNKNOWN = 0.5  # That a vertebra is in view, where none has a name.
MIN_NAMES = 0.3  # Less sure names do not find L3 where the frontal network does not.
MIN_SURE = 0.8  # Of less sure levels, both candidates are given.
COARSE_ALONE = "the position is that of the projection alone"
SPINE_IS_CUT = "the side of the pictures cuts the spine"
NO_SPINE = f"fewer than two vertebrae are seen in the sagittal picture; {COARSE_ALONE}"


class L3Result(NamedTuple):
    """The result of a scan.

    Attributes:
      status: IN_VIEW or NOT_IN_VIEW.
      z_mm: of the middle of the vertebra's body, LPS.
      row_mm: this middle, below the top of the projection.
      slice_index: the slice nearest to it, counted from the feet, from 0.
      confidence: a probability, see `results_file.ResultRow`.
      offsets: the window offsets in the projection that the model takes.
      estimate: L3 from these offsets.
      level: the vertebra's name.
      spine: all vertebrae; None with the paper's method, or if they are not seen.
      within_5_mm: the probability that z_mm is within 5 mm of the middle of the right
        vertebra; None with the paper's method, or if it is not in view.
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
    within_5_mm: float | None = None
    warnings: tuple[str, ...] = ()

    @property
    def levels(self) -> list[Level]:
        """All named vertebrae."""
        return [] if self.spine is None else self.spine.numbering.levels

    @property
    def trust(self) -> float:
        """The probability that the answer is right, see `results_file.ResultRow`."""
        if self.status == NOT_IN_VIEW:
            return 1 - self.confidence
        return self.confidence if self.within_5_mm is None else self.within_5_mm

    @property
    def is_frontal(self) -> bool:
        """Whether the position is that in the projection that the model takes."""
        return self.row_mm == self.estimate.row_mm


def find_l3(
    model: Model,
    projection: Projection,
    volume: Volume,
    vertebrae: VertebraModel | None = None,
    level: str = "L3",
) -> L3Result:
    """Finds a vertebra in a projection with 1 mm pixels.

    Args:
      model: finds L3 in one projection (the paper's method).
      projection: of the volume.
      volume: the scan.
      vertebrae: finds and names all vertebrae near it; None leaves this out.
      level: the name of the vertebra; another one than L3 needs `vertebrae`.
    """
    if vertebrae is None:
        return _coarse_result(frontal.find(model, projection), projection, volume)
    located = locate.locate(model, vertebrae, projection)
    coarse = _coarse_result(located.frontal, projection, volume)
    if coarse.status == IN_VIEW:
        coarse = coarse._replace(within_5_mm=located.frontal_within_5_mm)
    if located.spine is not None:
        return _refine(coarse, located.spine, projection, volume, level)
    if level != "L3":
        return _not_in_view(_with_unknown_view(coarse), level)
    warnings = (NO_SPINE,) if coarse.status == IN_VIEW else ()
    return coarse._replace(warnings=warnings)


def _not_in_view(coarse: L3Result, level: str, *warnings: str) -> L3Result:
    """Returns the result if a vertebra is not in view."""
    return coarse._replace(
        status=NOT_IN_VIEW, level=level, within_5_mm=None, warnings=warnings
    )


def _refine(
    coarse: L3Result, spine: Spine, projection: Projection, volume: Volume, level: str
) -> L3Result:
    """Replaces the position in one projection by that of a named vertebra."""
    numbering = spine.numbering
    if coarse.status != IN_VIEW and not _names_are_probable(spine):
        # Nothing says that these are lumbar vertebrae, so they get no names.
        return _not_in_view(
            coarse if level == "L3" else _with_unknown_view(coarse), level
        )
    coarse = coarse._replace(level=level, spine=spine)
    found = next((v for v in numbering.levels if v.name == level), None)
    if found is None:
        return _without_vertebra(coarse, spine, volume)
    within = coarse.within_5_mm or 0.0
    # Both positions depend on the name: the frontal one is a part of its evidence.
    if level == "L3" and spine.confidence * within > spine.within_5_mm[level]:
        return coarse._replace(
            confidence=min(coarse.confidence, spine.confidence),
            within_5_mm=min(within, spine.confidence),
            warnings=(f"the vertebrae are faint; {COARSE_ALONE}",),
        )
    row_mm = float(projection.z[0]) + 0.5 - found.z_mm
    refined = coarse._replace(
        status=IN_VIEW,
        z_mm=found.z_mm,
        row_mm=row_mm,
        slice_index=nearest_slice(volume, found.z_mm),
        confidence=spine.confidence,
        within_5_mm=spine.within_5_mm[level],
    )
    warnings = [SPINE_IS_CUT] if spine.is_cut else []
    if (other_mm := other_z_mm(refined)) is not None:
        place = f"z = {refined.z_mm:.1f} mm or z = {other_mm:.1f} mm"
        warnings.append(f"{level} is not sure: it is at {place}")
    return refined._replace(warnings=tuple(warnings))


def _names_are_probable(spine: Spine) -> bool:
    """Returns whether ribs or the sacrum name vertebrae well enough on their own."""
    numbering = spine.numbering
    if numbering.basis in (AMBIGUOUS, PICTURE):
        return False
    l3_is_seen = numbering.l3 is not None and numbering.in_chain >= MIN_CONFIDENCE
    return spine.confidence >= (MIN_NAMES if l3_is_seen else MIN_CONFIDENCE)


def _without_vertebra(coarse: L3Result, spine: Spine, volume: Volume) -> L3Result:
    """Returns the result if the vertebra is not among those that are seen."""
    seen = f"in view are {', '.join(v.name for v in spine.numbering.levels)}"
    if coarse.level != "L3":
        absent = spine.confidence * beyond_ends(coarse.level, spine.numbering, volume)
        coarse = coarse._replace(confidence=1 - absent)
        return _not_in_view(coarse, coarse.level, f"{coarse.level} is not seen; {seen}")
    outside = not volume.z[0] <= spine.numbering.l3_z_mm <= volume.z[-1]
    sure = min(coarse.confidence, 1 - spine.confidence)
    if coarse.status == IN_VIEW and not (outside and spine.confidence > MIN_SURE):
        return coarse._replace(
            confidence=sure,
            warnings=(f"L3 is not seen; {seen}; {COARSE_ALONE}",),
        )
    instead = fallback(coarse)
    offer = f"; {instead.name} at z = {instead.z_mm:.1f} mm" if instead else ""
    coarse = coarse._replace(confidence=sure)
    return _not_in_view(coarse, "L3", f"L3 is not in view; {seen}{offer}")


def _with_unknown_view(coarse: L3Result) -> L3Result:
    """Replaces the confidence, which is that of L3, where no vertebra has a name."""
    return coarse._replace(confidence=UNKNOWN)


def beyond_ends(level: str, numbering: Numbering, volume: Volume) -> float:
    """Returns the probability that a vertebra without a body lies beyond the scan.

    Its place follows from the nearest vertebra with a name, or else from L3's. It can
    be wrong by half the distance between vertebrae.

    Args:
      level: the vertebra's name.
      numbering: of the scan; its names are taken as right.
      volume: the scan.
    """
    at = NAMES.index(level)
    known = {v.name: v.z_mm for v in numbering.levels if v.name in NAMES}
    known = known or {"L3": numbering.l3_z_mm}
    nearest = min(known, key=lambda name: abs(NAMES.index(name) - at))
    z_mm = known[nearest] + (NAMES.index(nearest) - at) * numbering.pitch_mm
    outside_mm = max(volume.z[0] - z_mm, z_mm - volume.z[-1])
    return float(np.clip(0.5 + outside_mm / numbering.pitch_mm, 0, 1))


def fallback(result: L3Result) -> Level | None:
    """Returns the vertebra that can replace L3, the first of `FALLBACKS` in view."""
    by_name = {level.name: level for level in result.levels}
    return next((by_name[name] for name in FALLBACKS if name in by_name), None)


def _coarse_result(coarse: Frontal, projection: Projection, volume: Volume) -> L3Result:
    """Returns the result from one projection alone."""
    status = IN_VIEW if coarse.confidence >= MIN_CONFIDENCE else NOT_IN_VIEW
    return L3Result(
        status, coarse.z_mm, coarse.estimate.row_mm,
        nearest_slice(volume, coarse.z_mm), coarse.confidence, coarse.offsets,
        coarse.estimate,
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
        trust=round(result.trust, 4),
        levels=" ".join(level.name for level in result.levels),
    )
    if result.within_5_mm is not None:
        row = row._replace(within_5_mm=round(result.within_5_mm, 4))
    if result.status != IN_VIEW:
        instead = fallback(result) if result.level == "L3" else None
        return row if instead is None else row._replace(fallback=instead.name)
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
    """Returns z of L3 in the projection that the model takes."""
    return result.z_mm + result.row_mm - result.estimate.row_mm


def is_sure(confidence: float, numbering: str) -> bool:
    """Returns whether a level needs no second candidate."""
    return confidence >= MIN_SURE and numbering != AMBIGUOUS


def other_z_mm(result: L3Result) -> float | None:
    """Returns z of the second candidate; None if the level is sure."""
    if result.spine is None or result.is_frontal:
        return None
    numbering = result.spine.numbering
    if is_sure(result.confidence, numbering.basis):
        return None
    shift_mm = result.z_mm - numbering.l3_z_mm
    return round(numbering.other_z_mm + shift_mm, 2)
