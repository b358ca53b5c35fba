"""Turns a projection in HU into the image that the network takes.

The image has pixels of `MM_PER_PX` mm, and the spine lies near its middle column. Rows
are measured at their upper edge: row r of a projection with 1 mm rows spans r to
r + 1 mm.
"""

import numpy as np
from jaxtyping import Float32, Real

VIEWS = FRONTAL, LATERAL = "frontal", "lateral"  # Fields of `mip.Projection`.
MM_PER_PX = 2
WIDTH_PX = 176  # The width of the network's image.
HEIGHT_PX = 192  # The height of a window: 384 mm. The paper has 400 mm.
MARGIN_PX = 16  # Training images have this margin on each side, for random shifts.
AIR_HU = -1024
# The spine is searched in so many columns. In a lateral projection these are a
# vertebra's length from front to back: the spine is at the back, and ribs are in front.
SEARCH_PX = {FRONTAL: WIDTH_PX, LATERAL: 40}
BONE_HU = 250  # The position of the spine is estimated from denser pixels.


def downsample(hu: Real[np.ndarray, "rows columns"]) -> Real[np.ndarray, "_ _"]:
    """Returns HU of 2 mm pixels: the maximum of each 2x2 block of 1 mm pixels."""
    odd = [(0, n % MM_PER_PX) for n in hu.shape]
    hu = np.pad(hu, odd, constant_values=AIR_HU)
    rows, columns = (n // MM_PER_PX for n in hu.shape)
    return hu.reshape(rows, MM_PER_PX, columns, MM_PER_PX).max((1, 3))


def crop_to_spine(
    hu: Real[np.ndarray, "rows columns"],
    width_px: int = WIDTH_PX,
    view: str = FRONTAL,
) -> Real[np.ndarray, "rows {width_px}"]:
    """Crops HU to a width around the spine, or pads them with air.

    Args:
      hu: a projection.
      width_px: of the result.
      view: of the projection, one of `VIEWS`.
    """
    bone = np.clip(hu.astype(np.float32) - BONE_HU, 0, 750)
    if view == LATERAL:  # Hips are denser than the spine, but in fewer rows.
        bone = np.sign(bone)
    bone = bone.sum(0)
    search_px = min(hu.shape[1], 2 * width_px, SEARCH_PX[view])
    # The centre of mass is taken over the densest columns, so that raised arms have
    # little influence.
    total = np.convolve(bone, np.ones(search_px), "same")
    near = np.abs(np.arange(len(bone)) - total.argmax()) <= SEARCH_PX[view] // 2
    weight = bone * near
    middle = len(bone) / 2
    if weight.sum():
        middle = float((weight * np.arange(len(bone))).sum() / weight.sum())
    first = round(middle - width_px / 2)
    padded = np.pad(hu, ((0, 0), (width_px, width_px)), constant_values=AIR_HU)
    start = min(max(first + width_px, 0), padded.shape[1] - width_px)
    return padded[:, start : start + width_px]


def to_grey(
    hu: Real[np.ndarray, "*shape"], low_hu: float, high_hu: float
) -> Float32[np.ndarray, "*shape"]:
    """Maps HU from low_hu to high_hu to grey values from 0 to 1, clipped."""
    return np.clip((hu.astype(np.float32) - low_hu) / (high_hu - low_hu), 0, 1)
