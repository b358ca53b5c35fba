"""The outline of the trunk: skin, fat and muscle."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.interpolate import PchipInterpolator

from l3spot.phantom.draw import Draw
from l3spot.phantom.shapes import AIR_HU, smooth_step
from l3spot.phantom.spine import L3, Spine

# Height above L3, half width and half depth of an average adult's trunk without fat and
# arms, in mm; then the relative thickness of the fat. The head is not included.
KNOTS = np.array([
    (-345, 3, 3, 0.0), (-330, 40, 60, 0.5), (-290, 135, 85, 0.7), (-230, 160, 100, 1.0),
    (-150, 156, 104, 1.0), (-80, 142, 98, 1.1), (-20, 132, 92, 1.0),
    (60, 148, 102, 0.9), (140, 158, 108, 0.7), (230, 164, 112, 0.6),
    (310, 170, 108, 0.5), (365, 176, 88, 0.4), (405, 104, 72, 0.3),
    (430, 70, 60, 0.25), (465, 60, 62, 0.2), (490, 56, 60, 0.15),
])  # fmt: skip
_heights = np.arange(-345.0, 491, 10)
OUTLINE = np.c_[
    _heights, PchipInterpolator(KNOTS[:, 0], KNOTS[:, 1:])(_heights)
]  # Smooth.
SKIN_HU = -5.0
WALL_MM = 16.0  # Thickness of muscle around the inside.


class Trunk(NamedTuple):
    """The outline: two ellipses at each height, of the flesh and of the skin.

    Attributes:
      height: [K] mm.
      middle: [K, 2] mm, x and y of the centre.
      flesh: [K, 2] mm, half width and half depth.
      skin: [K, 2] mm, half width and half depth.
      muscle: HU.
      fat: HU.
    """

    height: Array
    middle: Array
    flesh: Array
    skin: Array
    muscle: Array
    fat: Array


def at_height(trunk: Trunk, z: Array) -> tuple[Array, Array, Array]:
    """Returns middle, flesh and skin [..., 2] at heights z [...]."""

    def one(values: Array) -> Array:
        return jnp.stack(
            [jnp.interp(z, trunk.height, values[:, i]) for i in range(2)], -1
        )

    return one(trunk.middle), one(trunk.flesh), one(trunk.skin)


def value(t: Trunk, x: Array, y: Array | None, z: Array, w: Array) -> Array:
    """Returns HU [...] of points; without y, the largest along y."""
    middle, flesh, skin = at_height(t, z)
    u, v = x - middle[..., 0], 0.0 if y is None else y - middle[..., 1]

    def depth(half: Array) -> Array:
        out = jnp.hypot(u / half[..., 0], v / half[..., 1])
        return (1 - out) * half.min(-1)

    beyond = jnp.maximum(t.height[0] - z, z - t.height[-1])
    s, f = (depth(a) - jnp.maximum(beyond, 0) for a in (skin, flesh))
    outer = AIR_HU + (SKIN_HU - AIR_HU) * smooth_step(s, w)
    inner = AIR_HU + (t.muscle - AIR_HU) * smooth_step(f, w)
    if y is None:
        return jnp.maximum(outer, inner)
    outer = outer - (SKIN_HU - t.fat) * smooth_step(s - w - 1, 1.0)
    within = inner - (t.muscle - t.fat) * smooth_step(f - w - WALL_MM, 2.0)
    return jnp.maximum(outer, within)


def make_trunk(draw: Draw, spine: Spine, girth: Array, fat: Array) -> Trunk:
    """Draws an outline around a spine."""
    size = spine.half[L3, 0] / 23
    z, a, b, share = OUTLINE.T
    # Belly and hips vary more than chest and neck.
    wide = 1 + (girth - 1) * np.interp(z, [-150, 50, 350, 450], [0.8, 1, 1, 0.2])
    belly = 1 + draw(0.0, 0.35) * jnp.exp(-(((z - draw(-60, 60)) / 130.0) ** 2))
    waves = draw(0, 2 * np.pi, (2, 2, 1)) + z / np.array([[55.0], [90.0]])
    lobes = 1 + 0.012 * jnp.sin(waves).sum(1)
    flesh = size * jnp.stack([a * wide * lobes[0], b * wide * belly * lobes[1]], -1)
    skin = flesh + (fat * share + 2.0)[:, None] * jnp.array([1.0, 0.8])
    height = size * z
    back = jnp.interp(height, spine.centre[::-1, 2], spine.centre[::-1, 1])
    side = jnp.interp(height, spine.centre[::-1, 2], spine.centre[::-1, 0])
    # A vertebral body lies nearer to the back; the neck stands straight on it.
    above = np.interp(z, [380, 450], [1.0, 0.25])
    y = back + above * 0.45 * (70 * size) - above * flesh[:, 1] * 0.62 - 5
    return Trunk(
        height,
        jnp.stack([0.7 * side, y], -1),
        flesh,
        skin,
        draw(40, 68),
        draw(-115, -85),
    )
