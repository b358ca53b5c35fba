"""Reads images, and crops them about a box.

Coordinates count pixels from 0, and a whole number is the centre of a pixel: those of
.pts files less 1. Pillow puts 0 at the outer edge of the first pixel, so coordinate p
is p + 0.5 for Pillow.

The *frame* of a face is the box to which its coordinates are relative: its left edge is
-0.5, its right edge 0.5. A box and a frame are (left, top, width, height) in pixels. A
*canvas* is the crop of a face with some context, from which augmentation samples.
"""

import dataclasses
import io
import math
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np
from PIL import Image

from mtl.host.errors import ConfigError, DataError

Array = TypeVar("Array", np.ndarray, jax.Array)

# The largest number of the original image's pixels in one crop. A larger box is a
# mistake, and would fill the memory.
MAX_PIXELS_PER_CROP = 2**27


@dataclasses.dataclass(frozen=True)
class Crop:
    """How faces are cropped.

    Attributes:
      size: side of the network's input, in pixels. It covers the frame and its margin.
      margin: the share of the frame's width (height) that is added on each side.
      context: pixels of the same scale to add on each side, for augmentation.
      square: makes the frame a square of the box's longer side, about its centre.
    """

    size: int = 50
    margin: float = 0.0
    context: int = 0
    square: bool = False

    def __post_init__(self) -> None:
        if self.size < 1 or self.context < 0 or not -0.5 < self.margin < math.inf:
            raise ConfigError(
                f"{self}: size must be 1 or more, context 0 or more, margin above -0.5"
            )

    @property
    def canvas(self) -> int:
        """Side of the canvas, in pixels."""
        return self.size + 2 * self.context


def open_grey(path: str | Path) -> np.ndarray:
    """Reads a JPEG or PNG file as grey levels, uint8 [H, W], in the stored orientation.

    EXIF orientation is ignored: the points of 300-W lie on the stored pixels.
    Transparency is dropped, and the upper 8 of 16 bits are kept.

    Raises:
      DataError: the file is missing, damaged, empty, too large, or of another format.
    """
    return _decode(path, str(path))


def decode_grey(content: bytes, where: str) -> np.ndarray:
    """Does what `open_grey` does, from a file's content; `where` names it in errors."""
    return _decode(io.BytesIO(content), where)


def tight_box(points: np.ndarray) -> np.ndarray:
    """Returns the tight box of points [P, 2], corners rounded down, float32 [4].

    The authors crop to this box: int(min), int(max) of x and y. Points (NaN, NaN) are
    left out.

    Raises:
      ValueError: the box has no width or no height, or a point is not finite.
    """
    points = points[~np.isnan(points).all(axis=1)]
    low, high = np.floor(points.min(0)), np.floor(points.max(0))
    return _check_box(np.concatenate([low, high - low]))


def frame(box: np.ndarray, crop: Crop) -> np.ndarray:
    """Returns the frame of a box [4], float32 [4]: the box, or a square if crop.square.

    Raises:
      ValueError: the box has no width or no height, or is not finite.
    """
    corner, sides = np.split(_check_box(box), 2)
    if not crop.square:
        return np.concatenate([corner, sides])
    side = np.full(2, sides.max())
    return np.concatenate([corner + (sides - side) / 2, side])


def cut(grey: np.ndarray, frame: np.ndarray, crop: Crop) -> np.ndarray:
    """Cuts the canvas about a frame [4] out of an image uint8 [H, W].

    The triangle filter widens when it shrinks the image, against aliasing. Outside of
    the image, the pixels of its edge are repeated.

    Returns:
      uint8 [C, C], C = crop.canvas.

    Raises:
      ValueError: the canvas does not meet the image, or is too large.
    """
    height, width = grey.shape
    columns, x = _pixel_range(float(frame[0]), float(frame[2]), width, crop)
    rows, y = _pixel_range(float(frame[1]), float(frame[3]), height, crop)
    if len(columns) * len(rows) > MAX_PIXELS_PER_CROP:
        raise ValueError(
            f"the box covers {len(columns)} x {len(rows)} pixels of an image of "
            f"{width} x {height}"
        )
    patch = grey[np.ix_(np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1))]
    small = Image.fromarray(patch).resize(
        (crop.canvas, crop.canvas),
        Image.Resampling.BILINEAR,
        box=(x[0], y[0], x[1], y[1]),
    )
    return np.asarray(small)


def to_frame(points: Array, frame: Array) -> Array:
    """Converts points [..., P, 2] in pixels to coordinates of frames [..., 4].

    Returns:
      [..., 2P], (x1 ... xP, y1 ... yP), each -0.5 at one edge of the frame and 0.5 at
      the other.
    """
    y = (points - frame[..., None, :2]) / frame[..., None, 2:] - 0.5
    return y.swapaxes(-1, -2).reshape(*y.shape[:-2], -1)


def from_frame(y: Array, frame: Array) -> Array:
    """Inverts `to_frame`: coordinates [..., 2P] to points [..., P, 2] in pixels."""
    points = y.reshape(*y.shape[:-1], 2, -1).swapaxes(-1, -2)
    return (points + 0.5) * frame[..., None, 2:] + frame[..., None, :2]


def _decode(file: str | Path | io.BytesIO, where: str) -> np.ndarray:
    try:
        with Image.open(file, formats=("JPEG", "PNG")) as image:
            # A JPEG stores grey levels separately: reading only them takes a third of
            # the time. Without a size, the scale stays the same.
            image.draft("L", None)
            grey = _grey(image)
    except FileNotFoundError as e:
        raise DataError(f"{where}: no such file") from e
    except Exception as e:  # Pillow raises exceptions of any type on a broken file.
        raise DataError(
            f"{where}: not a whole JPEG or PNG image ({e}); get it again"
        ) from e
    if grey.size == 0:
        raise DataError(f"{where}: the image has no pixels; get it again")
    return grey


def _grey(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):
        # Pillow would clip 16 bits to 8.
        return (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
    if image.mode == "P":
        # Pillow warns when it converts a palette with transparency to grey.
        image = image.convert("RGBA")
    return np.array(image.convert("L"))


def _check_box(box: np.ndarray) -> np.ndarray:
    box = np.asarray(box, np.float32)
    # `not (... > 0)`, because NaN must fail too.
    if not (np.isfinite(box).all() and box[2:].min() > 0):
        raise ValueError(
            f"the box (left, top, width, height) = {box.tolist()} must be finite, with "
            "a width and a height"
        )
    return box


def _pixel_range(
    start: float, length: float, limit: int, crop: Crop
) -> tuple[range, tuple[float, float]]:
    """Along one axis: the pixels to cut, and the canvas's edges within them."""
    scale = length * (1 + 2 * crop.margin) / crop.size
    low = start + 0.5 - crop.margin * length - crop.context * scale
    high = low + crop.canvas * scale
    if high <= 0 or low >= limit:
        raise ValueError(
            f"the box from {start:g} to {start + length:g} lies outside of the image "
            f"of {limit} pixels"
        )
    # The filter uses pixels outside of the edges, up to one pixel of the canvas.
    padding = math.ceil(max(scale, 1)) + 1
    first = math.floor(low) - padding
    last = math.ceil(high) + padding
    if last - first > MAX_PIXELS_PER_CROP:
        raise ValueError(f"the box is {length:g} pixels long, in an image of {limit}")
    return range(first, last), (low - first, high - first)
