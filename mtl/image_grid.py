"""Shows images in a grid on one Axes, which draws faster than an Axes for each."""

import math
from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes

COLUMN_GAP = 0.08  # In widths of an image.


def show(
    ax: Axes,
    images: np.ndarray,
    columns: int,
    row_gap: float = 0.08,
    row_names: Iterable[str] = (),
) -> np.ndarray:
    """Shows images from left to right, and then from the top down.

    Args:
      ax: without anything else.
      images: [K, H, W] or [K, H, W, 3], 0 to 1; K may be 0.
      columns: of the grid.
      row_gap: between rows, in heights of an image.
      row_names: to the left of the rows; () for none.

    Returns:
      Middles [K, 2] of the images, (x, y) in pixels of the grid. Its y runs down.
    """
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    count, high, wide = images.shape[:3]
    step = np.array([_step(wide, COLUMN_GAP), _step(high, row_gap)])
    place = np.arange(count)
    corner = step * np.stack([place % columns, place // columns], -1)
    if count:
        shape = np.array([columns, math.ceil(count / columns)]) * step
        grid = np.ones((shape[1], shape[0], *images.shape[3:]))
        for (x, y), image in zip(corner, images, strict=True):
            grid[y : y + high, x : x + wide] = image
        ax.imshow(grid, cmap="gray", vmin=0, vmax=1)
    middles = corner + np.array([wide - 1, high - 1]) / 2
    if names := list(row_names):
        ax.set_yticks(middles[::columns, 1], names, fontsize=9)
        ax.tick_params(length=0)
        ax.set_anchor("E")  # The space that is left is that of the names.
    return middles


def _step(size: int, gap: float) -> int:
    return size + max(1, round(gap * size))
