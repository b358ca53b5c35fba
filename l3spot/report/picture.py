"""Draws the picture of a result: frontal and sagittal view, with all vertebrae.

Pillow draws it faster than matplotlib, and is imported sooner.
"""

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from l3spot.projections import fonts
from l3spot.projections.mip import Projection
from l3spot.report.result import IN_VIEW, L3Result
from l3spot.vertebrae.slab import Slab

LOW_HU, HIGH_HU = -100.0, 900.0  # Black and white in the frontal projection.
SLAB_LOW_HU, SLAB_HIGH_HU = -150.0, 450.0  # Black and white in the sagittal slab.
SLAB_FRONT_MM, SLAB_BACK_MM = 95.0, 60.0  # Of the sagittal view, from the spine.
FOUND_COLOUR, OTHER_COLOUR = (214, 39, 40), (255, 215, 0)
ABSENT_COLOUR, CURVE_COLOUR, TEXT_COLOUR = (153, 153, 153), (31, 119, 180), (0, 0, 0)

# Pixels of the picture.
HEIGHT = 460  # Of the views.
LEFT, TOP, RIGHT, BOTTOM, GAP = 62, 36, 14, 40, 10  # Around and between the views.
CORRELATION_WIDTH = 140
CORRELATION_LIMIT = 1.2  # At the right edge of the curve's box.
TITLE_SIZE, LABEL_SIZE, LEVEL_SIZE = 14, 13, 11  # Of letters.
TICKS_MM = (10, 20, 50, 100, 200, 500)
MOST_TICKS = 8
SCALE = 2  # Lines are drawn in a picture so many times as large, which smooths them.


class Box(NamedTuple):
    """A view in the picture: its left edge and width in pixels, and what it spans.

    low, high: at the left and the right edge, such as mm. rows_mm: the height.
    """

    left: int
    width: int
    low: float
    high: float
    rows_mm: float

    def place(self, x: float, row_mm: float) -> tuple[float, float]:
        """Returns a place in the large picture."""
        across = self.left + (x - self.low) / (self.high - self.low) * self.width
        return SCALE * across, SCALE * (TOP + row_mm / self.rows_mm * HEIGHT)

    def line(self, row_mm: float) -> list[tuple[float, float]]:
        """Returns the ends of a row."""
        return [self.place(self.low, row_mm), self.place(self.high, row_mm)]


def draw_png(name: str, projection: Projection, result: L3Result) -> bytes:
    """Draws the views with the vertebra's row, and the correlation.

    Args:
      name: of the scan, as `names.text` returns it.
      projection: of the scan.
      result: of the scan.
    """
    boxes = _boxes(projection, result)
    width = boxes[-1].left + boxes[-1].width + RIGHT
    size = SCALE * width, SCALE * (TOP + HEIGHT + BOTTOM)
    large = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(large)
    large.paste(_frontal(projection, boxes[0]), _corner(boxes[0]))
    if result.spine is not None:
        large.paste(_sagittal(result.spine.slab, boxes[1]), _corner(boxes[1]))
        _draw_levels(draw, boxes[0], projection, result)
        _draw_bodies(draw, boxes[1], projection, result)
    _draw_correlation(draw, boxes[-1], result)
    for box in boxes:
        _draw_row(draw, box, result)
    picture = large.reduce(SCALE)
    _write_texts(ImageDraw.Draw(picture), boxes, name, projection, result)
    content = io.BytesIO()
    # Higher levels take up to four times as long, for files a tenth smaller.
    picture.save(content, format="png", compress_level=2)
    return content.getvalue()


def _boxes(projection: Projection, result: L3Result) -> list[Box]:
    """Returns the boxes of the frontal view, the sagittal one, and the correlation."""
    rows, columns = projection.frontal.shape
    per_mm = HEIGHT / rows
    spans = [(0.0, float(columns), int(np.clip(per_mm * columns, 200, 1200)))]
    if result.spine is not None:
        heights = [body.z_mm for body in result.spine.chain.bodies]
        slab = result.spine.slab
        used = (slab.z <= max(heights)) & (slab.z >= min(heights))
        middle = float(np.median(slab.spine_y[used]))
        wide = int(np.clip(per_mm * (SLAB_FRONT_MM + SLAB_BACK_MM), 100, 600))
        spans.append((middle - SLAB_FRONT_MM, middle + SLAB_BACK_MM, wide))
    spans.append((-CORRELATION_LIMIT, CORRELATION_LIMIT, CORRELATION_WIDTH))
    boxes, left = [], LEFT
    for low, high, wide in spans:
        boxes.append(Box(left, wide, low, high, float(rows)))
        left += wide + GAP
    return boxes


def _corner(box: Box) -> tuple[int, int]:
    return SCALE * box.left, SCALE * TOP


def frontal_grey(projection: Projection, high_hu: float = HIGH_HU) -> np.ndarray:
    """Returns the frontal projection as grey values [R, C] from 0 to 1, at high_hu."""
    return np.clip((projection.frontal - LOW_HU) / (high_hu - LOW_HU), 0, 1)


def sagittal_grey(slab: Slab, pixel_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns a sagittal picture around the spine, without marks.

    Args:
      slab: of the scan.
      pixel_mm: distance between columns; rows stay as they are.

    Returns:
      y [C] of the columns, mm, LPS, and grey values [R, C] from 0 to 1.
    """
    middle_mm = float(np.median(slab.spine_y))
    first_mm = max(middle_mm - SLAB_FRONT_MM, slab.y[0])
    last_mm = min(middle_mm + SLAB_BACK_MM, slab.y[-1])
    y = np.arange(first_mm, last_mm + 1e-6, pixel_mm)
    grey = _slab_grey(slab)
    return y, np.stack([np.interp(y, slab.y, row) for row in grey])


def _slab_grey(slab: Slab) -> np.ndarray:
    return np.clip((slab.hu - SLAB_LOW_HU) / (SLAB_HIGH_HU - SLAB_LOW_HU), 0, 1)


def _image(grey: np.ndarray) -> Image.Image:
    return Image.fromarray((255 * grey).astype(np.uint8))


def _frontal(projection: Projection, box: Box) -> Image.Image:
    grey = _image(frontal_grey(projection))
    size = SCALE * box.width, SCALE * HEIGHT
    return grey.resize(size, Image.Resampling.BILINEAR)


def _sagittal(slab: Slab, box: Box) -> Image.Image:
    """Returns the slab between the limits of a box, black where there is none."""
    grey = _image(_slab_grey(slab))
    size = SCALE * box.width, SCALE * HEIGHT
    spacing = float(slab.y[1] - slab.y[0])
    first = (box.low - (float(slab.y[0]) - spacing / 2)) / spacing
    step = (box.high - box.low) / spacing / size[0]
    return grey.transform(
        size,
        Image.Transform.AFFINE,
        (step, 0, first, 0, grey.height / size[1], 0),
        Image.Resampling.BILINEAR,
    )


def _draw_levels(
    draw: ImageDraw.ImageDraw, box: Box, projection: Projection, result: L3Result
) -> None:
    """Marks the vertebrae on the spine of the frontal view."""
    assert result.spine is not None
    spacing = float(projection.x[1] - projection.x[0])
    for level in result.levels:
        x = (result.spine.x_mm(level.z_mm) - float(projection.x[0])) / spacing + 0.5
        place = box.place(x, float(projection.z[0]) + 0.5 - level.z_mm)
        chosen = level.name == result.level and result.status == IN_VIEW
        draw.circle(place, 2 * SCALE, fill=FOUND_COLOUR if chosen else OTHER_COLOUR)


class _Mark(NamedTuple):
    """A body in the sagittal view: its colour, name, and the ends of its end plates."""

    colour: tuple[int, int, int]
    text: str
    ends: list[tuple[float, float]]
    name_place: tuple[float, float]


def _marks(box: Box, projection: Projection, result: L3Result) -> list[_Mark]:
    assert result.spine is not None
    top_mm = float(projection.z[0]) + 0.5
    named = {level.z_mm: level.name for level in result.levels}
    marks = []
    for body in result.spine.chain.bodies:
        text = named.get(body.z_mm, "")
        chosen = text == result.level and result.status == IN_VIEW
        y, z = np.stack([body.upper, body.lower], 1)
        # The end plate of a body that an end of the scan cuts is beyond the picture.
        rows = top_mm - z
        seen = np.clip(rows, 0, box.rows_mm)
        places = zip(np.interp(seen, rows, y), seen, strict=True)
        ends = [box.place(a, row) for a, row in places]
        beside = box.place(y.mean() + 0.75 * body.height_mm, top_mm - z.mean())
        colour = FOUND_COLOUR if chosen else OTHER_COLOUR
        marks.append(_Mark(colour, text, ends, beside))
    return marks


def _draw_bodies(
    draw: ImageDraw.ImageDraw, box: Box, projection: Projection, result: L3Result
) -> None:
    """Draws each vertebra's axis in the sagittal view, between its end plates."""
    for mark in _marks(box, projection, result):
        draw.line(mark.ends, fill=mark.colour, width=SCALE + 1)


def _draw_correlation(draw: ImageDraw.ImageDraw, box: Box, result: L3Result) -> None:
    corners = box.place(box.low, 0), box.place(box.high, box.rows_mm)
    zero = [box.place(0, 0), box.place(0, box.rows_mm)]
    draw.line(zero, fill=ABSENT_COLOUR, width=SCALE)
    rows = np.clip(result.offsets.row_mm, 0, box.rows_mm)
    values = np.clip(result.estimate.correlation, box.low, box.high)
    curve = [box.place(x, row) for x, row in zip(values, rows, strict=True)]
    draw.line(curve, fill=CURVE_COLOUR, width=SCALE)
    draw.rectangle(corners, outline=TEXT_COLOUR, width=SCALE)


def _draw_row(draw: ImageDraw.ImageDraw, box: Box, result: L3Result) -> None:
    """Draws the vertebra's row: a line, or dots if it is not in view."""
    (left, y), (right, _) = box.line(result.row_mm)
    if result.status == IN_VIEW:
        draw.line([(left, y), (right, y)], fill=FOUND_COLOUR, width=SCALE)
        return
    for x in np.arange(left, right, 6 * SCALE):
        draw.line([(x, y), (x + 2 * SCALE, y)], fill=ABSENT_COLOUR, width=SCALE)


def _write_texts(
    draw: ImageDraw.ImageDraw,
    boxes: Sequence[Box],
    name: str,
    projection: Projection,
    result: L3Result,
) -> None:
    """Writes the title, the names of the vertebrae, and what the axes show."""
    title = f"{name}: {_title(result)}" if name else _title(result)
    font, bottom = fonts.sans(LABEL_SIZE), TOP + HEIGHT
    draw.text((LEFT, TOP - 10), title, TEXT_COLOUR, fonts.sans(TITLE_SIZE), "ls")
    if result.spine is not None:
        for mark in _marks(boxes[1], projection, result):
            place = mark.name_place[0] / SCALE, mark.name_place[1] / SCALE
            draw.text(
                place, mark.text, mark.colour, fonts.sans(LEVEL_SIZE), "lm",
                stroke_width=1, stroke_fill=TEXT_COLOUR,
            )  # fmt: skip
    rows = boxes[0].rows_mm
    step = next((t for t in TICKS_MM if rows / t <= MOST_TICKS), TICKS_MM[-1])
    for row in np.arange(0, rows + 1e-6, step):
        y = TOP + row / rows * HEIGHT
        draw.line([(LEFT - 5, y), (LEFT - 1, y)], fill=TEXT_COLOUR)
        draw.text((LEFT - 8, y), f"{row:g}", TEXT_COLOUR, font, "rm")
    draw.text((LEFT, bottom + 8), "mm from the top", TEXT_COLOUR, font, "lt")
    last = boxes[-1]
    middle = last.left + last.width / 2
    for value in (-1, 0, 1):
        x = middle + value / CORRELATION_LIMIT * last.width / 2
        draw.line([(x, bottom), (x, bottom + 4)], fill=TEXT_COLOUR)
        draw.text((x, bottom + 7), str(value), TEXT_COLOUR, font, "mt")
    draw.text((middle, bottom + 22), "correlation", TEXT_COLOUR, font, "mt")


def _title(result: L3Result) -> str:
    if result.status != IN_VIEW:
        return f"{result.level} is not in view: confidence {result.confidence:.2f}"
    numbering = ""
    if result.spine is not None:
        numbering = f" (numbering: {result.spine.numbering.basis})"
    return (
        f"{result.level} at z = {result.z_mm:.1f} mm, "
        f"confidence {result.confidence:.2f}{numbering}"
    )
