"""A body and how it is scanned: one description, for both renderers."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from l3spot.phantom import (
    foreign,
    head,
    organs,
    pelvis,
    shoulders,
    spine,
    thorax,
    trunk,
)
from l3spot.phantom.draw import Draw, Ranges
from l3spot.phantom.shapes import Blocks, Capsules, Ellipsoids
from l3spot.phantom.trunk import Trunk
from l3spot.phantom.tubes import join


class Scan(NamedTuple):
    """How a body is scanned; scalars, mm and HU.

    low, high: ends of the field of view, above the middle of L3's body.
    step: between planes. pixel: of a plane. sharpness: from air to a rim.
    noise: of a plane. streaks: where the body is widest. clip: the highest HU.
    x, y: the middle of the field of view.
    """

    low: Array
    high: Array
    step: Array
    pixel: Array
    sharpness: Array
    noise: Array
    streaks: Array
    clip: Array
    x: Array
    y: Array


class Body(NamedTuple):
    """Left, back and head are positive, as in DICOM; L3's body has its middle at 0.

    fine: capsules that reach no further than 40 mm; wide: the others.
    """

    trunk: Trunk
    organs: Ellipsoids
    hollow: Ellipsoids
    blocks: Blocks
    fine: Capsules
    wide: Capsules


def draw(key: Array, ranges: Ranges) -> tuple[Body, Scan]:
    """A body and a scan of it, at random."""
    # Head and shoulder blades have draws of their own, so that trunks do not depend on
    # how many those are.
    d, other = Draw(key, ranges), Draw(jax.random.fold_in(key, 1), ranges)
    bone, girth, fat = d(*ranges.bone), d(*ranges.girth), d(*ranges.fat)
    up = d.chance(ranges.arms_up)
    column = spine.stand(d)
    shape = trunk.around(d, column, girth, fat)
    solid, hollow = organs.organs(d, column, shape)
    arms, flesh, acromion = shoulders.arms(d, other, column, bone, up, shape.muscle)
    hips, legs = pelvis.pelvis(d, column, bone, shape.muscle)
    skull, face = head.head(other, column, bone, shape.muscle)
    arches = spine.arches(d, column, bone)
    cage, notch = thorax.cage(d, column, bone, girth)
    fine = join([
        arches,
        *cage,
        *arms,
        *shoulders.collar(d, notch, acromion, bone),
        *hips,
        *face,
        *organs.vessels(d, column, shape),
        *foreign.foreign(d, column, shape),
    ])  # fmt: skip
    blocks = spine.bodies(d, column, bone)
    body = Body(shape, solid, hollow, blocks, fine, join([*flesh, *legs, *skull]))
    return body, _scan(d, body)


def _scan(d: Draw, body: Body) -> Scan:
    r = d.ranges
    out = d.chance(r.without)
    length = jnp.exp(d(*jnp.log(jnp.array(r.length))))
    # In view with at least 15 mm of it, anywhere in the scan; or else beyond an end.
    low = -15 - d(0, 1) * jnp.maximum(length - 30, 0)
    beyond = jnp.where(d.chance(0.5), d(15, 200), -length - d(15, 120))
    low = jnp.where(out, beyond, low)
    low = jnp.clip(low, -480.0, None)
    high = jnp.clip(low + length, None, 680.0)
    low = jnp.minimum(low, high - r.length[0])
    step = jnp.exp(d(*jnp.log(jnp.array(r.step))))
    pixel = d(*r.pixel)
    centre, _, _ = trunk.at_height(body.trunk, (low + high) / 2)
    return Scan(
        low, high, step, pixel,
        jnp.maximum(d(*r.sharpness), 0.3 * step),
        d(*r.noise), d(*r.streaks) * d.chance(0.5),
        jnp.where(d.chance(r.clip), 1023.0, 3071.0),
        centre[0] + d(-20, 20), centre[1] + d(-15, 15),
    )  # fmt: skip
