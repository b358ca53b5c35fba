"""Datasets of simple images: a bright bar is L3."""

import numpy as np

from l3spot.localize.preprocess import MM_PER_PX
from l3spot.training.dataset import IMAGE_COLUMNS, IMAGE_ROWS, ProjectionDataset


def bar(l3, height, bright=900):
    """Returns a grey image with a bright bar at L3's row, in mm."""
    hu = np.full((IMAGE_ROWS, IMAGE_COLUMNS), -1024, np.int16)
    hu[: int(height) // MM_PER_PX] = 300
    middle = round(l3 / MM_PER_PX)
    hu[max(middle - 2, 0) : middle + 2] = bright
    return hu


def images_of_bars():
    """Returns 40 images of bars, five of them not in view."""
    rng = np.random.default_rng(0)
    height = rng.uniform(300, 700, 40)
    l3 = height * rng.uniform(0.1, 0.9, 40)
    l3[::8] = -80.0
    hu = np.stack([bar(a, b) for a, b in zip(l3, height, strict=True)])
    numbers = height.astype(np.float32), l3.astype(np.float32), np.arange(40)
    return ProjectionDataset(hu, *numbers)
