"""A model that estimates given rows, whatever the image shows."""

import numpy as np

from l3spot.localize.model import FEATURE_COUNT, Calibration, Model
from l3spot.localize.window_search import MAX_OFFSET_MM, WindowOffsets


class FixedConfidence(Calibration):
    """Its bias is the confidence."""

    def __call__(self, features):
        return self.bias


class StubModel(Model):
    """Takes its estimates from the parameters."""

    def window_offsets(self, x):
        self.params["images"].append(x)
        row = np.arange(-MAX_OFFSET_MM, 2 * len(x) + MAX_OFFSET_MM, 2.0)
        offset = next(self.params["rows_mm"]) - row
        return WindowOffsets(row, np.clip(offset, -MAX_OFFSET_MM, MAX_OFFSET_MM))


def stub_model(estimates_mm, confidence=0.9, images=None):
    """Returns a model with these estimates, one after the other.

    The list `images` gets the images that the model is given.
    """
    params = {"rows_mm": iter(estimates_mm), "images": [] if images is None else images}
    fixed = FixedConfidence((0.0,) * FEATURE_COUNT, confidence)
    return StubModel(params, 0.0, 1000.0, fixed, "")
