"""The solids that a body is made of, and their maximum along a line of sight.

Each solid has a depth s(x, y, z) in mm, positive inside. Its value rises over its skin
from the air's to `rim` HU at s = w, where w is the sharpness of the scan, and falls to
`core` over the cortex. As that depends on y through s alone, the largest value along y
follows from the largest depth, which each solid knows: a projection needs no volume.
What is modulated (cortex that is seen from its side, end plates, texture) is modulated
by functions of x and z, which such a maximum leaves alone.

Shapes: [...] stands for the points; a solid's own numbers are scalars here.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

AIR = -1000.0  # HU.
ABSENT = -3000.0  # The rim of what is not there: below air, whatever its texture.
ROUND = 6.0  # Exponent of the superellipsoids that vertebral bodies are.
SEARCH = 16  # Steps for the largest depth of one along y: to 0.7^16 of its size.


class Matter(NamedTuple):
    """What a solid is made of; [N] each.

    rim, core: HU of the cortex and of what is inside.
    cortex: mm that it is thick.
    side: share of the rim that is lost where the cortex is seen from the front.
    grain: relative standard deviation of its texture.
    """

    rim: Array
    core: Array
    cortex: Array
    side: Array
    grain: Array


class Capsules(NamedTuple):
    """Segments with a radius: ribs, processes, limbs, vessels, balls; [N, 3] and [N].

    start, end: mm. radius: mm at both ends, [N, 2]. tall: height over depth of the
    cross-section. A rim of `ABSENT` takes one away.
    """

    start: Array
    end: Array
    radius: Array
    tall: Array
    matter: Matter


class Blocks(NamedTuple):
    """Superellipsoids, round from above and flat at both ends: vertebral bodies.

    centre: [N, 3] mm. axes: [N, 3, 3], rows are unit vectors to the left, to the back
    and to the head. half: [N, 3] mm. waist: share by which they are thinner midway.
    plate: share of the rim that is lost away from the end plates.
    """

    centre: Array
    axes: Array
    half: Array
    waist: Array
    plate: Array
    matter: Matter


class Ellipsoids(NamedTuple):
    """Organs, lungs, gas: [N, 3] mm, axes as in `Blocks`."""

    centre: Array
    axes: Array
    half: Array
    matter: Matter


def rise(s: Array, w: ArrayLike) -> Array:
    """From 0 at depth -w to 1 at depth w, smoothly."""
    t = jnp.clip((s + w) / (2 * w), 0, 1)
    return t * t * (3 - 2 * t)


def shade(matter: Matter, share: Array, texture: Array) -> Matter:
    """Matter whose rim and core are images: they vary over x and z.

    share: of the way from the outline, 0, to the middle, 1, seen from the front.
    texture: of unit variance.
    """
    m = (1 - matter.side * jnp.clip(share, 0, 1)) * (1 + matter.grain * texture)
    return matter._replace(rim=matter.rim * m, core=matter.core * m)


def value(matter: Matter, s: Array, w: Array) -> Array:
    """HU at depth s."""
    half = jnp.maximum(matter.cortex / 2, 0.25)
    fall = (matter.rim - matter.core) * rise(s - w - half, half)
    return seen(matter, s, w) - fall


def seen(matter: Matter, s: Array, w: Array) -> Array:
    """The largest HU along a line whose largest depth is s."""
    return AIR + (matter.rim - AIR) * rise(s, w)


def capsule_depth(c: Capsules, x: Array, y: Array | None, z: Array) -> Array:
    """Depth [...] of points; with no y, the largest along y."""
    keep = jnp.array([1.0, 0.0 if y is None else 1.0, 1.0]) / jnp.stack(
        [jnp.ones_like(c.tall), jnp.ones_like(c.tall), c.tall]
    )
    a, d = c.start * keep, (c.end - c.start) * keep
    p = [(x - a[0]), 0.0 if y is None else (y - a[1]), z / c.tall - a[2]]
    along = p[0] * d[0] + p[1] * d[1] + p[2] * d[2]
    t = jnp.clip(along / jnp.maximum(d @ d, 1e-6), 0, 1)
    away = sum((q - t * e) ** 2 for q, e in zip(p, d, strict=True))
    return c.radius[0] + t * (c.radius[1] - c.radius[0]) - jnp.sqrt(away)


def capsule_share(c: Capsules, x: Array, z: Array) -> Array:
    """Of the way from a capsule's side to its axis, seen from the front.

    Its ends count as its middle: the next capsule of a line goes on there.
    """
    a = [c.start[0], c.start[2] / c.tall]
    d = [c.end[0] - c.start[0], c.end[2] / c.tall - a[1]]
    p = [x - a[0], z / c.tall - a[1]]
    long = jnp.hypot(*d)
    aside = jnp.abs(p[0] * d[1] - p[1] * d[0]) / jnp.maximum(long, 1e-3)
    away = jnp.where(long > 0.5, aside, jnp.hypot(*p))
    return 1 - away / c.radius.max()


def ellipsoid_depth(e: Ellipsoids, x: Array, y: Array | None, z: Array) -> Array:
    """Depth [...] of points, roughly: in units of the least half-axis."""
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
    """Depth [...] of points, roughly: in units of the least half-axis."""
    dx, dz = x - b.centre[0], z - b.centre[2]
    level = block_level(b, x, z)
    half = b.half[0] * (1 - b.waist * jnp.clip(1 - level**2, 0, 1))

    def size(dy: Array) -> Array:
        u, v, w = (a[0] * dx + a[1] * dy + a[2] * dz for a in b.axes)
        disc = (u / half) ** 2 + (v / b.half[1]) ** 2
        return disc ** (ROUND / 2) + jnp.abs(w / b.half[2]) ** ROUND

    if y is not None:
        least = size(y - b.centre[1])
    else:
        least = size(_lowest(size, jnp.full_like(dx + dz, 1.3) * b.half[1]))
    return (1 - least ** (1 / ROUND)) * b.half.min()


def block_level(b: Blocks, x: Array, z: Array) -> Array:
    """Height within a block, -1 to 1 from plate to plate, seen from the front."""
    tilt = b.axes[2, 0] / jnp.maximum(b.axes[2, 2], 0.2)
    return (z - b.centre[2] + tilt * (x - b.centre[0])) / b.half[2]


def _lowest(size: Callable[[Array], Array], reach: Array) -> Array:
    """Where a function of y that has one minimum has it, within reach of 0."""
    low, high = -reach, reach
    for _ in range(SEARCH):
        third = (high - low) / 3
        left = size(low + third) < size(high - third)
        low = jnp.where(left, low, low + third)
        high = jnp.where(left, high - third, high)
    return (low + high) / 2


def plated(b: Blocks, x: Array, z: Array) -> Matter:
    """A block's matter, whose rim is brightest at both end plates."""
    bright = 1 - b.plate * (1 - jnp.clip(jnp.abs(block_level(b, x, z)), 0, 1) ** 4)
    return b.matter._replace(rim=b.matter.rim * bright)


def middle(item: Capsules | Blocks | Ellipsoids) -> Array:
    """[..., 3], about which it lies."""
    return (item.start + item.end) / 2 if isinstance(item, Capsules) else item.centre


def reach(item: Capsules | Blocks) -> Array:
    """[...], mm from its middle beyond which there is nothing of it."""
    if isinstance(item, Blocks):
        return (item.half**2).sum(-1) ** 0.5
    half = ((item.end - item.start) ** 2).sum(-1) ** 0.5 / 2
    return half + item.radius.max(-1) * item.tall.clip(1)
