"""Pelvis and thighs."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from l3spot.phantom.draw import Draw
from l3spot.phantom.shapes import Capsules
from l3spot.phantom.spine import Spine
from l3spot.phantom.tubes import ball, mirror_pair, polyline, refine, tube

WING_RAYS = 20  # Of an iliac wing.


def pelvis(
    draw: Draw, form: Draw, spine: Spine, bone: Array, soft: Array
) -> tuple[list[Capsules], list[Capsules], Capsules]:
    """Returns hip bones, upper femurs and all of the sacrum but its bodies; the flesh.

    The third part is the sacrum's bodies as seen from the front: a projection shows
    them, and a volume has `spine.sacral_bodies` in their place. Points are left, back
    and up from the middle of S1's upper plate, in mm.
    """
    size = spine.half[-1, 0] / 26.5
    wide = size * draw(0.92, 1.1)
    scale = jnp.array([wide, size, size * draw(0.92, 1.08)])
    # The pelvis is tilted less than S1's plate, so its axes are the body's.
    at = spine.sacrum

    def put(points: Array) -> Array:
        return at + mirror_pair(points * scale)

    high = draw(*draw.ranges.crest_mm)  # At 0 the crests are at L4.
    crest = refine(polyline(
        (40, 52, 2), (58, 50, 20 + high), (88, 26, 36 + high), (112, -8, 26 + high),
        (126, -44, -10 + high / 2), (122, -56, -34),
    ), 3)  # fmt: skip
    foot = polyline((86, 4, -92))
    fan = jnp.linspace(0, crest.shape[0] - 1, WING_RAYS).astype(int)
    near = (0.15 * crest[fan] + 0.85 * foot) + draw.normal((WING_RAYS, 3)) * 2
    wing = jnp.stack([crest[fan], 0.5 * (crest[fan] + near), near], 1)
    wing = wing.at[:, 1].add(jnp.array([-3.0, 6.0, 0.0]))
    thin = jnp.array([6.0, 10.0, 9.0]) * size
    hip = put(polyline((92, 4, -92)))[:, 0]
    ramus = refine(polyline((78, -22, -104), (44, -48, -110), (12, -56, -122)), 3)
    lower = refine(polyline((14, -52, -130), (34, -30, -152), (60, 8, -158)), 3)
    seat = refine(polyline((60, 8, -158), (70, 14, -128), (80, 14, -104)), 3)
    rim = bone * draw(0.9, 1.15)
    wings = put(refine(wing, 2))
    firm = firmness(form(*form.ranges.fossa_density))
    thighs, flesh = _thighs(draw, hip, size, rim, soft)
    front, *others = _sacrum(draw, form, spine, size, bone)
    return (
        [
            *others,
            tube(
                wings, jnp.repeat(thin, 2)[:5], 480 * rim * firm, side=0.0, core=0.6,
                grain=0.1,
            ),
            tube(put(crest), 6.5 * size, 640 * rim, side=0.2, core=0.5, grain=0.12),
            tube(put(ramus), 8 * size, 560 * rim),
            tube(put(lower), 6.5 * size, 520 * rim),
            tube(put(seat), jnp.linspace(12, 16, 7) * size, 560 * rim),
            ball(hip, 29 * size, 480 * rim, core=0.5, cortex=5, side=0.35),
            *thighs,
        ],
        flesh,
        front,
    )  # fmt: skip


def firmness(fossa: Array) -> Array:
    """Returns factors [WING_RAYS, 4] of the HU along each ray, from the crest down.

    A wing is thin between the crest, the joint with the sacrum and the hip.
    """
    ray, down = np.linspace(0, 1, WING_RAYS)[:, None], np.linspace(0, 1, 4)
    firm = np.maximum(np.maximum(1 - ray / 0.35, down), (ray - 0.8) / 0.2)
    return fossa + (1 - fossa) * np.clip(firm, 0, 1)


def _sacrum(
    draw: Draw, form: Draw, spine: Spine, size: Array, bone: Array
) -> list[Capsules]:
    """Returns five fused bodies, the wings beside them and the ridge behind."""
    curve = size * draw(0.6, 1.3) * jnp.array([0.0, 0, 1, 6, 16])
    rows = jnp.arange(5.0)
    y, z = size * (8 + 14 * rows) - curve, -size * (14 + 22 * rows)
    middle = spine.sacrum + jnp.stack([0 * y, y, z], -1)
    fading = form(*form.ranges.sacrum_fading)
    narrow = jnp.array([[1.0], [1.0], [0.9], [0.7], [0.5]]) ** fading
    faint = jnp.array([[1.0], [0.9], [0.7], [0.6], [0.5]]) ** fading
    out = size * jnp.array([23.0, 19, 16, 13, 11])[:, None] * np.array([1.0, 0, 0])
    out, thick = out * narrow, size * jnp.array([13.0, 12, 10, 9, 7])[:, None]
    ends = [jnp.linspace(50, 28, 4), jnp.linspace(22, 44, 4), jnp.linspace(-8, -78, 4)]
    roots = middle[:4] - spine.sacrum + np.array([14.0, 4, 4])
    ala = mirror_pair(jnp.stack([roots, size * jnp.stack(ends, -1)], 1))
    ridge = middle[:4] + jnp.array([0.0, 24.0, -4.0]) * size
    return [
        tube(jnp.stack([middle - out, middle + out], 1), thick,
             bone * draw(480, 620) * faint, tall=0.95, side=0.05, grain=0.12),
        tube(spine.sacrum + ala, size * jnp.array([10.0, 14.0]),
             bone * draw(380, 480) * faint[:4], tall=1.1, side=0.05, core=0.5,
             grain=0.12),
        ball(ridge, 6 * size, bone * 620, tall=1.3),
    ]  # fmt: skip


def _thighs(
    draw: Draw, hip: Array, size: Array, rim: Array, soft: Array
) -> tuple[list[Capsules], list[Capsules]]:
    """Returns femurs below hip joints [2, 3], some with an implant, and their flesh."""
    out = jnp.array([[1.0], [-1.0]]) * np.array([1.0, 0.0, 0.0])
    neck = hip + size * (out * 36 + np.array([0.0, 4.0, -28.0]))
    knob = hip + size * (out * 43 + np.array([0.0, 8.0, -14.0]))
    shaft = jnp.stack(
        [neck + size * (out * (4 - 7 * i) + np.array([0.0, 2.0, -22.0 - 40 * i]))
         for i in range(5)], 1,
    )  # fmt: skip
    metal = draw.chance(draw.ranges.implant, (2,))
    head = jnp.where(metal, 3000.0, 620.0 * rim)
    return [
        ball(hip, 23.5 * size, head, core=0.55, cortex=3, side=0.3, grain=0.12),
        tube(jnp.stack([hip, neck], 1), 15 * size, 560 * rim, core=0.5, side=0.3),
        ball(knob, 14 * size, 520 * rim, core=0.5),
        tube(jnp.concatenate([neck[:, None], shaft], 1),
             jnp.array([17.0, 17, 15, 14, 13.5, 13.5]) * size, 1250 * rim,
             core=0.1, cortex=6, side=0.3),
        tube(jnp.stack([hip, neck, shaft[:, 3]], 1), 6 * size, 3000.0, core=1.0,
             side=0.0, grain=0.0, present=metal[:, None]),
    ], [
        tube(jnp.stack([hip, *shaft.swapaxes(0, 1)[1:]], 1) - size * out[:, None] * 12,
             jnp.array([60.0, 78, 80, 78, 74]) * size * draw(0.85, 1.15), soft,
             core=1.0, side=0.0, grain=0.0),
    ]  # fmt: skip
