"""Planes that are not quite axial, or whose rows do not run from side to side.

A projection takes them as if they were. Small angles are told, larger ones refused.
"""

import numpy as np

from l3spot.ct.slices import Plane

# Degrees that are told, and that are too many: with 5, what is 50 mm from the middle is
# 4 mm too high or too low.
TILTED = 1.1, 5.0
TURNED = 2.0, 10.0


def _tilt(normal: np.ndarray) -> float:
    """Degrees between planes and axial ones."""
    return float(np.degrees(np.arctan2(np.hypot(*normal[:2]), normal[2])))


def _rotation(plane: Plane) -> float:
    """Degrees from a row of the image to the nearest of side to side, front to back."""
    across, along = np.abs(plane.axes[0, :2])
    return float(np.degrees(np.arctan2(min(across, along), max(across, along))))


def tilted(normal: np.ndarray) -> str:
    """Why planes are not axial, or ""."""
    if _tilt(normal) <= TILTED[1]:
        return ""
    what = f"its planes are {_tilt(normal):.0f} degrees from axial"
    return f"{what}; resample it to axial planes"


def turned(plane: Plane) -> str:
    """Why the images do not lie straight in the patient, or ""."""
    if _rotation(plane) <= TURNED[1]:
        return ""
    what = f"its images are rotated by {_rotation(plane):.0f} degrees within the plane"
    return f"{what}; resample it to rows that run from side to side"


def told(normal: np.ndarray, plane: Plane) -> list[str]:
    """Warns of angles that are projected as if they were not there."""
    warnings = []
    if _tilt(normal) > TILTED[0]:
        warnings.append(
            f"its planes are {_tilt(normal):.1f} degrees from axial, and taken as axial"
        )
    if _rotation(plane) > TURNED[0]:
        warnings.append(
            f"its images are rotated by {_rotation(plane):.1f} degrees within the "
            "plane, and taken as straight"
        )
    return warnings
