"""The head: skull, face, jaws, teeth and flesh."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from l3spot.phantom.draw import Draw
from l3spot.phantom.shapes import ABSENT_HU, Capsules
from l3spot.phantom.spine import C7, Spine, rotation
from l3spot.phantom.tubes import mirror_pair, polyline, refine, tube

WALLS_PER_SIDE = 30  # Thin walls of sinuses and of the skull's base.
TEETH_PER_SIDE = 7  # Of each jaw.


def head(
    draw: Draw, spine: Spine, bone: Array, soft: Array
) -> tuple[list[Capsules], list[Capsules]]:
    """Returns the wide capsules (vault and flesh) and the fine ones.

    Points are left, back and up from C1's middle, in mm, of a head that faces the
    front.
    """
    r = draw.ranges
    size = draw(*r.head_size) * (0.5 + 0.5 * spine.half[C7, 0] / 14)
    frame = rotation(draw(*r.head_nod_rad), draw(*r.head_tilt_rad))
    scale = size * jnp.array([draw(0.95, 1.05), draw(0.94, 1.04), 1.0])

    def put(points: Array) -> Array:
        return spine.centre[0] + points * scale @ frame

    rim = jnp.sqrt(bone) * draw(0.9, 1.1)  # Cortical bone varies less than spongy bone.
    vault = put(polyline((0, -25, 77), (0, 22, 77)))
    # Both ends have the same width: the projection of tapered capsules is inexact.
    wide = 66.0 * scale[0]
    tall = draw(0.89, 0.95)
    flesh = {"core": 1.0, "side": 0.0, "grain": 0.0}
    return [
        tube(vault, wide, 1450 * rim, core=0.03, cortex=draw(5, 9), side=0.08,
             tall=tall, grain=0.03),
        tube(vault, wide + draw(4, 9), soft, tall=tall, **flesh),
        tube(put(polyline((0, -14, 30), (0, -34, -34), (0, -46, -76))),
             jnp.array([69.0, 57, 36]) * size, soft, **flesh),
        tube(put(mirror_pair(polyline((65, 4, -8), (68, 14, 22)))), 5 * size, soft,
             **flesh),
    ], [
        tube(put(mirror_pair(points)), radius * size, hu * rim, **matter)
        for points, radius, hu, matter in (*_base(), *_face(), *_jaw(), _walls(draw))
    ] + [
        tube(put(mirror_pair(points)), radius * size, hu, core=0.8, side=0.1,
             grain=0.06)
        for points, radius, hu in _teeth(draw)
    ]  # fmt: skip


Part = tuple[Array, np.ndarray | Array | float, Array | float, dict[str, float]]


def _base() -> list[Part]:
    """Returns temporal bones, mastoids, zygomatic arches and the middle of the base.

    Each part has the line of its left side, radii in mm, HU, and keywords of `tube`.
    """
    plain = {"core": 0.6, "side": 0.1, "grain": 0.1}
    rough = {"core": 0.5, "side": 0.2, "grain": 0.22}
    arch = refine(polyline((57, -6, 8), (64, -26, 4), (59, -54, 0), (44, -72, -4)), 3)
    side = polyline(
        (55.5, 0, 94), (56.5, 0, 74), (55.5, 2, 44), (54, 4, 20), (53, 8, 4)
    )
    return [
        (side, np.array([8, 10.5, 11, 11.5, 10]), 1450, plain),
        (polyline((54, 6, 16), (34, -2, 18), (12, -14, 20)), np.array([13, 11, 8]),
         1350, rough),
        (polyline((55, 12, 12), (52, 12, -8), (48, 10, -22)), np.array([13, 11, 5]),
         1300, rough),
        (polyline((0, -26, 20), (0, -4, 6)), np.array([13, 8]), 650, rough),
        (arch, 4.0, 1050, rough),
    ]  # fmt: skip


def _face() -> list[Part]:
    """Returns orbits, nose and upper jaw, as `_base` does."""
    rough = {"core": 0.4, "side": 0.2, "grain": 0.25}
    angle = np.linspace(0, 2 * np.pi, 11)
    orbit = np.stack([34 + 20 * np.cos(angle), -76 + 6 * np.cos(angle),
                      24 + 18 * np.sin(angle)], -1)  # fmt: skip
    gum = refine(polyline((26, -40, -38), (23, -64, -40), (0, -80, -42)), 3)
    return [
        (jnp.asarray(orbit), 3.5, 1000, rough),
        (polyline((46, -70, 4), (42, -70, -12), (28, -62, -32)), np.array([8, 7, 5]),
         800, rough),
        (polyline((4, -96, 24), (5, -102, 6)), 3.0, 700, rough),
        (polyline((0, -78, 18), (0, -72, -28)), 2.0, 600, rough),
        (polyline((15, -76, 14), (14, -70, -30)), 2.5, 750, rough),
        (polyline((18, -30, 12), (16, -28, -34)), 4.0, 700, rough),
        (polyline((0, -56, -32), (20, -52, -32)), 4.5, 650, rough),
        (gum, 7.0, 850, rough),
    ]  # fmt: skip


def _jaw() -> list[Part]:
    """Returns the lower jaw, as `_base` does."""
    solid = {"core": 0.4, "side": 0.12, "grain": 0.06}
    ramus = polyline((51, -6, 8), (49, -8, -8), (44, -14, -36), (39, -20, -58))
    body = refine(
        polyline((39, -20, -58), (32, -46, -75), (15, -76, -91), (0, -84, -96)), 3
    )
    edge = polyline((45, -34, -2), (43, -32, -18), (38, -34, -50), (31, -46, -70))
    return [
        (ramus, np.array([6, 5, 5.5, 7.5]), 1300, solid),
        (body, np.linspace(8, 9.5, 10), 1300, solid),
        (body + np.array([-2.0, 2, 9]), 5.5, 950, solid),
        (edge, np.array([2.5, 4, 5, 6]), 1100, solid),
    ]


def _walls(draw: Draw) -> Part:
    """Returns thin walls of sinuses and base, anywhere between ears and teeth."""
    n = (WALLS_PER_SIDE,)
    start = jnp.stack([draw(0, 27, n), draw(-66, 6, n), draw(-40, 12, n)], -1)
    line = jnp.stack([start, start + 9 * draw.normal((WALLS_PER_SIDE, 3))], 1)
    matter = {"core": 0.4, "side": 0.0, "grain": 0.2}
    return (
        line,
        draw(2.0, 5.0, (WALLS_PER_SIDE, 1)),
        draw(450, 900, (WALLS_PER_SIDE, 1)),
        matter,
    )


def _teeth(draw: Draw) -> list[tuple[Array, Array, Array]]:
    """Returns both jaws' teeth: lines from root to crown, radii in mm, HU."""
    rows = []
    r = draw.ranges
    angle = (np.arange(TEETH_PER_SIDE) + 0.5) / TEETH_PER_SIDE * 1.5
    for root, crown, wide in ((-42.0, -59.0, 26.0), (-82.0, -62.0, 24.0)):
        x, y = wide * np.sin(angle), -36 - 44 * np.cos(angle)
        ends = [np.stack([x, y, np.full(TEETH_PER_SIDE, z)], -1) for z in (root, crown)]
        line = jnp.stack(ends, 1) + 0.7 * draw.normal((TEETH_PER_SIDE, 2, 3))
        big = np.array([1.0, 0.9, 1.0, 1.0, 1.1, 1.3, 1.3])
        radius = np.array([2.0, 3.8]) * big[:, None]
        hu = draw(1400, 2000, (TEETH_PER_SIDE, 1))
        hu = jnp.where(draw.chance(r.filling, (TEETH_PER_SIDE, 1)), 3000.0, hu)
        hu = jnp.where(draw.chance(r.tooth, (TEETH_PER_SIDE, 1)), hu, ABSENT_HU)
        rows.append((line, jnp.asarray(radius), hu))
    return rows
