"""The spine: positions, sizes and material of its vertebrae.

Levels count from C1 = 0; T1 = 7, T12 = 18, L1 = 19, L3 = 21, L5 = 23, and L6 = 24 in
some bodies. Sizes are those of adults by level, in mm; levels without a size are
interpolated.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from l3spot.phantom.draw import Draw
from l3spot.phantom.shapes import ABSENT_HU, Blocks, Capsules, Matter
from l3spot.phantom.tubes import tube

LEVELS = 25
C7, T1, T12, L1, L3, L5, L6 = 6, 7, 18, 19, 21, 23, 24


def _by_level(**at: float) -> np.ndarray:
    first = {"C": -1, "T": 6, "L": 18}
    where = [first[k[0]] + int(k[1:]) for k in at]
    return np.interp(np.arange(LEVELS), where, list(at.values()))


HEIGHT_MM = _by_level(C1=12, C3=13, C7=14, T1=16, T6=20, T12=25, L1=27, L4=29, L6=28)
DISC_MM = _by_level(C1=4, C7=5.5, T1=4, T6=4, T12=6.5, L1=7.5, L4=10.5, L6=9.5)
WIDTH_MM = _by_level(C1=22, C7=28, T1=29, T5=27, T12=41, L1=42, L3=46, L5=52, L6=53)
DEPTH_MM = _by_level(C1=15, C7=17, T1=18, T6=26, T12=31, L1=32, L5=36, L6=36)
# Angle of the spine to the back, upwards, in right angles, in supine position.
LEAN_SHARE = _by_level(
    C1=0.1, C4=0.0, C7=-0.3, T3=-0.25, T7=0.0, T10=0.15, T12=0.2, L1=0.17, L3=0.0,
    L4=-0.15, L5=-0.3, L6=-0.38,
)  # fmt: skip
SPINOUS_DROP_MM = _by_level(C1=3, C7=8, T1=14, T6=32, T10=18, T12=8, L1=6, L5=5, L6=4)
SPINOUS_LENGTH_MM = _by_level(
    C1=18, C7=36, T1=34, T6=34, T12=30, L1=33, L3=34, L5=25, L6=20
)
TRANSVERSE_OUT_MM = _by_level(
    C1=35, C2=26, C6=27, C7=32, T1=37, T6=30, T10=27, T12=22, L1=34, L3=44, L5=43
)
TRANSVERSE_BACK_MM = _by_level(C1=2, C7=10, T1=18, T6=24, T12=20, L1=12, L5=8, L6=6)
TRANSVERSE_UP_MM = _by_level(C1=0, C7=2, T1=6, T6=4, T12=2, L1=4, L3=2, L5=8, L6=10)
# Density of arches; those of the neck are thinner than a scan's voxels.
ARCH_DENSITY = _by_level(C1=0.7, C6=0.75, T1=1.0, L6=1.0)
# Bodies of the sacrum, from S1 to S4; angles to S1's axis.
SACRAL_HEIGHT_MM = np.array([30.0, 24, 20, 16])
SACRAL_DEPTH_MM = np.array([31.0, 21, 15, 12])
SACRAL_WIDTH_MM = np.array([46.0, 38, 32, 26])
SACRAL_RAD = np.array([0.0, -0.12, -0.3, -0.6])
FACET_MM = _by_level(C1=20, C6=19, C7=16, T1=12, T9=10, T12=13, L1=14, L5=22, L6=23)


class Spine(NamedTuple):
    """Vertebrae of a body, in mm from L3's middle.

    Attributes:
      centre: [L, 3] mm, of the vertebral bodies.
      axes: [L, 3, 3], rows are unit vectors to the left, to the back and to the head.
      half: [L, 3] mm, half-axes.
      present: bool [L].
      sacrum: [3] mm, the middle of S1's upper end plate.
      transverse: [L, 3], factors of the length, radius and density of transverse
        processes.
    """

    centre: Array
    axes: Array
    half: Array
    present: Array
    sacrum: Array
    transverse: Array


def rotation(lean: Array, tilt: Array) -> Array:
    """Returns the axes (left, back, head) of a frame that leans back and tilts left."""
    c, s, k, t = jnp.cos(lean), jnp.sin(lean), jnp.cos(tilt), jnp.sin(tilt)
    up = jnp.stack([t * c, s, k * c], -1)
    left = jnp.stack([k, jnp.zeros_like(k), -t], -1)
    return jnp.stack([left, jnp.cross(up, left), up], -2)


def make_spine(draw: Draw, proportions: Draw) -> Spine:
    """Draws a spine, with its curvature and transitional anatomy.

    Args:
      draw: random numbers.
      proportions: those of the vertebrae's proportions.
    """
    r, size = draw.ranges, draw(*draw.ranges.size)
    tall = size * proportions(*r.vertebra_height)
    drawn = (r.transverse_length, r.transverse_radius, r.transverse_density)
    transverse = jnp.stack([proportions(*limits) for limits in drawn])
    transverse = jnp.where(np.arange(LEVELS)[:, None] >= L1, transverse, 1.0)
    present = jnp.ones(LEVELS, bool).at[L6].set(draw.chance(r.sixth_lumbar))
    fused = draw.chance(r.sacralised) & ~present[L6]
    height = tall * HEIGHT_MM * (1 + 0.03 * draw.normal((LEVELS,)))
    disc = tall * DISC_MM * draw(*r.disc_height) * draw(0.8, 1.1, (LEVELS,))
    disc = disc.at[L5].multiply(jnp.where(fused, 0.3, 1.0))
    wide = size * draw(0.92, 1.08)
    half = jnp.stack([wide * WIDTH_MM, wide * DEPTH_MM, height], -1) / 2
    wedge = draw.chance(r.fracture, (LEVELS,)) & (np.arange(LEVELS) > T1)
    half = half.at[:, 2].multiply(jnp.where(wedge, draw(0.6, 0.9, (LEVELS,)), 1.0))
    lean = jnp.pi / 2 * draw(*r.curve) * LEAN_SHARE + draw(*r.lean_rad)
    bend = draw.normal() * r.scoliosis_rad * (1 + 3 * draw.chance(0.1))
    wave = 2 * jnp.pi * (jnp.arange(LEVELS) / draw(9, 20) + draw(0, 1))
    tilt = bend * jnp.sin(wave) + draw(*r.roll_rad)
    axes = rotation(lean, tilt)
    # From the sacrum up: half of a body, its disc, half of the next.
    reach = jnp.where(present, 2 * half[:, 2] + disc, 0.0)
    steps = reach[:, None] * axes[:, 2]
    top = jnp.cumsum(steps[::-1], 0)[::-1]  # Of each disc, above S1's plate.
    centre = top - half[:, 2:] * axes[:, 2]
    origin = centre[L3]
    return Spine(centre - origin, axes, half, present, -origin, transverse)


def bodies(draw: Draw, spine: Spine, bone: Array) -> Blocks:
    """Returns the vertebral bodies; `bone` is the density, 1 for a healthy adult."""
    n = (LEVELS,)
    rim = bone * draw(0.85, 1.15, n) * draw(700, 1200)
    # C1 and absent vertebrae have no body.
    rim = jnp.where(spine.present & (np.arange(LEVELS) > 0), rim, ABSENT_HU)
    core = bone * draw(130, 260) + draw(-20, 20, n)
    matter = Matter(
        rim, core, jnp.full(n, 2.2), jnp.zeros(n), jnp.full(n, draw(0.08, 0.2))
    )
    return Blocks(
        spine.centre, spine.axes, spine.half,
        jnp.full(n, draw(0.08, 0.2)), jnp.full(n, draw(0.25, 0.55)), matter,
    )  # fmt: skip


def discs(draw: Draw, spine: Spine) -> Blocks:
    """Returns the discs below the vertebral bodies, from C2 down."""
    up = spine.half[:, 2:] * spine.axes[:, 2]
    below = jnp.where(
        jnp.roll(spine.present, -1)[:, None],
        jnp.roll(spine.centre + up, -1, 0),
        spine.sacrum,
    )
    below = below.at[L6].set(spine.sacrum)
    top = spine.centre - up
    tall = jnp.linalg.norm(top - below, axis=-1) / 2 + 1.5
    wide = 0.97 * spine.half[:, :2]
    half = jnp.concatenate([wide, tall[:, None]], -1)
    present = spine.present & (np.arange(LEVELS) > 0)
    n = (LEVELS,)
    hu = jnp.where(present, draw(55, 110) + 5 * draw.normal(n), ABSENT_HU)
    plain = jnp.zeros(n)
    matter = Matter(hu, hu, plain + 2.0, plain, plain + 0.05)
    return Blocks((top + below) / 2, spine.axes, half, plain, plain, matter)


def canal(draw: Draw, spine: Spine) -> Capsules:
    """Returns the dural sac behind the vertebral bodies."""
    scale = spine.half[:, 0] / (WIDTH_MM / 2)
    behind = spine.half[:, 1] + 9 * scale
    line = spine.centre + behind[:, None] * spine.axes[:, 1]
    return tube(
        line, 7.5 * scale, draw(10, 60), core=1.0, side=0.0, grain=0.05,
        present=spine.present[1:],
    )  # fmt: skip


def sacral_bodies(draw: Draw, spine: Spine, bone: Array) -> Blocks:
    """Returns the bodies from S1 to S4, with thin discs between them."""
    n = SACRAL_HEIGHT_MM.shape
    size = spine.half[L5, 0] / (WIDTH_MM[L5] / 2)
    # S1's axis leans further to the front than that of L5.
    l5 = jnp.arcsin(spine.axes[L5, 2, 1])
    lean = jnp.clip(l5 - draw(0.1, 0.35), -1.05, -0.4) + draw(0.5, 1.3) * SACRAL_RAD
    axes = rotation(lean, jnp.zeros(n))
    height = size * SACRAL_HEIGHT_MM * draw(0.9, 1.1)
    gap = size * jnp.array([2.5, 1.5, 1.0, 1.0]) * draw(0.3, 1.6)
    steps = (height + gap)[:, None] * axes[:, 2]
    top = spine.sacrum - jnp.concatenate([jnp.zeros((1, 3)), jnp.cumsum(steps, 0)[:-1]])
    centre = top - (height / 2)[:, None] * axes[:, 2]
    wide = size * draw(0.9, 1.1)
    half = [wide * SACRAL_WIDTH_MM, wide * SACRAL_DEPTH_MM, height]
    rim, plain = bone * draw(0.85, 1.15, n) * draw(600, 1000), jnp.zeros(n)
    matter = Matter(rim, bone * draw(110, 230) + plain, plain + 2.0, plain, plain + 0.1)
    return Blocks(
        centre, axes, jnp.stack(half, -1) / 2, plain + 0.1, plain + 0.4, matter,
        plain + draw(0.08, 0.25),
    )  # fmt: skip


def arches(draw: Draw, spine: Spine, bone: Array) -> Capsules:
    """Returns pedicles, laminae, articular, transverse and spinous processes."""
    parts = [_processes(draw, spine, side) for side in (-1.0, 1.0)]
    parts.append(_spinous(draw, spine))
    start, end, radius, tall, dense = (
        jnp.concatenate([p[i] for p in parts]) for i in range(5)
    )
    n = start.shape[:1]
    present, firm = (jnp.tile(v, n[0] // LEVELS) for v in (spine.present, ARCH_DENSITY))
    rim = bone * firm * dense * draw(0.85, 1.15, n) * draw(800, 1300)
    rim = jnp.where(present, rim, ABSENT_HU)
    flat = jnp.full(n, draw(0.15, 0.35))
    matter = Matter(rim, 0.4 * rim, jnp.full(n, 1.5), flat, jnp.full(n, 0.14))
    return Capsules(start, end, radius, tall, matter)


def joint(spine: Spine, side: float) -> Array:
    """Returns the tips [L, 3] of the transverse processes, where ribs touch them."""
    out = side * spine.transverse[:, 0] * TRANSVERSE_OUT_MM
    back, up = jnp.array(TRANSVERSE_BACK_MM), jnp.array(TRANSVERSE_UP_MM)
    tip = jnp.stack([out, back, up], -1)
    behind = spine.half * np.array([0.0, 1.0, 0.0])
    scale = spine.half[:, :1] / (WIDTH_MM / 2)[:, None]
    return _place(spine, scale * tip + behind)


def _place(spine: Spine, local: Array) -> Array:
    """Converts points [L, 3] of each vertebra's frame to the body's."""
    return spine.centre + jnp.einsum("li,lij->lj", local, spine.axes)


def _processes(draw: Draw, spine: Spine, side: float) -> tuple[Array, ...]:
    a, b, h = spine.half.T
    scale = a / (WIDTH_MM / 2)

    def at(x: Array, y: Array, z: Array) -> Array:
        spread = jnp.broadcast_arrays(side * x, y, z, a)[:3]
        return _place(spine, jnp.stack(spread, -1))

    x = scale * FACET_MM
    root, arch = at(0.62 * a, 0.8 * b, 0.35 * h), at(0.85 * x, b + 9 * scale, 0.25 * h)
    base = at(3.0 + 0 * a, b + 22 * scale, -0.4 * h)
    up, down = at(1.05 * x, b + 9 * scale, h), at(0.85 * x, b + 14 * scale, -1.05 * h)
    tip = joint(spine, side) + draw.normal((LEVELS, 3)) * np.array([2.0, 1.0, 2.0])
    ones, (_, thick, dense) = jnp.ones(LEVELS), spine.transverse.T

    def radii(first: float, last: float) -> Array:
        return scale[:, None] * draw(0.85, 1.15, (LEVELS, 1)) * jnp.array([first, last])

    # Start, end, radii, height over depth, density.
    out = [
        (root, root, radii(6.0, 6.0), 1.25 * ones, 0.9 * ones),
        (root, arch, radii(4.2, 4.0), 1.5 * ones, 0.9 * ones),
        (arch, base, radii(5.0, 4.2), 1.8 * ones, 0.95 * ones),
        (arch, up, radii(4.4, 6.8), 1.1 * ones, 1.2 * ones),
        (arch, down, radii(4.4, 6.4), 1.1 * ones, 1.2 * ones),
        (arch, tip, thick[:, None] * radii(5.2, 3.3), 1.35 * ones, 0.7 * dense),
        (tip, tip, thick[:, None] * radii(3.3, 3.3), 1.4 * ones, 0.85 * dense),
    ]
    return tuple(jnp.concatenate(p) for p in zip(*out, strict=True))


def _spinous(draw: Draw, spine: Spine) -> tuple[Array, ...]:
    a, b, h = spine.half.T
    scale = a / (WIDTH_MM / 2)
    zero = jnp.zeros(LEVELS)
    back, low = scale * SPINOUS_LENGTH_MM, scale * SPINOUS_DROP_MM
    base = _place(spine, jnp.stack([zero, b + 20 * scale, -0.3 * h], -1))
    tip = jnp.stack(
        [2 * draw.normal((LEVELS,)), b + 18 * scale + back, -0.3 * h - low], -1
    )
    radius = scale[:, None] * jnp.array([3.4, 4.4])
    tall = jnp.where(np.arange(LEVELS) >= T12, 2.4, 1.6)
    return base, _place(spine, tip), radius, tall, 0.8 * jnp.ones(LEVELS)
