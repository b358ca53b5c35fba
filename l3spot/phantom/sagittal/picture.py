"""Renders random sagittal slabs of the spine, to train the network of vertebrae.

A slab is the mean HU over the middle 14 mm of the spine. In the picture, columns run
towards the back (y) and rows towards the feet (-z). Bodies have end plates, walls and a
graded, textured core. Discs are between them; the canal, the processes, vessels and
other soft tissue are around them. All ranges are our choice, for adults and, with
`size`, for children.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from l3spot.phantom.draw import Draw, PhantomRanges
from l3spot.phantom.sagittal import bones
from l3spot.phantom.sagittal.soft_tissue import blend, soft_tissue
from l3spot.phantom.sagittal.spine import Vertebrae, make_spine, place

PIXEL_MM = 1.5  # Of pictures for training.


def render(
    key: Array, rows: int, columns: int, pixel_mm: float
) -> tuple[Array, Vertebrae]:
    """Draws a spine and renders its slab.

    Args:
      key: of all random numbers.
      rows: of the picture.
      columns: of the picture.
      pixel_mm: size of a pixel.

    Returns:
      HU [rows, columns]; and the bodies, with the middle of the first pixel as origin,
      so that z is negative within the picture.
    """
    draw = Draw(key, PhantomRanges())
    size = draw(0.5, 1.18)
    spine = make_spine(draw, size)
    spine = place(draw, spine, rows * pixel_mm, columns * pixel_mm)
    y = pixel_mm * jnp.arange(columns)[None, :] + jnp.zeros((rows, 1))
    z = -pixel_mm * jnp.arange(rows)[:, None] + jnp.zeros((1, columns))
    edge = pixel_mm * draw(0.5, 0.9)
    hu = soft_tissue(draw, spine, size, y, z, pixel_mm)
    hu = bones.paint(draw, hu, spine, size, y, z, edge)
    return acquire(draw, hu, spine, size, y, z, pixel_mm), spine


def acquire(
    draw: Draw,
    hu: Array,
    spine: Vertebrae,
    size: Array,
    y: Array,
    z: Array,
    pixel_mm: float,
) -> Array:
    """Returns HU as a scanner with thick slices, noise and a small field shows them."""
    rows, columns = hu.shape
    bone = draw(0.75, 1.15)
    hu = jnp.where(hu > 80, 80 + bone * (hu - 80), hu)
    slice_mm = jnp.exp(draw(np.log(0.8), np.log(6.0)))
    at = pixel_mm * jnp.arange(rows)
    middles = slice_mm * (jnp.arange(2 * rows) + draw(0, 1))
    thick = jnp.maximum(slice_mm * draw(0.8, 1.2), pixel_mm)
    box = jnp.clip((thick + pixel_mm) / 2 - jnp.abs(middles[:, None] - at), 0, pixel_mm)
    box = box / jnp.maximum(box.sum(1, keepdims=True), 1e-6)
    hat = jnp.clip(1 - jnp.abs(at[:, None] - middles) / slice_mm, 0, 1)
    hat = hat / jnp.maximum(hat.sum(1, keepdims=True), 1e-6)
    noise = draw(2, 25) * jnp.sqrt(1.5 / jnp.maximum(slice_mm, 1.0))
    noise_key = jax.random.key(draw(0, 2**30).astype(int))
    white = jax.random.normal(noise_key, (2 * rows, columns))
    white = (white + jnp.roll(white, 1, 1)) / np.sqrt(2)
    slow = draw(0, 10) * draw.normal((192,))[:, None]
    hu = hat @ (box @ hu + noise * white) + slow[:rows] * draw.chance(0.3)
    kernel = jnp.array([0.25, 0.5, 0.25])
    padded = jnp.pad(hu, [(0, 0), (1, 1)], mode="edge")
    blurred = jax.vmap(lambda row: jnp.convolve(row, kernel, "valid"))(padded)
    hu = blend(hu, blurred, draw(0, 1))
    # The ends of the scan, and a small field of view.
    low, high = -z[-1, 0] * draw(0.7, 1.6), -z[-1, 0] * draw(-0.6, 0.3)
    left, right = y[0, -1] * draw(-0.6, 0.2), y[0, -1] * draw(0.8, 1.6)
    outside = (-z > low) | (-z < high) | (y < left) | (y > right)
    return jnp.where(outside, -1024.0, jnp.clip(hu, -1024, 3071))
