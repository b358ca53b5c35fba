"""From a projection to the picture that the packaged network looks at.

Pixels are `MM` wide and high; the spine is about in the middle. A row of the picture is
told by its edge: row r of a projection with 1 mm rows spans r to r + 1 mm.
"""

import numpy as np

MM = 2  # Millimetres of a pixel.
WIDTH = 176  # Pixels across that the network sees.
HEIGHT = 192  # Pixels of a window: 384 mm; the paper has 400.
MARGIN = 16  # Pixels more on either side, for shifts in training.
AIR = -1024
BONE = 250  # HU; where the spine is follows from what is denser.


def coarse(hu: np.ndarray) -> np.ndarray:
    """[R/2, C/2] from a projection of 1 mm pixels [R, C]: the larger of neighbours."""
    odd = [(0, n % MM) for n in hu.shape]
    hu = np.pad(hu, odd, constant_values=AIR)
    rows, columns = (n // MM for n in hu.shape)
    return hu.reshape(rows, MM, columns, MM).max((1, 3))


def centred(hu: np.ndarray, width: int = WIDTH) -> np.ndarray:
    """[R, width] from [R, C], cut or filled with air around the middle of the bone."""
    bone = np.clip(hu.astype(np.float32) - BONE, 0, 750).sum(0)
    cut = min(hu.shape[1], 2 * width)
    # The middle of the mass, of the columns that hold the most: arms count little.
    total = np.convolve(bone, np.ones(min(cut, WIDTH)), "same")
    near = np.abs(np.arange(len(bone)) - total.argmax()) <= WIDTH // 2
    weight = bone * near
    middle = len(bone) / 2
    if weight.sum():
        middle = float((weight * np.arange(len(bone))).sum() / weight.sum())
    first = round(middle - width / 2)
    wide = np.pad(hu, ((0, 0), (width, width)), constant_values=AIR)
    start = min(max(first + width, 0), wide.shape[1] - width)
    return wide[:, start : start + width]


def window(hu: np.ndarray, low: float, high: float) -> np.ndarray:
    """float32 in [0, 1]: HU from low to high."""
    return np.clip((hu.astype(np.float32) - low) / (high - low), 0, 1)
