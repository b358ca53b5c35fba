"""Shoulder blades, collar bones and arms, raised or at the sides."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from l3spot.phantom.draw import Draw
from l3spot.phantom.shapes import Capsules
from l3spot.phantom.spine import T1, Spine
from l3spot.phantom.tubes import ball, mirror_pair, polyline, refine, tube

# Radii and density along a raised arm, from shoulder to elbow and hand. Arms at the
# sides have constant radii and density: they lie beside the spine.
HUMERUS_RADIUS_MM = np.array([15, 13.5, 12, 11, 10.5, 10, 10, 10, 10.5, 12, 15.0])
HUMERUS_DENSITY = np.array([0.5, 0.66, 0.82, 0.95, 1, 1, 1, 0.95, 0.82, 0.6])
FOREARM_DENSITY = np.array([0.5, 0.7, 0.9, 1, 1, 1, 1, 1, 1])
LEFT = np.array([1.0, 0, 0])
# Radii and density along a collar bone, from the sternum.
COLLAR_RADIUS_MM = np.array([8.5, 7.5, 6.5, 6, 5.5, 5.5, 5.5, 6, 6.5, 6.5])
COLLAR_DENSITY = np.array([0.5, 0.8, 1.1, 1.25, 1.3, 1.3, 1.2, 0.9, 0.65])


def arms(
    draw: Draw, other: Draw, spine: Spine, bone: Array, up: Array, soft: Array
) -> tuple[list[Capsules], list[Capsules], Array]:
    """Returns shoulder blades and arms; the arms' flesh; and both acromia [2, 3].

    Points are left, back and up from T1's middle, in mm.
    """
    size, rim = spine.half[T1, 0] / 14.5, bone * draw(0.9, 1.1)
    # Cortical bone varies less than spongy bone.
    firm = rim * jnp.where(up, bone**-0.5, 1.0)
    at = spine.centre[T1] * np.array([0.0, 1.0, 1.0])
    low, raised = polyline((158, 22, -18)), polyline((160, 20, -4))
    joint = size * jnp.where(up, raised, low)[0]
    far = jnp.where(
        up, jnp.array([draw(158, 215), draw(-70, 0), draw(195, 265)]),
        jnp.array([draw(205, 240), draw(20, 50), -320.0]),
    ) * size  # fmt: skip
    hand = jnp.where(
        up, jnp.array([draw(20, 120), -60.0, draw(390, 450)]),
        jnp.array([draw(150, 240), draw(-90, 0), -560.0]),
    ) * size  # fmt: skip
    flank = draw.normal((2, 3)) * 8

    def put(points: Array) -> Array:
        points = mirror_pair(points)
        return at + points + flank.reshape(2, *[1] * (points.ndim - 2), 3)

    def line(a: Array, b: Array, pieces: int) -> Array:
        return a + jnp.linspace(0, 1, pieces + 1)[:, None] * (b - a)

    arm, fore = line(joint, far, 10), line(far, hand, 9)
    flesh = soft * draw(0.9, 1.1)
    turn = jnp.where(up, other(*other.ranges.shoulder_blade_rad), 0.0)
    blade, acromion = _blade(joint, turn, size)
    plate, borders, ridge, glenoid, hook = (put(b) for b in blade)
    apart = jnp.where(up, 5.5 * size, jnp.array([6.0, 9.0]))
    side, grain = jnp.where(up, 0.1, 0.3), jnp.where(up, 0.05, 0.1)
    upper, lower = (
        firm * jnp.where(up, d, 1.0) for d in (HUMERUS_DENSITY, FOREARM_DENSITY)
    )
    knuckles = far + size * polyline((-14, 0, -10), (-8, 0, 9), (9, 2, 11), (12, 4, -6))
    return [
        tube(plate, 7.5 * size, 270 * rim, side=0.0, core=0.6, grain=0.12),
        tube(borders[:, 0], jnp.linspace(8, 4, 13) * size, 1000 * rim, side=0.15),
        tube(borders[:, 1], 3.5 * size, 400 * rim, grain=0.15),
        tube(ridge, jnp.linspace(3.5, 8, 13) * size, 620 * rim, side=0.2, grain=0.12),
        tube(glenoid, size * jnp.array([9.0, 15]), 760 * rim, core=0.5, grain=0.15),
        tube(hook, size * jnp.linspace(7, 10, 7), 560 * rim, core=0.5, side=0.35),
        ball(put(joint), 22 * size, 560 * rim, core=0.45, cortex=3, side=0.35),
        tube(put(arm), size * jnp.where(up, HUMERUS_RADIUS_MM, 11.5), 1250 * upper,
             core=0.1, cortex=5, side=side - 0.05, grain=grain),
        tube(put(fore + apart[0] * LEFT), 7 * size, 1150 * lower, core=0.2, side=side,
             grain=grain),
        tube(put(fore - apart[1] * LEFT), 6.5 * size, 1150 * lower, core=0.2, side=side,
             grain=grain),
        ball(put(far), size * jnp.where(up, 17, 15), rim * jnp.where(up, 560, 700),
             core=0.5),
        tube(put(knuckles), 9 * size, 700 * rim, core=0.5, grain=0.25, present=up),
    ], [
        tube(put(arm), jnp.linspace(jnp.where(up, 48, 40), 34, 11) * size, flesh,
             core=1.0, side=0.0, grain=0.0),
        tube(put(fore), jnp.linspace(33, 22, 10) * size, flesh, core=1.0, side=0.0,
             grain=0.0),
        tube(borders[:, 0, ::6], jnp.array([38, 32, 24]) * size, flesh, core=1.0,
             side=0.0, grain=0.0),
    ], put(acromion)  # fmt: skip


def _blade(joint: Array, turn: Array, size: Array) -> tuple[list[Array], Array]:
    """Returns parts of the left shoulder blade, and its acromion.

    The parts are plate, borders, spine, socket and coracoid. Points are relative to the
    joint of an arm at the side; the blade is rotated about the joint.
    """
    c, s = jnp.cos(turn), jnp.sin(turn)
    frame = jnp.stack([c, 0 * c, s, 0 * c, 1 + 0 * c, 0 * c, -s, 0 * c, c])

    def at(points: Array) -> Array:
        return joint + size * points @ frame.reshape(3, 3)

    outer = refine(polyline(
        (-20, 8, -14), (-38, 12, -52), (-56, 18, -90), (-68, 20, -116), (-74, 20, -114)
    ), 3)  # fmt: skip
    inner = refine(polyline(
        (-74, 22, 26), (-86, 28, 0), (-88, 30, -34), (-82, 28, -74), (-76, 22, -112)
    ), 3)  # fmt: skip
    ends = outer.at[0].set(jnp.array([-26.0, 14, 12])), inner
    plate = jnp.stack([ends[0], sum(ends) / 2 + polyline((0, 4, 0)), ends[1]], 1)
    tip = polyline((-4, 4, 25))[0]
    ridge = polyline((-86, 32, -6), (-48, 34, 6), (-10, 26, 22), (6, 14, 28))
    ridge = refine(jnp.concatenate([ridge, tip[None]]), 3)
    socket = polyline((-30, 14, -4), (-19, 6, -6))
    hook = refine(polyline((-24, 6, 6), (-30, -14, 16), (-34, -30, 8)), 3)
    parts = [plate, jnp.stack([outer, inner]), ridge, socket, hook]
    return [at(p) for p in parts], at(tip)


def collar(draw: Draw, notch: Array, acromion: Array, bone: Array) -> list[Capsules]:
    """Returns collar bones from the sternal notch [3] to both acromia [2, 3]."""
    size = jnp.abs(acromion[0, 0] - acromion[1, 0]) / 310
    inner = notch + mirror_pair(polyline((16, 2, 4))[0] * size)
    share = jnp.linspace(0, 1, COLLAR_RADIUS_MM.size)[:, None]
    line = inner[:, None] + share * (acromion - inner)[:, None]
    # An S, seen from above: first to the front, then to the back.
    bend = jnp.sin(2 * jnp.pi * share) * jnp.array([0.0, -12.0, -3.5]) * size
    dense = jnp.sqrt(bone) * draw(700, 950) * COLLAR_DENSITY
    return [tube(line + bend, COLLAR_RADIUS_MM * size, dense, core=0.5, side=0.15)]
