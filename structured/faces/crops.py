"""From an image file and a box to the crop that a network sees.

Coordinates count pixels from 0, and a whole number is the centre of a pixel, as in the
.pts files less 1. Pillow puts 0 at the outer edge of the first pixel, so it knows the
coordinate p as p + 0.5.

A *frame* is the box that the coordinates of a face are relative to: its left edge is
-0.5, its right edge 0.5. A box and a frame are (left, top, width, height).
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

# Of the original image, under one crop: more is a box gone wrong, and would fill the
# memory.
MOST_PIXELS = 2**27


@dataclasses.dataclass(frozen=True)
class Crop:
    """What is cut out around a box.

    Attributes:
      size: side of the network's input, in pixels. It covers the frame and its margin.
      margin: the share of the frame's width (height) that is added on each side.
      context: more pixels of the same scale that are kept on each side, for jitter.
      square: makes the frame a square with the box's longer side, about its centre.
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
        """Side of what is cut, in pixels."""
        return self.size + 2 * self.context


def open_grey(path: str | Path) -> np.ndarray:
    """A JPEG or PNG file as grey, uint8 [H, W], just as its pixels are stored.

    A turn that EXIF asks for is not made: the points of 300-W lie on the stored pixels.
    Transparency is dropped, and of 16 bits the upper 8 are kept.

    Raises:
      DataError: missing, damaged, cut short, empty, enormous, or of another kind.
    """
    return _decode(path, str(path))


def decode_grey(content: bytes, where: str) -> np.ndarray:
    """`open_grey` of a file's content; `where` names it in an error."""
    return _decode(io.BytesIO(content), where)


def tight_box(points: np.ndarray) -> np.ndarray:
    """The tight box of points [P, 2] with corners rounded down, float32 [4].

    So the authors cut: int(min), int(max) of x and y.

    Raises:
      ValueError: the box has no width or no height, or a point is not finite.
    """
    low, high = np.floor(points.min(0)), np.floor(points.max(0))
    return _checked(np.concatenate([low, high - low]))


def frame(box: np.ndarray, crop: Crop) -> np.ndarray:
    """The frame of a box [4], float32 [4]: the box itself, or squared if asked.

    Raises:
      ValueError: the box has no width or no height, or is not finite.
    """
    corner, sides = _checked(box)[:2], _checked(box)[2:]
    if not crop.square:
        return np.concatenate([corner, sides])
    side = np.full(2, sides.max())
    return np.concatenate([corner + (sides - side) / 2, side])


def cut(grey: np.ndarray, frame: np.ndarray, crop: Crop) -> np.ndarray:
    """The crop of an image uint8 [H, W] about a frame [4], uint8 [C, C].

    C is crop.canvas. Triangle filter, widened when it makes smaller, so that nothing
    aliases. Where the crop leaves the image, the pixels of its edge go on.

    Raises:
      ValueError: the crop misses the image altogether, or is enormous.
    """
    height, width = grey.shape
    columns, x = _span(float(frame[0]), float(frame[2]), width, crop)
    rows, y = _span(float(frame[1]), float(frame[3]), height, crop)
    if len(columns) * len(rows) > MOST_PIXELS:
        raise ValueError(
            f"the box covers {len(columns)} x {len(rows)} pixels of an image of "
            f"{width} x {height}"
        )
    around = grey[np.ix_(np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1))]
    small = Image.fromarray(around).resize(
        (crop.canvas, crop.canvas),
        Image.Resampling.BILINEAR,
        box=(x[0], y[0], x[1], y[1]),
    )
    return np.asarray(small)


def to_frame(points: Array, frame: Array) -> Array:
    """Coordinates relative to a frame: [..., P, 2] and [..., 4] to [..., 2P].

    They are (x1 ... xP, y1 ... yP), each -0.5 at one edge of the frame, 0.5 at the
    other.
    """
    y = (points - frame[..., None, :2]) / frame[..., None, 2:] - 0.5
    return y.swapaxes(-1, -2).reshape(*y.shape[:-2], -1)


def from_frame(y: Array, frame: Array) -> Array:
    """The inverse of `to_frame`: [..., 2P] and [..., 4] to pixels [..., P, 2]."""
    points = y.reshape(*y.shape[:-1], 2, -1).swapaxes(-1, -2)
    return (points + 0.5) * frame[..., None, 2:] + frame[..., None, :2]


def _decode(file: str | Path | io.BytesIO, where: str) -> np.ndarray:
    try:
        with Image.open(file, formats=("JPEG", "PNG")) as image:
            # A JPEG holds its grey apart: to leave the colours undecoded takes a third
            # of the time. No size is given, so the scale stays as it is.
            image.draft("L", None)
            grey = _grey(image)
    except FileNotFoundError as e:
        raise DataError(f"{where}: no such file") from e
    except Exception as e:  # Pillow raises anything on a broken file.
        raise DataError(
            f"{where}: not a whole JPEG or PNG image ({e}); get it again"
        ) from e
    if grey.size == 0:
        raise DataError(f"{where}: the image has no pixels; get it again")
    return grey


def _grey(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):
        # 16 bits: Pillow would clip them, not scale them.
        return (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
    if image.mode == "P":
        # A palette with transparency is only turned to grey with a warning.
        image = image.convert("RGBA")
    return np.array(image.convert("L"))


def _checked(box: np.ndarray) -> np.ndarray:
    box = np.asarray(box, np.float32)
    # Not `min() <= 0`: NaN must fail as well.
    if not (np.isfinite(box).all() and box[2:].min() > 0):
        raise ValueError(
            f"the box (left, top, width, height) = {box.tolist()} must be finite, with "
            "a width and a height"
        )
    return box


def _span(
    start: float, length: float, limit: int, crop: Crop
) -> tuple[range, tuple[float, float]]:
    """Along one side: the pixels to take, and the crop's edges within them."""
    scale = length * (1 + 2 * crop.margin) / crop.size
    low = start + 0.5 - crop.margin * length - crop.context * scale
    high = low + crop.canvas * scale
    if high <= 0 or low >= limit:
        raise ValueError(
            f"the box from {start:g} to {start + length:g} lies outside of the image "
            f"of {limit} pixels"
        )
    # The filter reaches beyond the edges, by one pixel of the crop.
    reach = math.ceil(max(scale, 1)) + 1
    first = math.floor(low) - reach
    last = math.ceil(high) + reach
    if last - first > MOST_PIXELS:
        raise ValueError(f"the box is {length:g} pixels long, in an image of {limit}")
    return range(first, last), (low - first, high - first)
