"""Draws phantoms.png: real projections, each beside phantoms with its field of view.

python -m docs.phantoms --mips MIPS     # MIPS: what l3spot.project left of two scans
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from l3spot import examples
from l3spot.montage import grey
from l3spot.phantom import body, shadow
from l3spot.phantom.draw import Ranges

# Of each scan: mm below and above the middle of L3, as far as one can tell.
VIEWS = {"abdomen_portal.zip": (-88.0, 116.0), "wholebody_head.zip": (225.0, 641.0)}
PHANTOMS, HIGH, GAP = 3, 320, 6  # Phantoms beside each; pixels of a picture.


def main() -> None:
    """Draws as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mips", required=True)
    real = {e.id: e for e in examples.load(parser.parse_args().mips)}
    rows = [_row(real[name], *view, number) for number, (name, view)
            in enumerate(VIEWS.items())]  # fmt: skip
    sheet = Image.new("L", (max(r.width for r in rows), len(rows) * (HIGH + GAP)))
    for i, row in enumerate(rows):
        sheet.paste(row, (0, i * (HIGH + GAP)))
    sheet.save(Path(__file__).with_suffix(".png"))


def _row(example: examples.Example, low: float, high: float, number: int) -> Image:
    rows, columns = example.frontal.shape
    step = float(np.abs(np.diff(example.z)).mean()) * (4 if number else 1.6)

    @jax.jit
    def phantom(key: jax.Array) -> jax.Array:
        person, scan = body.draw(key, Ranges(arms_up=float(number)))
        scan = scan._replace(low=low, high=high, step=step)
        scan = scan._replace(sharpness=jnp.float32(1 + 0.2 * number), clip=1500.0)
        return shadow.project(key, person, scan, rows, columns)[0]

    keys = jax.random.split(jax.random.key(6 + number), PHANTOMS)
    pictures = [grey(example.frontal), *(grey(np.asarray(phantom(k))) for k in keys)]
    wide = round(HIGH * columns / rows)
    row = Image.new("L", (len(pictures) * (wide + GAP), HIGH))
    for i, picture in enumerate(pictures):
        row.paste(picture.resize((wide, HIGH), Image.Resampling.BILINEAR),
                  (i * (wide + GAP), 0))  # fmt: skip
    return row


if __name__ == "__main__":
    main()
