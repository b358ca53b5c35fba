"""Ribs, their cartilage and the sternum."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from l3spot.phantom.draw import Draw
from l3spot.phantom.shapes import Capsules
from l3spot.phantom.spine import L1, T1, T12, Spine, joint
from l3spot.phantom.tubes import refine, tube

RIB_PAIRS = 13  # The last pair, if present, is on L1.
# For each pair: half the width of the chest, the angle from the back to the rib's end,
# the descent from its vertebra to its end, and its radius.
RIB_OUT_MM = np.array([53, 84, 107, 121, 130, 136, 139, 140, 139, 135, 126, 104, 68.0])
RIB_ARC_DEG = np.array([150, 152, 152, 150, 146, 142, 138, 130, 120, 112, 92, 58, 30.0])
RIB_DROP_MM = np.array([35, 55, 70, 82, 90, 98, 104, 108, 112, 118, 125, 105, 45.0])
RIB_RADIUS_MM = np.array([4.5, 4.5, 4.6, 4.8, 4.9, 5, 5, 5, 4.9, 4.7, 4.4, 3.8, 2.5])
# Of steep ribs: where they begin to descend, from the middle of the spine, and how
# they bend; at 0.5 they leave the spine as straight lines, seen in front.
NECK_MM, RIB_BEND = (25, 75), (0.38, 0.75)
RIB_START = 0.18  # Share of the whole descent, the unit of `PhantomRanges.rib_start`.
RIB_POINTS = 12  # Of a rib's line, before refinement.
CARTILAGE_PIECES = 7  # Of each cartilage.


def cage(
    draw: Draw,
    proportions: Draw,
    form: Draw,
    spine: Spine,
    bone: Array,
    girth: Array,
) -> tuple[list[Capsules], Array, Array]:
    """Returns ribs, cartilage and sternum; the sternal notch [3]; the pairs of ribs."""
    size = spine.half[T12, 0] / 20.5
    levels = np.r_[T1 : T12 + 1, L1]
    pairs = 12 - draw.chance(draw.ranges.ribs_11) * 1
    pairs = jnp.where(draw.chance(draw.ranges.ribs_13), 13, pairs)
    present = (np.arange(RIB_PAIRS) < pairs)[:, None]
    start = proportions(*draw.ranges.rib_start)
    lines = lines_of_ribs(draw, form, spine, levels, size, girth, start)
    rim = bone * draw(520, 800) * draw(0.88, 1.12, (2, RIB_PAIRS, 1))
    radius = size * RIB_RADIUS_MM[:, None] * draw(*draw.ranges.rib_radius)
    thick = radius * _uneven(draw, lines, 0.12)
    ribs = tube(
        lines, thick, rim * _uneven(draw, lines, 0.15)[..., 1:], tall=draw(1.2, 1.6),
        side=form(*form.ranges.rib_hollow), grain=0.1, core=0.5, present=present,
    )  # fmt: skip
    front, notch = _front(draw, lines, size, bone)
    return [ribs, *front], notch, pairs


def _uneven(draw: Draw, lines: Array, much: float) -> Array:
    """Returns factors [2, pairs, points] about 1 that change slowly along the lines."""
    share = jnp.linspace(0, 1, lines.shape[2])
    waves = draw(2, 9, (*lines.shape[:2], 1)) * share + draw(
        0, 7, (*lines.shape[:2], 1)
    )
    return 1 + much * jnp.sin(waves)


def lines_of_ribs(
    draw: Draw,
    form: Draw,
    spine: Spine,
    levels: np.ndarray,
    size: Array,
    girth: Array,
    start: Array,
) -> Array:
    """Returns lines [2, pairs, points, 3], each from its vertebra to the front."""
    stiff = 0.5 + 0.5 * girth
    wide = size * stiff * RIB_OUT_MM * (1 + 0.02 * draw.normal())
    deep = size * stiff * 0.78 * np.maximum(RIB_OUT_MM, 85) * draw(0.9, 1.12)
    end = jnp.radians(RIB_ARC_DEG * draw(0.9, 1.06))
    # Floating ribs vary most in length; the twelfth can be a stump.
    end = end.at[10:].multiply(draw(jnp.array([0.75, 0.4, 0.4]), 1.3, (3,)))
    angle = jnp.linspace(0.32, 1, RIB_POINTS) * end[:, None]
    fall = size * RIB_DROP_MM * draw(*draw.ranges.rib_drop)
    share = (1 - jnp.cos(angle * np.pi / (2.2 * jnp.maximum(end[:, None], 1)))) ** 0.75
    share = share - (1 - start) * share[:, :1]
    steep = _steep(form, size / wide, angle) + RIB_START * start
    share = jnp.where(form.chance(form.ranges.steep_ribs), steep, share)
    lines = []
    for side in (1.0, -1.0):
        root = spine.centre[levels] + jnp.einsum(
            "li,lij->lj", spine.half[levels] * np.array([side, 0.75, 0.5]),
            spine.axes[levels],
        )  # fmt: skip
        neck = joint(spine, side)[levels]
        middle = spine.centre[levels]
        behind = middle[:, 1] + spine.half[levels, 1] + 38 * size
        x = middle[:, :1] + side * wide[:, None] * jnp.sin(angle)
        y = behind[:, None] - deep[:, None] * (1 - jnp.cos(angle))
        z = middle[:, 2:] - fall[:, None] * share + 2 * draw.normal((RIB_PAIRS, 1))
        arc = jnp.stack([x, y, z], -1)
        head = jnp.stack([root, neck + np.array([0.0, 2.0, 0.0])], 1)
        lines.append(jnp.concatenate([head, arc], 1))
    return refine(jnp.stack(lines), 2)


def _steep(form: Draw, narrow: Array, angle: Array) -> Array:
    """Returns the shares [pairs, points] of the descent of steep ribs.

    A short rib is a part of a long one.

    Args:
      form: random numbers.
      narrow: [pairs], 1 / half the width of the chest in mm of an average adult.
      angle: [pairs, points] from the back.
    """
    neck = jnp.arcsin(jnp.minimum(form(*NECK_MM) * narrow, 0.6))[:, None]
    path = (angle - neck) / (np.radians(RIB_ARC_DEG)[:, None] - neck)
    return (1 - jnp.cos(jnp.clip(path, 0, 1.1) * np.pi / 2.2)) ** form(*RIB_BEND)


def _front(
    draw: Draw, lines: Array, size: Array, bone: Array
) -> tuple[list[Capsules], Array]:
    """Returns cartilage of ribs 2 to 10 and the sternum; and the sternal notch [3]."""
    ends = lines[:, 1:10, -1]
    x = ends[..., 0].mean()
    front = ends[..., 1].min() - 4 * size
    top = ends[:, 0, 2].mean() + 25 * size
    notch = jnp.array([x, front + 12 * size, top])
    tip = jnp.array([x, front, top - 175 * size])
    share = jnp.clip((top - ends[..., 2:] - 10 * size) / (175 * size), 0.1, 0.97)
    at = notch + share * (tip - notch) + jnp.zeros_like(ends)
    at = at.at[..., 0].add(jnp.array([[14.0], [-14.0]]) * size)
    # Cartilage descends from the rib and rises to the sternum.
    low = (ends + at) / 2 - jnp.array([0.0, 4.0, 14.0]) * size
    path = refine(jnp.stack([ends, low, at], 2), CARTILAGE_PIECES)
    old = draw.ranges.calcified_cartilage
    grade = draw.chance(old) * draw(0.2, 0.85)
    present = draw.chance(grade, (*path.shape[:2], path.shape[2] - 1))
    shifted = path + draw.normal(path.shape) * np.array([2.0, 1.5, 2.5])
    bits = tube(
        shifted, size * draw(1.5, 3.6, path.shape[:3]), draw(350, 1100, present.shape),
        core=0.9, side=0.0, grain=0.25, present=present,
    )  # fmt: skip
    waist = notch + 0.28 * (tip - notch)
    broad = jnp.array([17.0, 10.0, 15.0]) * size
    plate = tube(
        jnp.stack([notch, waist, tip + 30 * size * np.array([0, 0, 1.0])]), broad,
        bone * draw(300, 420), cortex=2.0, grain=0.15,
    )  # fmt: skip
    return [bits, plate], notch
