"""The solids of a body, and their maximum along a line of sight.

Each solid has a depth s(x, y, z) in mm, positive inside. Its HU rise from air's to
`rim` at s = w, the sharpness of the scan, and fall to `core` over the cortex. Since HU
depend on y through s alone, the maximum along y follows from the largest depth, which
each solid knows: a projection needs no volume. Cortex seen from its side, end plates
and texture are functions of x and z, which do not affect this maximum.

Shapes: [...] stands for the points; the arrays of one solid are scalars here.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

AIR_HU = -1000.0
ABSENT_HU = -3000.0  # The rim of absent solids: below air for any texture.
BLOCK_EXPONENT = 6.0  # Of superellipsoids.
SEARCH_STEPS = 16  # For the largest depth along y: to 0.7^16 of the size.


class Matter(NamedTuple):
    """The material of solids; [N] each.

    Attributes:
      rim_hu: of the cortex.
      core_hu: inside the cortex.
      cortex_mm: thickness of the cortex.
      side_loss: share of the rim that is lost where the cortex is seen from the front.
      grain: relative standard deviation of the texture.
    """

    rim_hu: Array
    core_hu: Array
    cortex_mm: Array
    side_loss: Array
    grain: Array


class Capsules(NamedTuple):
    """Segments with a radius: ribs, processes, limbs, vessels, balls.

    Attributes:
      start: [N, 3] mm.
      end: [N, 3] mm.
      radius: [N, 2] mm, at both ends.
      tall: [N], height over depth of the cross-section.
      matter: [N]; a rim of `ABSENT_HU` removes a capsule.
    """

    start: Array
    end: Array
    radius: Array
    tall: Array
    matter: Matter


class Blocks(NamedTuple):
    """Superellipsoids, round from above and flat at both ends: vertebral bodies.

    Attributes:
      centre: [N, 3] mm.
      axes: [N, 3, 3], rows are unit vectors to the left, to the back and to the head.
      half: [N, 3] mm, half-axes.
      waist: [N], share by which they are thinner halfway.
      plate: [N], share of the rim that is lost away from the end plates.
      matter: [N].
      taper: [N], share by which the depth falls from the middle to the lower end, and
        grows to the upper one; None is 0.
    """

    centre: Array
    axes: Array
    half: Array
    waist: Array
    plate: Array
    matter: Matter
    taper: Array | None = None


class Ellipsoids(NamedTuple):
    """Organs, lungs, gas.

    Attributes:
      centre: [N, 3] mm.
      axes: [N, 3, 3], as in `Blocks`.
      half: [N, 3] mm, half-axes.
      matter: [N].
    """

    centre: Array
    axes: Array
    half: Array
    matter: Matter


def smooth_step(s: Array, w: ArrayLike) -> Array:
    """Rises smoothly from 0 at depth -w to 1 at depth w."""
    t = jnp.clip((s + w) / (2 * w), 0, 1)
    return t * t * (3 - 2 * t)


def modulate(matter: Matter, share: Array, texture: Array) -> Matter:
    """Returns matter with images as rim and core, which vary over x and z.

    Args:
      matter: of one solid.
      share: from 0 at the outline to 1 in the middle, seen from the front.
      texture: of unit variance.
    """
    m = (1 - matter.side_loss * jnp.clip(share, 0, 1)) * (1 + matter.grain * texture)
    return matter._replace(rim_hu=matter.rim_hu * m, core_hu=matter.core_hu * m)


def value(matter: Matter, s: Array, w: Array) -> Array:
    """Returns the HU at depth s."""
    half = jnp.maximum(matter.cortex_mm / 2, 0.25)
    fall = (matter.rim_hu - matter.core_hu) * smooth_step(s - w - half, half)
    return max_along_ray(matter, s, w) - fall


def max_along_ray(matter: Matter, s: Array, w: Array) -> Array:
    """Returns the largest HU along a line with the largest depth s."""
    return AIR_HU + (matter.rim_hu - AIR_HU) * smooth_step(s, w)


def capsule_depth(c: Capsules, x: Array, y: Array | None, z: Array) -> Array:
    """Returns the depth [...] of points; without y, the largest along y."""
    keep = jnp.array([1.0, 0.0 if y is None else 1.0, 1.0]) / jnp.stack(
        [jnp.ones_like(c.tall), jnp.ones_like(c.tall), c.tall]
    )
    a, d = c.start * keep, (c.end - c.start) * keep
    p = [(x - a[0]), 0.0 if y is None else (y - a[1]), z / c.tall - a[2]]
    along = p[0] * d[0] + p[1] * d[1] + p[2] * d[2]
    t = jnp.clip(along / jnp.maximum(d @ d, 1e-6), 0, 1)
    distance = sum((q - t * e) ** 2 for q, e in zip(p, d, strict=True))
    return c.radius[0] + t * (c.radius[1] - c.radius[0]) - jnp.sqrt(distance)


def capsule_share(c: Capsules, x: Array, z: Array) -> Array:
    """Returns the position from a capsule's side (0) to its axis (1), from the front.

    Its ends count as its middle, because the next capsule of a line continues there.
    """
    a = [c.start[0], c.start[2] / c.tall]
    d = [c.end[0] - c.start[0], c.end[2] / c.tall - a[1]]
    p = [x - a[0], z / c.tall - a[1]]
    length = jnp.hypot(*d)
    lateral = jnp.abs(p[0] * d[1] - p[1] * d[0]) / jnp.maximum(length, 1e-3)
    distance = jnp.where(length > 0.5, lateral, jnp.hypot(*p))
    return 1 - distance / c.radius.max()


def ellipsoid_depth(e: Ellipsoids, x: Array, y: Array | None, z: Array) -> Array:
    """Returns the approximate depth [...] of points, scaled by the least half-axis."""
    m = e.axes / e.half[:, None]  # To the unit ball.
    columns = m.T
    flat = (
        columns[0] * (x - e.centre[0])[..., None]
        + columns[2] * (z - e.centre[2])[..., None]
    )
    if y is None:
        up = columns[1] / jnp.linalg.norm(columns[1])
        flat = flat - (flat @ up)[..., None] * up
    else:
        flat = flat + columns[1] * (y - e.centre[1])[..., None]
    return (1 - jnp.linalg.norm(flat, axis=-1)) * e.half.min()


def block_depth(b: Blocks, x: Array, y: Array | None, z: Array) -> Array:
    """Returns the approximate depth [...] of points, scaled by the least half-axis."""
    dx, dz = x - b.centre[0], z - b.centre[2]
    level = block_level(b, x, z)
    half = b.half[0] * (1 - b.waist * jnp.clip(1 - level**2, 0, 1))

    def size(dy: Array) -> Array:
        u, v, w = (a[0] * dx + a[1] * dy + a[2] * dz for a in b.axes)
        depth = b.half[1]
        if b.taper is not None:
            depth = depth * (1 + b.taper * jnp.clip(w / b.half[2], -1, 1))
        disc = (u / half) ** 2 + (v / depth) ** 2
        return disc ** (BLOCK_EXPONENT / 2) + jnp.abs(w / b.half[2]) ** BLOCK_EXPONENT

    if y is not None:
        least = size(y - b.centre[1])
    else:
        least = size(_argmin(size, jnp.full_like(dx + dz, 1.3) * b.half[1]))
    return (1 - least ** (1 / BLOCK_EXPONENT)) * b.half.min()


def block_level(b: Blocks, x: Array, z: Array) -> Array:
    """Returns the height within a block, from -1 to 1, seen from the front."""
    tilt = b.axes[2, 0] / jnp.maximum(b.axes[2, 2], 0.2)
    return (z - b.centre[2] + tilt * (x - b.centre[0])) / b.half[2]


def _argmin(size: Callable[[Array], Array], reach: Array) -> Array:
    """Returns the minimum of a unimodal function of y within [-reach, reach]."""
    low, high = -reach, reach
    for _ in range(SEARCH_STEPS):
        third = (high - low) / 3
        left = size(low + third) < size(high - third)
        low = jnp.where(left, low, low + third)
        high = jnp.where(left, high - third, high)
    return (low + high) / 2


def block_matter(b: Blocks, x: Array, z: Array) -> Matter:
    """Returns a block's matter; its rim is brightest at both end plates."""
    bright = 1 - b.plate * (1 - jnp.clip(jnp.abs(block_level(b, x, z)), 0, 1) ** 4)
    return b.matter._replace(rim_hu=b.matter.rim_hu * bright)


def middle(item: Capsules | Blocks | Ellipsoids) -> Array:
    """Returns the middle [..., 3] in mm."""
    return (item.start + item.end) / 2 if isinstance(item, Capsules) else item.centre


def extent(item: Capsules | Blocks) -> Array:
    """Returns a bound [...] in mm on the distance of its points from its middle."""
    if isinstance(item, Blocks):
        return (item.half**2).sum(-1) ** 0.5
    half = ((item.end - item.start) ** 2).sum(-1) ** 0.5 / 2
    return half + item.radius.max(-1) * item.tall.clip(1)
