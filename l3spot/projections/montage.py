"""Draws all projections of a dataset in one picture, with lines at L3."""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from l3spot.projections import fonts, names
from mtl.data.readers import load_npz

BLACK_HU, WHITE_HU = 0.0, 1000.0
PICTURE_PX, TEXT_PX = 256, 30  # Width and height of a picture; height of its text.
FONT_PX = 11
PICTURES_PER_ROW = 6
PICTURES_PER_PAGE = 20 * PICTURES_PER_ROW  # A page takes 26 MB of memory.
TEXT_COLOUR, LINE_COLOUR = "white", (255, 200, 0)


def file_name(page: int) -> str:
    """Returns the name of a page's file; pages count from 1."""
    return "montage.png" if page == 1 else f"montage-{page}.png"


def pages(files: Mapping[str, tuple[Path, str]]) -> Iterator[bytes]:
    """Yields PNG pages of frontal projections, each scaled to fit, with a line at L3.

    Args:
      files: for each scan's name, its .npz file and the description of its label.

    Raises:
      DataError: a file is broken.
    """
    names = list(files)
    for start in range(0, len(names), PICTURES_PER_PAGE):
        on_page = names[start : start + PICTURES_PER_PAGE]
        yield _draw_page({name: files[name] for name in on_page})


def _draw_page(files: Mapping[str, tuple[Path, str]]) -> bytes:
    columns = min(PICTURES_PER_ROW, len(files))
    rows = -(-len(files) // columns)
    page = Image.new("RGB", (columns * PICTURE_PX, rows * (PICTURE_PX + TEXT_PX)))
    canvas = ImageDraw.Draw(page)
    characters = PICTURE_PX // 7
    font = fonts.sans(FONT_PX)
    for i, (name, (path, label)) in enumerate(files.items()):
        left, top = i % columns * PICTURE_PX, i // columns * (PICTURE_PX + TEXT_PX)
        first, second = names.text(name)[:characters], label[:characters]
        canvas.text((left + 3, top + 2), first, TEXT_COLOUR, font)
        canvas.text((left + 3, top + 15), second, LINE_COLOUR, font)
        arrays = load_npz(path, ("frontal", "z", "x", "l3_z"))
        picture = _scale_to_fit(grey(arrays["frontal"]), arrays["z"], arrays["x"])
        x, y = left + (PICTURE_PX - picture.width) // 2, top + TEXT_PX
        page.paste(picture, (x, y))
        if np.isfinite(arrays["l3_z"]):
            z = arrays["z"]
            fraction = float((z[0] - arrays["l3_z"]) / (z[0] - z[-1]))
            line_y = y + round(fraction * (picture.height - 1))
            ends = (x, line_y), (x + picture.width - 1, line_y)
            canvas.line(ends, fill=LINE_COLOUR)
    content = io.BytesIO()
    page.save(content, "PNG")
    return content.getvalue()


def _scale_to_fit(picture: Image.Image, z: np.ndarray, x: np.ndarray) -> Image.Image:
    """Scales a picture to the available size, with square millimetres."""
    height_mm, width_mm = float(z[0] - z[-1]), float(x[-1] - x[0])
    scale = (PICTURE_PX - 2) / max(height_mm, width_mm)
    size = max(1, round(scale * width_mm)), max(1, round(scale * height_mm))
    return picture.resize(size)


def grey(hu: np.ndarray) -> Image.Image:
    """Returns a grey picture of a projection [R, C] in HU."""
    brightness = ((hu - BLACK_HU) / (WHITE_HU - BLACK_HU)).clip(0, 1)
    return Image.fromarray((255 * brightness).astype(np.uint8))
