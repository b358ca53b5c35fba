"""Soft tissue around a spine in the sagittal plane: fat, muscle, bowel, vessels."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from l3spot.phantom.draw import Draw
from l3spot.phantom.sagittal.spine import Vertebrae, curve

AIR_HU = -1000.0


def field(
    draw: Draw, shape: tuple[int, ...], cell_mm: ArrayLike, pixel_mm: float
) -> Array:
    """Draws a smooth random field [R, C] of about unit variance."""
    grid = draw.normal((12, 8))
    r = (jnp.arange(shape[0]) * pixel_mm / cell_mm)[:, None] + jnp.zeros((1, shape[1]))
    c = (jnp.arange(shape[1]) * pixel_mm / cell_mm)[None] + jnp.zeros((shape[0], 1))
    at = [r % 11, c % 7]
    return 1.3 * jax.scipy.ndimage.map_coordinates(grid, at, order=1, mode="wrap")


def rise(s: Array, w: Array | float) -> Array:
    """Rises smoothly from 0 at -w to 1 at w."""
    t = jnp.clip((s + w) / (2 * w), 0, 1)
    return t * t * (3 - 2 * t)


def blend(hu: Array, new: Array | float, alpha: Array) -> Array:
    """Replaces the share alpha of HU by new HU."""
    return hu + alpha * (new - hu)


def soft_tissue(
    draw: Draw, spine: Vertebrae, size: Array, y: Array, z: Array, pixel_mm: float
) -> Array:
    """Returns HU of all that is no bone."""
    u = y - curve(spine, spine.centre[:, 0], z[:, :1])
    half = curve(spine, spine.half_depth, z[:, :1])
    make = partial(field, draw, y.shape, pixel_mm=pixel_mm)
    mottled = rise(make(draw(8, 25)) + draw(-1.0, 1.5), 0.3)
    muscle, fat = draw(35, 70), draw(-115, -85)
    hu = blend(fat + 8 * make(5.0), muscle + 6 * make(6.0), mottled)
    liver = (z - draw(-250, 60)) * draw(0.7, 1.3) + 6 * make(20.0)
    hu = blend(hu, draw(50, 130), rise(liver, 4.0) * draw.chance(0.4))
    bowel = rise(make(draw(8, 18)) - draw(1.0, 2.2), 0.2)
    filling = jnp.where(draw.chance(0.6), draw(-900, -200), draw(100, 400))
    hu = jnp.where(u < -half - 8, blend(hu, filling, bowel), hu)
    # Behind the canal: muscle with fat, then fat, skin and air.
    canal = size * draw(14, 20)
    behind = u - half - canal
    share = rise(make(draw(6, 15)) + draw(-0.8, 1.5), 0.4)
    hu = jnp.where(behind > 0, blend(fat, muscle, share), hu)
    muscles, skin = size * draw(25, 60), draw(5, 45)
    hu = blend(hu, fat, rise(behind - muscles + 3 * make(30.0), 3.0))
    hu = blend(hu, AIR_HU, rise(behind - muscles - skin, 1.0))
    table = jnp.abs(behind - muscles - skin - draw(2, 15)) < 1.5
    hu = jnp.where(table, jnp.maximum(hu, draw(-600, 100)), hu)
    hu = _vessel(draw, hu, u + half, size, make)
    sac = rise(canal / 2 - jnp.abs(behind + canal / 2), 1.0)
    hu = blend(hu, draw(8, 60) + 4 * make(4.0), sac)
    epidural = rise(1.5 - jnp.abs(behind + draw(0, 3)), 1.0) * draw(0, 0.8)
    return blend(hu, fat, epidural)


def _vessel(draw: Draw, hu: Array, before: Array, size: Array, make: partial) -> Array:
    """Draws aorta or vena cava at `before` mm, which is 0 at the bodies' front."""
    gap, width = size * draw(1, 6), size * draw(12, 26)
    inside = rise(width / 2 - jnp.abs(before + gap + width / 2 + 2 * make(40.0)), 1.2)
    blood = jnp.where(draw.chance(0.5), draw(110, 380), draw(30, 60))
    present = draw.chance(0.7) * draw(0.4, 1.0)  # The slab also holds its neighbours.
    hu = blend(hu, blood, inside * present)
    wall = jnp.exp(-(((before + gap + width * draw.chance(0.5)) / 1.3) ** 2))
    calcified = rise(make(6.0) - draw(0.8, 2.5), 0.3) * draw.chance(0.5)
    return blend(hu, draw(300, 900), wall * calcified)
