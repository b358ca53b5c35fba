"""Draws phantoms.png: real projections beside phantoms with the same field of view.

    python -m experiments.draw_phantoms --mips MIPS

MIPS is a folder of l3spot.project with the projections of two scans.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags
from PIL import Image

from experiments import DOCS
from l3spot.phantom import body, shadow, spine
from l3spot.phantom.draw import PhantomRanges
from l3spot.projections import projection_files
from l3spot.projections.montage import grey
from mtl.host import launch
from mtl.host.errors import DataError


class View(NamedTuple):
    """The field of view of a scan.

    Attributes:
      vertebra: a level of `spine`.
      low_mm: lower end, above the vertebra's middle.
      high_mm: upper end, above the vertebra's middle.
      width_mm: the drawn part.
      slice_mm: thickness of a slice.
      arms_up: probability of raised arms.
    """

    vertebra: int
    low_mm: float
    high_mm: float
    width_mm: int
    slice_mm: float
    arms_up: float


VIEWS = {
    "abdomen_portal.zip": View(spine.L3, -88.0, 116.0, 292, 1.0, 0.0),
    "wholebody_head.zip": View(spine.T1, -108.0, 308.0, 440, 4.25, 1.0),
}
PHANTOMS = 3  # Beside each projection.
HEIGHT_PX, GAP_PX = 400, 6  # Of a picture.


def draw(arguments: Sequence[str]) -> str:
    """Draws the figure from command-line flags and returns its path.

    Raises:
      DataError: the folder lacks a projection.
    """
    launch.reject_extra_args(arguments)
    real = {e.id: e for e in projection_files.load(flags.FLAGS.mips)}
    missing = VIEWS.keys() - real.keys()
    if missing:
        raise DataError(f"--mips={flags.FLAGS.mips} lacks {', '.join(sorted(missing))}")
    rows = [_row(real[name], view, jax.random.key(6 + i)) for i, (name, view)
            in enumerate(VIEWS.items())]  # fmt: skip
    sheet = Image.new(
        "L", (max(r.width for r in rows), len(rows) * (HEIGHT_PX + GAP_PX))
    )
    for i, row in enumerate(rows):
        sheet.paste(row, (0, i * (HEIGHT_PX + GAP_PX)))
    path = DOCS / "phantoms.png"
    sheet.save(path)
    return str(path)


def _row(example: projection_files.Example, view: View, key: jax.Array) -> Image.Image:
    rows, columns = example.frontal.shape

    @jax.jit
    def phantom(key: jax.Array) -> jax.Array:
        person, scan = body.draw(key, PhantomRanges(arms_up=view.arms_up))
        x, _, z = person.blocks.centre[view.vertebra]
        settings: dict[str, Any] = dict(
            low_mm=z + view.low_mm - view.slice_mm, high_mm=z + view.high_mm,
            slice_mm=1.0, x_mm=x, pixel_mm=0.98, sharpness_mm=1.2, noise_hu=8.0,
            streaks_hu=0.0, max_hu=1500.0,
        )  # fmt: skip
        scan = scan._replace(**settings)
        return shadow.project(key, person, scan, rows, columns)[0]

    keys = jax.random.split(key, PHANTOMS)
    drawn = [_thick(np.asarray(phantom(k)), view.slice_mm) for k in keys]
    left, width_px = (
        (columns - view.width_mm) // 2,
        round(HEIGHT_PX * view.width_mm / rows),
    )
    row = Image.new("L", ((PHANTOMS + 1) * (width_px + GAP_PX), HEIGHT_PX))
    for i, hu in enumerate([example.frontal, *drawn]):
        picture = grey(hu).crop((left, 0, left + view.width_mm, rows))
        picture = picture.resize((width_px, HEIGHT_PX), Image.Resampling.BILINEAR)
        row.paste(picture, (i * (width_px + GAP_PX), 0))
    return row


def _thick(hu: np.ndarray, slice_mm: float) -> np.ndarray:
    """Averages rows of 1 mm over thick slices, and interpolates them."""
    picture, (rows, columns) = Image.fromarray(hu), hu.shape
    slices = picture.resize((columns, round(rows / slice_mm)), Image.Resampling.BOX)
    return np.asarray(slices.resize((columns, rows), Image.Resampling.BILINEAR))


if __name__ == "__main__":
    flags.DEFINE_string("mips", None, "A folder of l3spot.project.")
    launch.launch(draw, "mips")
