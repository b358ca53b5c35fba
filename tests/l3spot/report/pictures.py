"""Finds the projection in a picture of a result."""

import numpy as np
from scipy import ndimage


def projection_of(pixels):
    """Returns the projection in a picture: its largest part that is not white."""
    pieces, count = ndimage.label((pixels < 200).any(axis=-1))
    sizes = ndimage.sum_labels(pieces > 0, pieces, range(1, count + 1))
    rows, columns = ndimage.find_objects(pieces)[int(np.argmax(sizes))]
    return pixels[rows, columns][8:-8, 8:-8]
