"""Organs, vessels, lungs and gas."""

from functools import partial

import jax.numpy as jnp
import numpy as np
from jax import Array

from l3spot.phantom.draw import Draw
from l3spot.phantom.shapes import ABSENT_HU, Capsules, Ellipsoids, Matter
from l3spot.phantom.spine import L3, T1, Spine
from l3spot.phantom.trunk import Trunk, at_height
from l3spot.phantom.tubes import ball, mirror_pair, polyline, refine, tube


def organs(draw: Draw, spine: Spine, trunk: Trunk) -> tuple[Ellipsoids, Ellipsoids]:
    """Returns solid organs, and hollow ones: lungs and gas."""
    size = spine.half[L3, 0] / 23
    phase = draw.chance(draw.ranges.contrast)
    late = phase & draw.chance(0.35)

    def hu(low: float, high: float, with_low: float, with_high: float) -> Array:
        return jnp.where(phase, draw(with_low, with_high), draw(low, high))

    # x and y from the trunk's middle in half-widths and half-depths, z and half-axes in
    # mm, HU.
    liver, spleen = hu(45, 68, 80, 140), hu(42, 55, 90, 150)
    kidney = hu(28, 40, 120, 260)
    pelvis = jnp.where(late, draw(500, 1100), kidney + 20)
    bladder = jnp.where(late & draw.chance(0.6), draw(200, 1000), draw(5, 20))
    heart = hu(35, 50, 90, 220)
    left, right = draw(-25, 35), draw(-55, 15)
    none = ABSENT_HU
    solid = [
        (-0.45, -0.1, 150, 95, 75, 75, liver), (-0.15, -0.35, 170, 80, 55, 45, liver),
        (0.68, 0.25, 160, 32, 45, 52, spleen), (0.12, -0.35, 265, 58, 52, 58, heart),
        (-0.46, 0.42, right, 27, 26, 52, kidney),
       (0.46, 0.42, left, 27, 26, 52, kidney),
        (-0.36, 0.36, right, 9, 10, 22, pelvis), (0.36, 0.36, left, 9, 10, 22, pelvis),
        (0.0, -0.3, -225, 40, 35, 32, bladder),
        (-0.2, 0.62, -60, 26, 24, 95, trunk.muscle + 8),
        (0.2, 0.62, -60, 26, 24, 95, trunk.muscle + 8),
    ]  # fmt: skip
    gas = draw.ranges.bowel_gas
    hollow = [
        (-0.52, 0.02, 290, 62, 82, 105, -860.0), (0.52, 0.02, 290, 58, 80, 105, -860.0),
        (0.35, -0.35, 130, 40, 25, 28, draw.sometimes(gas, -950.0, none)),
        *[(draw(-0.6, 0.6), draw(-0.6, -0.2), draw(-150, 90), draw(8, 34),
           draw(8, 24), draw(8, 34), draw.sometimes(gas, -950.0, none))
          for _ in range(6)],
    ]  # fmt: skip
    return (
        _ellipsoids(draw, solid, trunk, size), _ellipsoids(draw, hollow, trunk, size)
    )  # fmt: skip


def _ellipsoids(draw: Draw, rows: list, trunk: Trunk, size: Array) -> Ellipsoids:
    n = len(rows)
    x, y, z, a, b, c, hu = jnp.stack([jnp.stack(
        [jnp.asarray(v, float) for v in row]) for row in rows], -1)  # fmt: skip
    z = size * (z + 8 * draw.normal((n,)))
    middle, flesh, _ = at_height(trunk, z)
    centre = jnp.concatenate(
        [middle + flesh * jnp.stack([x, y], -1) * draw(0.9, 1.05), z[:, None]], -1
    )
    half = size * jnp.stack([a, b, c], -1) * draw(0.85, 1.15, (n, 3))
    angle = 0.25 * draw.normal((n,))
    co, si, o, i = jnp.cos(angle), jnp.sin(angle), jnp.zeros(n), jnp.ones(n)
    axes = jnp.stack(
        [jnp.stack([co, o, -si], -1), jnp.stack([o, i, o], -1),
         jnp.stack([si, o, co], -1)], 1,
    )  # fmt: skip
    matter = Matter(hu, hu, jnp.ones(n), jnp.zeros(n), jnp.full(n, 0.05))
    return Ellipsoids(centre, axes, half, matter)


def vessels(draw: Draw, spine: Spine, trunk: Trunk) -> list[Capsules]:
    """Returns aorta, vena cava and their branches, and calcifications."""
    size = spine.half[L3, 0] / 23
    phase = draw.chance(draw.ranges.contrast)
    artery = jnp.where(phase, draw(120, 380), draw(35, 50))
    vein = jnp.where(phase, draw(90, 200), draw(35, 50))
    front = spine.centre[T1 + 4 : L3 + 2][::-1] - jnp.array([0.0, 1.0, 0.0]) * (
        spine.half[T1 + 4 : L3 + 2][::-1, 1:2] + 12
    )
    aorta = front + jnp.array([12.0, 0, 0]) * size + draw.normal(front.shape) * 1.5
    fork = aorta[0]
    groin = spine.sacrum + mirror_pair(polyline((75, -60, -90))) * size
    middle = spine.sacrum + mirror_pair(polyline((40, 0, -30))) * size
    iliac = refine(
        jnp.stack([jnp.broadcast_to(fork, (2, 3)), middle[:, 0], groin[:, 0]], 1), 6
    )
    kidneys = fork + mirror_pair(polyline((52, 30, 72))) * size
    root = jnp.broadcast_to(fork + jnp.array([0.0, 0, 70]) * size, (2, 1, 3))
    renal = jnp.concatenate([root, (root + kidneys) / 2 - 4, kidneys], 1)
    plaque_share = draw.chance(0.5) * draw(0.0, 0.5)
    walls = jnp.concatenate([aorta[:6], iliac.reshape(-1, 3)])
    plaques = walls + draw.normal(walls.shape) * 5 * size
    filled = partial(tube, core=1.0, side=0.0, grain=0.05)
    mesentery = _tree(draw, fork + jnp.array([10.0, -40, 20]) * size, size)
    return [
        filled(refine(aorta, 2), draw(8, 13) * size, artery),
        filled(refine(aorta - jnp.array([26.0, 0, 0]) * size, 2), 10 * size, vein),
        filled(iliac, 5.5 * size, artery),
        filled(iliac + np.array([-9.0, 8, -6]), 6 * size, vein),
        filled(refine(renal, 2), 3.2 * size, artery),
        filled(mesentery, jnp.linspace(2.6, 0.8, mesentery.shape[1]), 0.8 * artery),
        ball(plaques, draw(1, 3.5, plaques.shape[:1]),
             draw(250, 900, plaques.shape[:1]), grain=0.2,
             present=draw.chance(plaque_share, plaques.shape[:1])),
    ]  # fmt: skip


def _tree(draw: Draw, root: Array, size: Array) -> Array:
    """Returns branches [8, points, 3] of the mesenteric vessels."""
    angle = jnp.linspace(-2.4, 0.9, 8) + 0.2 * draw.normal((8,))
    reach = size * draw(50, 110, (8,))
    end = jnp.stack([reach * jnp.cos(angle), draw(-30, 5, (8,)),
                     reach * jnp.sin(angle)], -1)  # fmt: skip
    share = jnp.linspace(0, 1, 4)[:, None]
    return refine(root + share * end[:, None] + 5 * share * draw.normal((8, 4, 3)), 3)
