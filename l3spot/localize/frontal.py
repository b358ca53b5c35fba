"""Finds L3 in one projection of a scan: the method of the paper.

The projection is the frontal one, unless the model was trained on the lateral one.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from l3spot.localize import preprocess, window_search
from l3spot.localize.model import Model
from l3spot.localize.window_search import L3Estimate, WindowOffsets
from l3spot.projections.mip import Projection


class Frontal(NamedTuple):
    """L3 in the projection that the model takes.

    Attributes:
      z_mm: of L3, LPS.
      confidence: the probability that L3 is there.
      offsets: the window offsets, in mm of the body.
      estimate: L3 from these offsets.
    """

    z_mm: float
    confidence: float
    offsets: WindowOffsets
    estimate: L3Estimate


def find(model: Model, projection: Projection, scale: float = 1.0) -> Frontal:
    """Finds L3 in a projection with 1 mm pixels.

    Args:
      model: estimates the offsets.
      projection: of a scan.
      scale: magnifies the projection before; the model was trained on adults.
    """
    hu = getattr(projection, model.view)
    if scale != 1:
        hu = ndimage.zoom(hu, scale, order=1, mode="nearest", grid_mode=True)
    image = preprocess.crop_to_spine(preprocess.downsample(hu), view=model.view)
    x = preprocess.to_grey(image, model.low_hu, model.high_hu)
    offsets = model.window_offsets(x)
    estimate = window_search.locate(offsets, float(len(hu)))
    confidence = model.calibration(estimate.confidence_features)
    if scale != 1:
        offsets = WindowOffsets(*(np.asarray(a) / scale for a in offsets))
        estimate = estimate._replace(row_mm=estimate.row_mm / scale)
    # Row r of the projection spans r to r + 1 mm.
    z_mm = float(projection.z[0]) + 0.5 - estimate.row_mm
    return Frontal(z_mm, confidence, offsets, estimate)
