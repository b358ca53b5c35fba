"""The bodies of a spine in the sagittal plane: positions, sizes, leans.

All ranges are our choice.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from l3spot.phantom.draw import Draw

# The largest numbers of bodies. Those above T1 let small spines reach the upper edge.
THORACIC, LUMBAR, SACRAL = 16, 6, 4
BODIES = THORACIC + LUMBAR + SACRAL
L1, S1 = THORACIC, THORACIC + LUMBAR
INDEX = np.arange(BODIES)
_KNOTS = L1 + np.array([-16, -12, -8, -5, -1, 0, 2, 4, 5, 6, 7, 8, 9])
# Of an average adult, in mm: ..., T1, T5, T8, T12, L1, L3, L5, L6, S1, S2, S3, S4.
HEIGHT_MM = np.interp(
    INDEX, _KNOTS, [14, 16, 19, 21, 25, 27, 28, 28, 28, 30, 24, 20, 16]
)
DISC_MM = np.interp(INDEX, _KNOTS, [5, 4, 4, 4, 6, 7.5, 10, 10, 10, 2.5, 1.5, 1, 1])
DEPTH_MM = np.interp(
    INDEX, _KNOTS, [16, 18, 25, 28, 30, 31, 34, 35, 35, 32, 20, 15, 12]
)
LEAN_DEG = np.interp(
    INDEX[:S1], L1 + np.array([-16, -12, -8, -5, -2, 0, 2, 3, 4, 5]),
    [-25, -22, 2, 6, 14, 15, 2, -8, -22, -28],
)  # fmt: skip
SACRAL_DEG = np.array([0.0, -8.0, -20.0, -42.0])


class Vertebrae(NamedTuple):
    """Bodies from the top down to S4, in mm; absent ones are not drawn.

    Attributes:
      centre: [N, 2], y and z.
      lean: [N] rad, of the axis to the back, upwards.
      half_height: [N].
      half_depth: [N].
      disc: [N], height of the disc below.
      present: bool [N].
    """

    centre: Array
    lean: Array
    half_height: Array
    half_depth: Array
    disc: Array
    present: Array

    @property
    def axis(self) -> Array:
        """Unit vectors [N, 2] along the bodies' axes, upwards."""
        return jnp.stack([jnp.sin(self.lean), jnp.cos(self.lean)], -1)

    @property
    def plates(self) -> Array:
        """The middles [N, 2 (upper, lower), 2 (y, z)] of the end plates."""
        up = self.half_height[:, None] * self.axis
        return jnp.stack([self.centre + up, self.centre - up], 1)


def make_spine(draw: Draw, size: Array) -> Vertebrae:
    """Draws the bodies of a spine, with S1's middle as origin."""
    n = (BODIES,)
    count = draw(0, 1)
    absent = (INDEX == S1 - 1) & (count > 0.06) | (INDEX == S1 - 2) & (count > 0.96)
    height = size * HEIGHT_MM * draw(0.92, 1.08) * (1 + 0.03 * draw.normal(n))
    crushed = draw.chance(0.03, n) & (INDEX < S1)
    height = height * jnp.where(crushed, draw(0.5, 0.9, n), 1.0)
    narrow = jnp.where(draw.chance(0.15, n), draw(0.15, 0.7, n), 1.0)
    disc = size * DISC_MM * draw(0.6, 1.2) * draw(0.85, 1.15, n) * narrow
    free = draw.chance(0.1)  # S1 is partly free of the sacrum.
    disc = disc.at[S1].multiply(jnp.where(free, draw(1.5, 3.5), draw(0.3, 1.3)))
    depth = size * DEPTH_MM * draw(0.88, 1.1) * (1 + 0.02 * draw.normal(n))
    upper = LEAN_DEG * draw(0.2, 1.4) + 1.5 * draw.normal((S1,))
    sacral = SACRAL_DEG * draw(0.4, 1.4) - draw(30, 55)
    degrees = jnp.concatenate([upper, sacral]) + draw(-8, 8)
    lean = jnp.deg2rad(_smooth_levels(degrees))
    axis = jnp.stack([jnp.sin(lean), jnp.cos(lean)], -1)
    present = ~absent
    step = jnp.where(present, height + disc, 0.0)[:, None] * axis
    top = jnp.cumsum(step[::-1], 0)[::-1]  # Of each body, above S4's disc.
    centre = top - (height / 2)[:, None] * axis
    return Vertebrae(centre - centre[S1], lean, height / 2, depth / 2, disc, present)


def _smooth_levels(values: Array) -> Array:
    kernel = jnp.array([0.2, 0.6, 0.2])
    return jnp.convolve(jnp.pad(values, 1, mode="edge"), kernel, "valid")


def place(draw: Draw, spine: Vertebrae, height: float, width: float) -> Vertebrae:
    """Shifts the spine so that one of T10 to S1 is at a random place of the picture."""
    chosen = jnp.floor(draw(L1 - 3, S1 + 0.99)).astype(int)
    z = -height * draw(0.15, 0.85)
    near = jnp.exp(-(((spine.centre[:, 1] - spine.centre[chosen, 1]) / 60) ** 2))
    middle = (near * spine.centre[:, 0]).sum() / near.sum()
    y = width * draw(0.36, 0.52) - middle
    return spine._replace(
        centre=spine.centre + jnp.stack([y, z - spine.centre[chosen, 1]])
    )


def curve(spine: Vertebrae, values: Array, z: Array) -> Array:
    """Interpolates a value of each body at heights z."""
    # The sacrum's lower part runs to the back; below it, the last value holds.
    heights = jax.lax.cummin(spine.centre[:, 1] - 1e-3 * INDEX)
    return jnp.interp(z, heights[::-1], values[::-1])
