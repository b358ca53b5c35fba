"""Draws phantoms.png: real projections, each beside phantoms with its field of view.

    python -m experiments.draw_phantoms --mips MIPS

MIPS holds the projections of two scans that l3spot.project wrote.
"""

import argparse
from typing import NamedTuple

import jax
import numpy as np
from PIL import Image

from experiments import DOCS
from l3spot.phantom import body, shadow, spine
from l3spot.phantom.draw import Ranges
from l3spot.projections import reader
from l3spot.projections.montage import grey


class View(NamedTuple):
    """What a scan shows, as far as one can tell; its phantoms show as much.

    low, high: mm below and above the middle of a vertebra. wide: mm that are drawn.
    plane: mm, how thick one is. arms: probability that they are raised.
    """

    vertebra: int
    low: float
    high: float
    wide: int
    plane: float
    arms: float


VIEWS = {
    "abdomen_portal.zip": View(spine.L3, -88.0, 116.0, 292, 1.0, 0.0),
    "wholebody_head.zip": View(spine.T1, -108.0, 308.0, 440, 4.25, 1.0),
}
PHANTOMS, HIGH, GAP = 3, 400, 6  # Phantoms beside each; pixels of a picture.


def main() -> None:
    """Draws as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mips", required=True)
    real = {e.id: e for e in reader.load(parser.parse_args().mips)}
    rows = [_row(real[name], view, jax.random.key(6 + i)) for i, (name, view)
            in enumerate(VIEWS.items())]  # fmt: skip
    sheet = Image.new("L", (max(r.width for r in rows), len(rows) * (HIGH + GAP)))
    for i, row in enumerate(rows):
        sheet.paste(row, (0, i * (HIGH + GAP)))
    sheet.save(DOCS / "phantoms.png")


def _row(example: reader.Example, view: View, key: jax.Array) -> Image.Image:
    rows, columns = example.frontal.shape

    @jax.jit
    def phantom(key: jax.Array) -> jax.Array:
        person, scan = body.draw(key, Ranges(arms_up=view.arms))
        x, _, z = person.blocks.centre[view.vertebra]
        scan = scan._replace(
            low=z + view.low - view.plane, high=z + view.high, step=1.0, x=x,
            pixel=0.98, sharpness=1.2, noise=8.0, streaks=0.0, clip=1500.0,
        )  # fmt: skip
        return shadow.project(key, person, scan, rows, columns)[0]

    keys = jax.random.split(key, PHANTOMS)
    seen = [_thick(np.asarray(phantom(k)), view.plane) for k in keys]
    left, wide = (columns - view.wide) // 2, round(HIGH * view.wide / rows)
    row = Image.new("L", ((PHANTOMS + 1) * (wide + GAP), HIGH))
    for i, hu in enumerate([example.frontal, *seen]):
        picture = grey(hu).crop((left, 0, left + view.wide, rows))
        picture = picture.resize((wide, HIGH), Image.Resampling.BILINEAR)
        row.paste(picture, (i * (wide + GAP), 0))
    return row


def _thick(hu: np.ndarray, plane: float) -> np.ndarray:
    """Rows of 1 mm as thick planes show them: each is a mean, then drawn in between."""
    picture, (rows, columns) = Image.fromarray(hu), hu.shape
    few = picture.resize((columns, round(rows / plane)), Image.Resampling.BOX)
    return np.asarray(few.resize((columns, rows), Image.Resampling.BILINEAR))


if __name__ == "__main__":
    main()
