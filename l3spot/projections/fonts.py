"""The font of pictures: DejaVu Sans, which matplotlib brings."""

import functools
import importlib.util
from pathlib import Path

from PIL import ImageFont

FILE = "mpl-data/fonts/ttf/DejaVuSans.ttf"


@functools.lru_cache
def sans(size: int) -> ImageFont.FreeTypeFont:
    """Returns the font with letters of a height in pixels.

    matplotlib is found, not imported, which would take half a second.
    """
    found = importlib.util.find_spec("matplotlib")
    assert found is not None
    assert found.submodule_search_locations is not None
    return ImageFont.truetype(Path(found.submodule_search_locations[0]) / FILE, size)
