"""Pictures of single faces with their points: many and fast, so by Pillow alone."""

import io

import numpy as np
from PIL import Image, ImageDraw

from structured.faces import crops
from structured.faces.crops import Crop

SIDE = 480  # Pixels of a picture.
VIEW = Crop(SIDE, margin=0.2, square=True)
BEYOND = 48  # The grey of what lies outside of the image.
DOT = 3  # The radius of a point, in pixels.
# As in `figures.faces`; Pillow has no other names for them.
RED, BLUE, GREEN = "#ff0000", "#00bfff", "#00ff00"


def view(grey: np.ndarray, box: np.ndarray) -> np.ndarray:
    """What a picture shows of an image uint8 [H, W]: a box and some more [SIDE, SIDE].

    Raises:
      ValueError: the box misses the image, or is enormous.
    """
    frame = crops.frame(box, VIEW)
    shown = crops.cut(grey, frame, VIEW)
    height, width = grey.shape
    corners = np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]])
    low, high = np.rint(_pixels(corners, frame) + 0.5).clip(0, SIDE).astype(int)
    # Beyond the image the crop repeats its edge, which would look like a broken image.
    picture = np.full_like(shown, BEYOND)
    inside = slice(low[1], high[1]), slice(low[0], high[0])
    picture[inside] = shown[inside]
    return picture


def draw(
    shown: np.ndarray, box: np.ndarray, points: np.ndarray, truth: np.ndarray | None
) -> bytes:
    """A PNG of what `view` gave, with points [P, 2], in pixels of the image from 0.

    With the truth, likewise [P, 2]: blue, and red segments from prediction to truth.
    """
    frame = crops.frame(box, VIEW)
    picture = Image.fromarray(shown).convert("RGB")
    canvas = ImageDraw.Draw(picture)
    dots = [(_pixels(points, frame), GREEN)]
    if truth is not None:
        dots.insert(0, (_pixels(truth, frame), BLUE))
        for ends in np.stack([xy for xy, _ in dots], axis=1):
            canvas.line(ends.ravel().tolist(), RED, width=2)
    for xy, color in dots:
        for x, y in xy.tolist():
            canvas.ellipse((x - DOT, y - DOT, x + DOT, y + DOT), color)
    content = io.BytesIO()
    # Half the time of the default, and hardly larger.
    picture.save(content, "PNG", compress_level=3)
    return content.getvalue()


def _pixels(points: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Points [P, 2] of the image as pixels of its view; both count from 0."""
    share = (points - frame[:2]) / frame[2:] + VIEW.margin
    return share / (1 + 2 * VIEW.margin) * SIDE - 0.5
