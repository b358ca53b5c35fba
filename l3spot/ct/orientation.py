"""Checks whether slices are axial, and whether their rows run from side to side.

A projection assumes both. Small angles give a warning, larger angles are refused.
"""

import numpy as np

from l3spot.ct.slices import Slice

# Angles between the slices and axial slices. A tilt of 5 degrees shifts a point that is
# 50 mm from the middle by 4 mm in z.
TILT_WARNING_DEG, MAX_TILT_DEG = 1.1, 5.0
# Angles between the image rows and the nearest body axis.
ROTATION_WARNING_DEG, MAX_ROTATION_DEG = 2.0, 10.0


def tilt_error(normal: np.ndarray) -> str:
    """Returns why slices with this normal are refused as not axial; "" if they fit."""
    if _tilt_deg(normal) <= MAX_TILT_DEG:
        return ""
    angle = f"its slices are {_tilt_deg(normal):.0f} degrees from axial"
    return f"{angle}; resample it to axial slices"


def rotation_error(ct_slice: Slice) -> str:
    """Returns why the image is refused as rotated within its plane; "" if it fits."""
    if _rotation_deg(ct_slice) <= MAX_ROTATION_DEG:
        return ""
    angle = f"its images are rotated by {_rotation_deg(ct_slice):.0f} degrees in-plane"
    return f"{angle}; resample it to rows that run from side to side"


def angle_warnings(normal: np.ndarray, ct_slice: Slice) -> list[str]:
    """Returns warnings about angles that a projection ignores."""
    warnings = []
    if _tilt_deg(normal) > TILT_WARNING_DEG:
        warnings.append(
            f"its slices are {_tilt_deg(normal):.1f} degrees from axial, and are "
            "treated as axial"
        )
    if _rotation_deg(ct_slice) > ROTATION_WARNING_DEG:
        warnings.append(
            f"its images are rotated by {_rotation_deg(ct_slice):.1f} degrees "
            "in-plane, and are treated as straight"
        )
    return warnings


def _tilt_deg(normal: np.ndarray) -> float:
    """Returns the angle between slices with this normal and axial slices."""
    return float(np.degrees(np.arctan2(np.hypot(*normal[:2]), normal[2])))


def _rotation_deg(ct_slice: Slice) -> float:
    """Returns the angle between an image row and the nearer of the axes x and y."""
    x, y = np.abs(ct_slice.axes[0, :2])
    return float(np.degrees(np.arctan2(min(x, y), max(x, y))))
