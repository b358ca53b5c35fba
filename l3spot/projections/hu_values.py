"""Checks that the values of a volume are HU: air, soft tissue and bone in their places.

In CT, air is at -1000 HU, fat at -100, soft tissue at 0 to 100, and little of a body
is above 700. Files state how stored values become HU, and some state it wrongly.
"""

import dataclasses
from functools import partial

import numpy as np

from l3spot.ct.slices import Slice, StoredValues
from l3spot.ct.volumes import Volume
from l3spot.projections.mip import Projection
from mtl.host.errors import DataError

MIN_SPAN_HU = 300.0  # From the lowest to the highest values; less is another unit.
SOFT_TISSUE_HU = (-200.0, 200.0)  # Fat, organs and muscle.
MIN_SOFT_TISSUE = 0.02  # Its share of the pixels; a newborn in a wide field has 0.03.
HIGH_HU, MAX_HIGH = 700.0, 0.15  # Cortical bone and metal; the largest share of pixels.
MIN_BONE_HU = 250.0  # The brightest pixels of a skeleton are above it.
# Numbers in all values, because an offset was omitted or applied twice.
OFFSETS_HU = (1024.0, 1000.0, -1024.0, -1000.0)
AIR_HU, AIR_MARGIN_HU = -1000.0, 60.0
MIN_SHARE_AT_OFFSET = 0.02  # Of air, and of soft tissue.


def check(projection: Projection) -> list[str]:
    """Checks the values of a volume; returns warnings.

    Raises:
      DataError: they are not HU; the message gives the reason, and the flag that helps.
    """
    hu = projection.hu_sample
    reason = _why_not_hu(hu)
    if reason:
        offset = plain_offset(hu)
        fix = "export the scan again"
        if offset:
            fix = (
                f"air and soft tissue are {abs(offset):.0f} too "
                f"{'high' if offset > 0 else 'low'}: --mend_hu corrects this, or "
                "export the scan again"
            )
        raise DataError(f"its values are not HU: {reason}; {fix}")
    highest = float(projection.frontal.max())
    if highest < MIN_BONE_HU:
        return [f"no bone is seen: the highest value is {highest:.0f} HU"]
    return []


def plain_offset(hu: np.ndarray) -> float:
    """Returns by how much values are too high; 0 if they are HU, or it is not plain.

    Args:
      hu: [N], a sample of a scan, without padding.
    """
    if not _why_not_hu(hu):
        return 0.0
    plain = [o for o in OFFSETS_HU if _share_at_offset(hu, o) >= MIN_SHARE_AT_OFFSET]
    return min(plain, key=lambda o: _distance_of_air(hu, o), default=0.0)


def without_offset(volume: Volume, offset: float) -> Volume:
    """Returns a volume with an offset subtracted from all values, and a warning."""
    slices = tuple(
        dataclasses.replace(s, decode=partial(_shifted, s, offset))
        for s in volume.slices
    )
    warning = f"its values were not HU: {-offset:+.0f} was added to them (--mend_hu)"
    return volume._replace(slices=slices, warnings=(*volume.warnings, warning))


def _shifted(ct_slice: Slice, offset: float) -> StoredValues:
    values = ct_slice.decode()
    return values._replace(intercept=values.intercept - offset)


def _why_not_hu(hu: np.ndarray) -> str:
    """Returns why the values of a sample are not HU, or ""."""
    if not len(hu):
        return "all pixels are padding"
    low, high = np.percentile(hu, [0.1, 99.9])
    if high - low < MIN_SPAN_HU:
        return f"they span only {low:.4g} to {high:.4g}"
    if _share(hu, *SOFT_TISSUE_HU) < MIN_SOFT_TISSUE:
        return "no soft tissue is between -200 and 200"
    too_high = float(np.mean(hu > HIGH_HU))
    if too_high > MAX_HIGH:
        return f"{100 * too_high:.0f} % are above {HIGH_HU:.0f}, as bone is"
    if low >= 0:
        return "none is below 0, as air and fat are"
    return ""


def _share(hu: np.ndarray, low: float, high: float) -> float:
    return float(np.mean((hu >= low) & (hu <= high)))


def _share_at_offset(hu: np.ndarray, offset: float) -> float:
    """Returns the smaller share, of air and of soft tissue, if values had an offset."""
    soft = _share(hu - offset, *SOFT_TISSUE_HU)
    air = _share(hu - offset, AIR_HU - AIR_MARGIN_HU, AIR_HU + AIR_MARGIN_HU)
    return min(air, soft)


def _distance_of_air(hu: np.ndarray, offset: float) -> float:
    """Returns how far the median of air is from its place, if values had an offset."""
    distance = hu - offset - AIR_HU
    return abs(float(np.median(distance[np.abs(distance) <= AIR_MARGIN_HU])))
