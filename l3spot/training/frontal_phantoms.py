"""Draws frontal projections of phantoms, and says where their vertebrae are."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from l3spot.phantom import body, shadow
from l3spot.phantom.draw import PhantomRanges
from l3spot.phantom.shapes import AIR_HU, Blocks
from l3spot.phantom.spine import L6, T1

ROWS_MM, COLUMNS_MM = 700, 300  # Of a projection, with 1 mm pixels.
LEVELS = range(T1 + 8, L6 + 1)  # From T9 down; absent vertebrae are left out.
S1 = L6 + 1
MARGIN_MM = 12.0  # Vertebrae nearer to an end of the scan are left out.
# Errors of the positions in use, as standard deviations or a range.
ROW_ERROR_MM, COLUMN_ERROR_MM, PITCH_ERROR = 2.0, 3.0, 0.07


class DrawnFrontal(NamedTuple):
    """A frontal projection of a phantom; its arrays are on the host.

    Attributes:
      frontal: HU [ROWS_MM, COLUMNS_MM].
      top_mm: z of the first row.
      bodies: of the vertebrae.
      s1_mm: [3], the middle of S1.
      scan: the ends and the middle of the scan.
      rib_pairs: their number.
    """

    frontal: jax.Array
    top_mm: jax.Array
    bodies: Blocks
    s1_mm: jax.Array
    scan: body.Scan
    rib_pairs: jax.Array


def draw(key: jax.Array, ranges: PhantomRanges) -> DrawnFrontal:
    """Draws a phantom, and its frontal projection."""
    return jax.device_get(_draw(key, ranges))


@partial(jax.jit, static_argnums=1)
def _draw(key: jax.Array, ranges: PhantomRanges) -> DrawnFrontal:
    body_key, image_key = jax.random.split(key)
    person, scan = body.draw(body_key, ranges)
    frontal, top_mm = shadow.project(image_key, person, scan, ROWS_MM, COLUMNS_MM)
    s1 = person.sacrum.centre[0]
    return DrawnFrontal(frontal, top_mm, person.blocks, s1, scan, person.rib_pairs)


def places(
    p: DrawnFrontal, rng: np.random.Generator
) -> Iterator[tuple[int, float, float, float]]:
    """Yields each level in view with about its row, column and distance to others."""
    present = np.append(np.asarray(p.bodies.matter.rim_hu) > AIR_HU, True)
    levels = [level for level in (*LEVELS, S1) if present[level]]
    x, _, z = np.concatenate([p.bodies.centre, [p.s1_mm]])[levels].T
    low_mm, high_mm = float(p.scan.low_mm), float(p.scan.high_mm)
    middle = (COLUMNS_MM - 1) / 2 - float(p.scan.x_mm)
    pitches = -np.gradient(z)
    for i in np.flatnonzero((z > low_mm + MARGIN_MM) & (z < high_mm - MARGIN_MM)):
        row = float(p.top_mm) - z[i] + ROW_ERROR_MM * rng.normal()
        column = x[i] + middle + COLUMN_ERROR_MM * rng.normal()
        pitch = pitches[i] * (1 + PITCH_ERROR * rng.uniform(-1, 1))
        yield levels[i], row, column, pitch
