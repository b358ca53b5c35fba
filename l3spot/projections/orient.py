"""Orients slices: rows from front to back, columns from the patient's right to left."""

import numpy as np

from l3spot.ct.slices import Slice


def rows_run_sideways(ct_slice: Slice) -> bool:
    """Returns whether image rows run from side to side, not from front to back."""
    return bool(abs(ct_slice.axes[0, 0]) >= abs(ct_slice.axes[1, 0]))


def signs(ct_slice: Slice) -> tuple[int, int]:
    """Returns the signs of x and y along their image axes: 1 or -1."""
    sideways, backwards = (
        ct_slice.axes if rows_run_sideways(ct_slice) else ct_slice.axes[::-1]
    )
    return (1 if sideways[0] > 0 else -1), (1 if backwards[1] > 0 else -1)


def oriented(ct_slice: Slice, pixels: np.ndarray) -> np.ndarray:
    """Returns pixels [rows, columns] as [D, C], so that x and y increase."""
    x_sign, y_sign = signs(ct_slice)
    turned = pixels if rows_run_sideways(ct_slice) else pixels.T
    return turned[::y_sign, ::x_sign]


def pixel_positions(ct_slice: Slice) -> tuple[np.ndarray, np.ndarray]:
    """Returns the increasing x [C] and y [D] of oriented pixels, in mm."""
    rows, columns = ct_slice.shape
    along, down = ct_slice.axes * np.array(ct_slice.spacing_mm)[:, None]
    if not rows_run_sideways(ct_slice):
        rows, columns, along, down = columns, rows, down, along
    x_sign, y_sign = signs(ct_slice)
    x = ct_slice.origin_mm[0] + along[0] * np.arange(columns)
    y = ct_slice.origin_mm[1] + down[1] * np.arange(rows)
    return x[::x_sign], y[::y_sign]
