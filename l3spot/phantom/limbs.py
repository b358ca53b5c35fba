"""Pelvis, thighs, shoulders, arms and head."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from l3spot.phantom.draw import Draw
from l3spot.phantom.shapes import Capsules
from l3spot.phantom.spine import C7, T1, Spine
from l3spot.phantom.tubes import ball, both, bow, refine, tube

FAN = 20  # Rays of an iliac wing.


def pelvis(
    draw: Draw, spine: Spine, bone: Array, soft: Array
) -> tuple[list[Capsules], list[Capsules]]:
    """Sacrum, hip bones and the upper ends of the thigh bones; and the thighs' flesh.

    Points are given from the middle of S1's upper plate: left, back, up, mm.
    """
    size = spine.half[-1, 0] / 26.5
    wide = size * draw(0.92, 1.1)
    scale = jnp.array([wide, size, size * draw(0.92, 1.08)])
    # The pelvis turns less than S1's plate does: its own frame is the body's.
    at = spine.sacrum

    def put(points: Array) -> Array:
        return at + both(points * scale)

    high = draw(-14, 16)  # How high the crests stand; L4 on average.
    crest = refine(bow(
        (40, 52, 2), (58, 50, 20 + high), (88, 26, 36 + high), (112, -8, 26 + high),
        (126, -44, -10 + high / 2), (122, -56, -34),
    ), 3)  # fmt: skip
    foot = bow((86, 4, -92))
    fan = jnp.linspace(0, crest.shape[0] - 1, FAN).astype(int)
    near = (0.15 * crest[fan] + 0.85 * foot) + draw.normal((FAN, 3)) * 2
    wing = jnp.stack([crest[fan], 0.5 * (crest[fan] + near), near], 1)
    wing = wing.at[:, 1].add(jnp.array([-3.0, 6.0, 0.0]))
    thin = jnp.array([6.0, 10.0, 9.0]) * size
    hip = put(bow((92, 4, -92)))[:, 0]
    ramus = refine(bow((78, -22, -104), (44, -48, -110), (12, -56, -122)), 3)
    lower = refine(bow((14, -52, -130), (34, -30, -152), (60, 8, -158)), 3)
    seat = refine(bow((60, 8, -158), (70, 14, -128), (80, 14, -104)), 3)
    rim = bone * draw(0.9, 1.15)
    wings = put(refine(wing, 2))
    thighs, flesh = _thighs(draw, hip, size, rim, soft)
    return [
        *_sacrum(draw, spine, size, bone),
        tube(wings, jnp.repeat(thin, 2)[:5], 480 * rim, side=0.0, core=0.6, grain=0.1),
        tube(put(crest), 6.5 * size, 640 * rim, side=0.2, core=0.5, grain=0.12),
        tube(put(ramus), 8 * size, 560 * rim),
        tube(put(lower), 6.5 * size, 520 * rim),
        tube(put(seat), jnp.linspace(12, 16, 7) * size, 560 * rim),
        ball(hip, 29 * size, 480 * rim, core=0.5, cortex=5, side=0.35),
        *thighs,
    ], flesh


def _sacrum(draw: Draw, spine: Spine, size: Array, bone: Array) -> list[Capsules]:
    """Five fused vertebrae, the wings beside them, the ridge behind."""
    curve = size * draw(0.6, 1.3) * jnp.array([0.0, 0, 1, 6, 16])
    rows = jnp.arange(5.0)
    y, z = size * (8 + 14 * rows) - curve, -size * (14 + 22 * rows)
    middle = spine.sacrum + jnp.stack([0 * y, y, z], -1)
    out = size * jnp.array([23.0, 19, 16, 13, 11])[:, None] * np.array([1.0, 0, 0])
    thick = size * jnp.array([13.0, 12, 10, 9, 7])[:, None]
    ends = [jnp.linspace(50, 28, 4), jnp.linspace(22, 44, 4), jnp.linspace(-8, -78, 4)]
    roots = middle[:4] - spine.sacrum + np.array([14.0, 4, 4])
    ala = both(jnp.stack([roots, size * jnp.stack(ends, -1)], 1))
    ridge = middle[:4] + jnp.array([0.0, 24.0, -4.0]) * size
    return [
        tube(jnp.stack([middle - out, middle + out], 1), thick, bone * draw(480, 620),
             tall=0.95, side=0.05, grain=0.12),
        tube(spine.sacrum + ala, size * jnp.array([10.0, 14.0]), bone * draw(380, 480),
             tall=1.1, side=0.05, core=0.5, grain=0.12),
        ball(ridge, 6 * size, bone * 620, tall=1.3),
    ]  # fmt: skip


def _thighs(
    draw: Draw, hip: Array, size: Array, rim: Array, soft: Array
) -> tuple[list[Capsules], list[Capsules]]:
    """Thigh bones below hip joints [2, 3], and their flesh. One may be an implant."""
    out = jnp.array([[1.0], [-1.0]]) * np.array([1.0, 0.0, 0.0])
    neck = hip + size * (out * 36 + np.array([0.0, 4.0, -28.0]))
    knob = hip + size * (out * 43 + np.array([0.0, 8.0, -14.0]))
    shaft = jnp.stack(
        [neck + size * (out * (4 - 7 * i) + np.array([0.0, 2.0, -22.0 - 40 * i]))
         for i in range(5)], 1,
    )  # fmt: skip
    metal = draw.chance(draw.ranges.metal, (2,))
    head = jnp.where(metal, 3000.0, 620.0 * rim)
    return [
        ball(hip, 23.5 * size, head, core=0.55, cortex=3, side=0.3, grain=0.12),
        tube(jnp.stack([hip, neck], 1), 15 * size, 560 * rim, core=0.5, side=0.3),
        ball(knob, 14 * size, 520 * rim, core=0.5),
        tube(jnp.concatenate([neck[:, None], shaft], 1),
             jnp.array([17.0, 17, 15, 14, 13.5, 13.5]) * size, 1250 * rim,
             core=0.1, cortex=6, side=0.3),
        tube(jnp.stack([hip, neck, shaft[:, 3]], 1), 6 * size, 3000.0, core=1.0,
             side=0.0, grain=0.0, there=metal[:, None]),
    ], [
        tube(jnp.stack([hip, *shaft.swapaxes(0, 1)[1:]], 1) - size * out[:, None] * 12,
             jnp.array([60.0, 78, 80, 78, 74]) * size * draw(0.85, 1.15), soft,
             core=1.0, side=0.0, grain=0.0),
    ]  # fmt: skip


def shoulders(
    draw: Draw, spine: Spine, bone: Array, up: Array, soft: Array
) -> tuple[list[Capsules], list[Capsules]]:
    """Shoulder blades and arms, raised or at the sides; and their flesh."""
    size, rim = spine.half[T1, 0] / 14.5, bone * draw(0.9, 1.1)
    at = spine.centre[T1] * np.array([0.0, 1.0, 1.0])
    joint = bow((158, 22, -18)) * size
    raised = bow((172, 20, 22)) * size
    joint = jnp.where(up, raised, joint)[0]
    far = jnp.where(
        up, jnp.array([draw(160, 235), draw(-40, 20), draw(250, 310)]),
        jnp.array([draw(205, 240), draw(20, 50), -320.0]),
    ) * size  # fmt: skip
    hand = jnp.where(
        up, jnp.array([draw(20, 160), -40.0, draw(380, 460)]),
        jnp.array([draw(150, 240), draw(-90, 0), -560.0]),
    ) * size  # fmt: skip
    flank = draw.normal((2, 3)) * 8

    def put(points: Array) -> Array:
        points = both(points)
        return at + points + flank.reshape(2, *[1] * (points.ndim - 2), 3)

    def line(a: Array, b: Array, pieces: int) -> Array:
        return a + jnp.linspace(0, 1, pieces + 1)[:, None] * (b - a)

    blade = jnp.stack([
        jnp.stack([joint + bow((-12, 8, -4))[0], joint + b], 0)
        for b in bow((-80, 45, 20), (-78, 50, -30), (-66, 48, -80), (-52, 40, -110))
        * size
    ])  # fmt: skip
    blade = refine(blade, 4)
    ridge = line(joint + bow((-84, 52, 8))[0] * size, joint + bow((4, 8, 24))[0], 5)
    arm, fore = line(joint, far, 10), line(far, hand, 9)
    flesh, dense = soft * draw(0.9, 1.1), 1150 * rim
    return [
        tube(put(blade), 6 * size, 330 * rim, side=0.3, core=0.6, grain=0.15),
        tube(put(ridge), 5 * size, 650 * rim),
        ball(put(joint), 22 * size, 560 * rim, core=0.45, cortex=3, side=0.35),
        tube(put(arm), 11.5 * size, 1250 * rim, core=0.1, cortex=5, side=0.25),
        tube(put(fore + np.array([6.0, 0, 0])), 7 * size, dense, core=0.2),
        tube(put(fore - np.array([9.0, 0, 0])), 6.5 * size, dense, core=0.2),
        ball(put(far), 15 * size, 700 * rim, core=0.5),
    ], [
        tube(put(arm), jnp.linspace(40, 34, 11) * size, flesh, core=1.0, side=0.0,
             grain=0.0),
        tube(put(fore), jnp.linspace(33, 22, 10) * size, flesh, core=1.0, side=0.0,
             grain=0.0),
    ]  # fmt: skip


def head(draw: Draw, spine: Spine, bone: Array) -> tuple[Capsules, list[Capsules]]:
    """Skull; jaw, teeth and ears; all roughly."""
    size = spine.half[C7, 0] / 14
    at = spine.centre[0]
    low, top = bow((0, -12, 55))[0] * size, bow((0, 4, 95))[0] * size
    ears = both(bow((58, 4, 30))[0] * size)
    skull = tube(
        at + jnp.stack([low - bow((0, 12, 0))[0], top + bow((0, 14, 0))[0]]),
        jnp.array([70.0, 76.0]) * size, bone * 1500, core=0.03, cortex=7, side=0.0,
    )  # fmt: skip
    jaw = refine(bow((52, -18, 22), (48, -28, -18), (26, -66, -38), (0, -80, -42)), 3)
    teeth = bow((24, -62, -14), (0, -76, -20)) * size
    return skull, [
        tube(at + both(jaw * size), 8 * size, bone * 1200),
        ball(at + ears, 16 * size, bone * 1300, grain=0.3),
        tube(at + both(teeth), 9 * size, 1800.0, grain=0.3),
    ]


def limbs(
    draw: Draw, spine: Spine, bone: Array, up: Array, soft: Array
) -> tuple[list[Capsules], list[Capsules]]:
    """All of this module: what is fine, and what is wide."""
    bones, flesh = shoulders(draw, spine, bone, up, soft)
    skull, face = head(draw, spine, bone)
    hips, legs = pelvis(draw, spine, bone, soft)
    return [*hips, *bones, *face], [*flesh, *legs, skull]
