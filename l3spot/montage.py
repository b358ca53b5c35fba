"""All the projections of a data set at a glance."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mtl.readers import load_npz

LOW, HIGH = 0.0, 1000.0  # HU that are shown black and white.
SIDE, LINE, COLUMNS = 256, 16, 6  # Pixels of a picture and of its name; pictures a row.


def draw(files: Mapping[str, Path]) -> bytes:
    """A PNG of the frontal projections of files by name, each scaled to fit.

    Raises:
      DataError: a file is broken.
    """
    columns = min(COLUMNS, len(files))
    rows = -(-len(files) // columns)
    sheet = Image.new("L", (columns * SIDE, rows * (SIDE + LINE)))
    canvas = ImageDraw.Draw(sheet)
    for i, (name, path) in enumerate(files.items()):
        left, top = i % columns * SIDE, i // columns * (SIDE + LINE)
        canvas.text((left + 3, top + 2), name[: SIDE // 7], fill=255)
        picture = grey(load_npz(path, ("frontal",))["frontal"])
        picture.thumbnail((SIDE - 2, SIDE - 2))
        sheet.paste(picture, (left + (SIDE - picture.width) // 2, top + LINE))
    content = io.BytesIO()
    sheet.save(content, "PNG")
    return content.getvalue()


def grey(hu: np.ndarray) -> Image.Image:
    """A picture of a projection [R, C] in HU."""
    share = ((hu - LOW) / (HIGH - LOW)).clip(0, 1)
    return Image.fromarray((255 * share).astype(np.uint8))
