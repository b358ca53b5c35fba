"""Foreign bodies: oral contrast, clips, screws, a pacemaker."""

import jax.numpy as jnp

from l3spot.phantom.draw import Draw
from l3spot.phantom.shapes import Capsules
from l3spot.phantom.spine import L3, T1, T12, Spine
from l3spot.phantom.trunk import Trunk, at_height
from l3spot.phantom.tubes import ball, polyline, refine, tube


def foreign_bodies(draw: Draw, spine: Spine, trunk: Trunk) -> list[Capsules]:
    """Returns oral contrast in the bowel, screws, rods, clips, wires, a pacemaker."""
    r, size = draw.ranges, spine.half[L3, 0] / 23
    z = draw(-170, 70, (26,)) * size
    middle, flesh, _ = at_height(trunk, z)
    inside = draw(-0.75, 0.75, (26,)), draw(-0.7, -0.1, (26,))
    bowel = jnp.concatenate([middle + flesh * jnp.stack(inside, -1), z[:, None]], -1)
    oral = draw.chance(r.oral_contrast) & draw.chance(0.6, (26, 1))
    loops = refine(bowel[:, None] + 17 * size * draw.normal((26, 3, 3)), 3)
    clip = bowel[:6] + 25
    fused = draw.chance(r.implant) & (abs(jnp.arange(25) - (T12 + draw(1, 6))) < 2.2)
    pins = []
    for side in (1.0, -1.0):
        inner = spine.centre - spine.half * jnp.array([-0.35 * side, 0.3, -0.3])
        outer = spine.centre + jnp.array([side * 0.7, 1.0, 0.3]) * spine.half
        outer = outer + jnp.array([0.0, 22.0, 2.0]) * size
        pins.append(tube(jnp.stack([inner, outer], 1), 3.0, 3000.0, grain=0.0,
                         core=1.0, side=0.0, present=fused[:, None]))  # fmt: skip
        rod = fused[1:] & fused[:-1]
        pins.append(tube(outer, 3.0, 3000.0, core=1.0, grain=0.0, present=rod))
    chest = spine.centre[T1] + jnp.array([60.0, -120, -60]) * size
    lead = polyline((0, 0, 0), (-40, 20, 10), (-70, 60, -60), (-30, 0, -150))
    lead = refine(chest + lead * size, 6)
    pacer = draw.chance(r.implant)
    metal = {"core": 1.0, "grain": 0.0, "side": 0.0}
    chyme = draw(180, 650)
    return [
        tube(loops, size * draw(5, 13, (26, 7)), chyme * draw(0.7, 1.1, (26, 1)),
             core=0.9, side=0.0, grain=0.15, present=oral),
        ball(clip, 1.5, 3000.0, present=draw.chance(r.implant, (6,)), **metal),
        *pins,
        ball(chest, 18 * size, 3000.0, present=pacer, **metal),
        tube(lead, 1.1, 2500.0, present=pacer, **metal),
    ]  # fmt: skip
