"""What was put into the body: oral contrast, clips, screws, a pacemaker."""

import jax.numpy as jnp

from l3spot.phantom.draw import Draw
from l3spot.phantom.shapes import Capsules
from l3spot.phantom.spine import L3, T1, T12, Spine
from l3spot.phantom.trunk import Trunk, at_height
from l3spot.phantom.tubes import ball, bow, refine, tube


def foreign(draw: Draw, spine: Spine, trunk: Trunk) -> list[Capsules]:
    """Oral contrast in the bowel, screws and rods, clips, wires, a pacemaker."""
    r, size = draw.ranges, spine.half[L3, 0] / 23
    z = draw(-170, 70, (26,)) * size
    middle, flesh, _ = at_height(trunk, z)
    inside = draw(-0.75, 0.75, (26,)), draw(-0.7, -0.1, (26,))
    bowel = jnp.concatenate([middle + flesh * jnp.stack(inside, -1), z[:, None]], -1)
    oral = draw.chance(r.oral) & draw.chance(0.6, (26, 1))
    loops = refine(bowel[:, None] + 17 * size * draw.normal((26, 3, 3)), 3)
    clip = bowel[:6] + 25
    fused = draw.chance(r.metal) & (abs(jnp.arange(25) - (T12 + draw(1, 6))) < 2.2)
    pins = []
    for side in (1.0, -1.0):
        inner = spine.centre - spine.half * jnp.array([-0.35 * side, 0.3, -0.3])
        outer = spine.centre + jnp.array([side * 0.7, 1.0, 0.3]) * spine.half
        outer = outer + jnp.array([0.0, 22.0, 2.0]) * size
        pins.append(tube(jnp.stack([inner, outer], 1), 3.0, 3000.0, grain=0.0,
                         core=1.0, side=0.0, there=fused[:, None]))  # fmt: skip
        rod = fused[1:] & fused[:-1]
        pins.append(tube(outer, 3.0, 3000.0, core=1.0, grain=0.0, there=rod))
    chest = spine.centre[T1] + jnp.array([60.0, -120, -60]) * size
    lead = refine(chest + bow((0, 0, 0), (-40, 20, 10), (-70, 60, -60), (-30, 0, -150))
                  * size, 6)  # fmt: skip
    pacer = draw.chance(r.metal)
    metal = {"core": 1.0, "grain": 0.0, "side": 0.0}
    chyme = draw(180, 650)
    return [
        tube(loops, size * draw(5, 13, (26, 7)), chyme * draw(0.7, 1.1, (26, 1)),
             core=0.9, side=0.0, grain=0.15, there=oral),
        ball(clip, 1.5, 3000.0, there=draw.chance(r.metal, (6,)), **metal),
        *pins,
        ball(chest, 18 * size, 3000.0, there=pacer, **metal),
        tube(lead, 1.1, 2500.0, there=pacer, **metal),
    ]  # fmt: skip
