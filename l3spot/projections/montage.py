"""All the projections of a data set at a glance, with L3 where it is known."""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mtl.data.readers import load_npz

LOW, HIGH = 0.0, 1000.0  # HU that are shown black and white.
SIDE, LINE, COLUMNS = 256, 30, 6  # Pixels of a picture and of its text; pictures a row.
PAGE = 20 * COLUMNS  # Pictures of a page: 26 MB, however many pages there are.
COLOUR = (255, 200, 0)


def pages(files: Mapping[str, tuple[Path, str]]) -> Iterator[bytes]:
    """PNGs of frontal projections, each scaled to fit, with a line at L3.

    Args:
      files: for each name the .npz, and what is known of L3, in words.

    Raises:
      DataError: a file is broken.
    """
    names = list(files)
    for start in range(0, len(names), PAGE):
        yield _page({name: files[name] for name in names[start : start + PAGE]})


def _page(files: Mapping[str, tuple[Path, str]]) -> bytes:
    columns = min(COLUMNS, len(files))
    rows = -(-len(files) // columns)
    sheet = Image.new("RGB", (columns * SIDE, rows * (SIDE + LINE)))
    canvas = ImageDraw.Draw(sheet)
    for i, (name, (path, told)) in enumerate(files.items()):
        left, top = i % columns * SIDE, i // columns * (SIDE + LINE)
        canvas.text((left + 3, top + 2), name[: SIDE // 7], fill="white")
        canvas.text((left + 3, top + 15), told[: SIDE // 7], fill=COLOUR)
        arrays = load_npz(path, ("frontal", "z", "x", "l3_z"))
        picture = _to_scale(grey(arrays["frontal"]), arrays["z"], arrays["x"])
        corner = left + (SIDE - picture.width) // 2, top + LINE
        sheet.paste(picture, corner)
        if np.isfinite(arrays["l3_z"]):
            z = arrays["z"]
            share = float((z[0] - arrays["l3_z"]) / (z[0] - z[-1]))
            at = corner[1] + round(share * (picture.height - 1))
            ends = (corner[0], at), (corner[0] + picture.width - 1, at)
            canvas.line(ends, fill=COLOUR)
    content = io.BytesIO()
    sheet.save(content, "PNG")
    return content.getvalue()


def _to_scale(picture: Image.Image, z: np.ndarray, x: np.ndarray) -> Image.Image:
    """As large as fits, a mm as high as it is wide."""
    high, wide = float(z[0] - z[-1]), float(x[-1] - x[0])
    scale = (SIDE - 2) / max(high, wide)
    return picture.resize((max(1, round(scale * wide)), max(1, round(scale * high))))


def grey(hu: np.ndarray) -> Image.Image:
    """A picture of a projection [R, C] in HU."""
    share = ((hu - LOW) / (HIGH - LOW)).clip(0, 1)
    return Image.fromarray((255 * share).astype(np.uint8))
