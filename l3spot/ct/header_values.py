"""Parses values of a DICOM header; messages name the element and its value."""

from typing import Any

import numpy as np

from l3spot.ct.pixels import PixelLayout
from l3spot.ct.slices import HEADER_TOLERANCE, MAX_HEADER_NUMBER

MAX_FIELD_MM = 5000.0  # No scanner has a wider field of view.
ABSENT = "ABSENT"


def find(
    elements: dict[str, Any], frame: int, group: str, name: str, default: str = ""
) -> str:
    """Returns an element of the frame, else of all frames, else of the header."""
    per_frame = elements.get("PerFrameFunctionalGroupsSequence", ())
    shared = elements.get("SharedFunctionalGroupsSequence", ())
    for groups in (*per_frame[frame : frame + 1], *shared[:1]):
        for item in groups.get(f"{group}Sequence", ()):
            if name in item:
                return item[name]
    return elements.get(name) or default or elements[name]


def parse_number(text: str, default: float, name: str) -> float:
    """Returns a number, or the default if the element is absent.

    Raises:
      ValueError: it is no number.
    """
    return default if text == ABSENT else parse_numbers(text, 1, name)[0]


def parse_numbers(text: str, size: int, name: str) -> list[float]:
    """Returns the numbers of an element.

    Raises:
      ValueError: they are not `size` numbers of a plausible size.
    """
    try:
        numbers = [float(part) for part in text.split("\\")]
    except ValueError:
        numbers = []
    valid = all(abs(v) < MAX_HEADER_NUMBER for v in numbers)  # NaN is not.
    if len(numbers) != size or not valid:
        wanted = "a number" if size == 1 else f"{size} numbers"
        limit = f"below {MAX_HEADER_NUMBER:g}"
        raise ValueError(f"{name}: {text} is not {wanted} {limit}")
    return numbers


def integer(text: str) -> int | None:
    """Returns a whole number, also one with decimals of 0; None if it is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() else None


def length_mm(text: str) -> float:
    """Returns a length that is not needed; 0 if it is absent or invalid."""
    try:
        return max(0.0, parse_number(text, 0.0, ""))
    except ValueError:
        return 0.0


def unit_axes(value: np.ndarray) -> np.ndarray:
    """Returns unit vectors [2, 3]; checks lengths and right angle within rounding.

    Raises:
      ValueError: the six numbers are no such vectors.
    """
    axes = value.reshape(2, 3)
    length = np.sqrt((axes * axes).sum(axis=1, keepdims=True))
    if (
        np.abs(length - 1).max() > HEADER_TOLERANCE
        or abs(axes[0] @ axes[1]) > HEADER_TOLERANCE
    ):
        raise ValueError(f"ImageOrientationPatient: {value.tolist()}")
    return axes / length


def checked_spacing(
    spacing_mm: tuple[float, float], shape: tuple[int, int]
) -> tuple[float, float]:
    """Returns the spacing along rows and columns.

    Raises:
      ValueError: it is not above 0, or the field of view is too wide.
    """
    field_mm = max(s * n for s, n in zip(spacing_mm, reversed(shape), strict=True))
    if not min(spacing_mm) > 0 or field_mm > MAX_FIELD_MM:
        raise ValueError(f"PixelSpacing: {spacing_mm}")
    return spacing_mm


def padding_range(
    elements: dict[str, Any], layout: PixelLayout
) -> tuple[int, int] | None:
    """Returns the stored values from PixelPaddingValue to PixelPaddingRangeLimit.

    Some writers give an unsigned value for signed pixels, such as 63536 for -2000, or
    the reverse. So the value is reduced modulo 2^16 to the range of the pixels.
    """
    first = elements.get("PixelPaddingValue")
    if first is None:
        return None
    ends = [first, elements.get("PixelPaddingRangeLimit", first)]
    modulus = 1 << min(layout.bits_allocated, 16)
    ends = [v % modulus for v in ends]
    if layout.signed:
        ends = [v - modulus if v >= modulus // 2 else v for v in ends]
    return min(ends), max(ends)
