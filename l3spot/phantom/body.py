"""A random body and a random scan of it, for both renderers."""

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
from l3spot.phantom.draw import Draw, PhantomRanges
from l3spot.phantom.shapes import Blocks, Capsules, Ellipsoids
from l3spot.phantom.trunk import Trunk
from l3spot.phantom.tubes import concatenate


class Scan(NamedTuple):
    """How a body is scanned; scalars.

    Attributes:
      low_mm: lower end of the field of view, above the middle of L3's body.
      high_mm: upper end of the field of view, above the middle of L3's body.
      slice_mm: distance between slices.
      pixel_mm: size of a slice's pixel.
      sharpness_mm: distance from air to the full HU of a rim.
      noise_hu: standard deviation of a slice's noise.
      streaks_hu: standard deviation of streaks where the body is widest.
      max_hu: the highest HU that the scanner stores.
      x_mm: middle of the field of view, to the left.
      y_mm: middle of the field of view, to the back.
    """

    low_mm: Array
    high_mm: Array
    slice_mm: Array
    pixel_mm: Array
    sharpness_mm: Array
    noise_hu: Array
    streaks_hu: Array
    max_hu: Array
    x_mm: Array
    y_mm: Array


class Body(NamedTuple):
    """The solids of a body, in mm from the middle of L3's body.

    Left, back and head are positive, as in DICOM.

    Attributes:
      trunk: skin, fat and muscle.
      organs: solid organs.
      hollow: lungs and gas.
      blocks: vertebral bodies.
      fine: capsules with an extent of at most 40 mm.
      wide: all other capsules.
      discs: between the vertebral bodies; too dark to be seen in a projection.
      canal: the dural sac, likewise.
      sacrum: bodies of the sacrum, in volumes.
      sacrum_front: the same in projections.
      rib_pairs: the number of pairs of ribs; the first is on T1.
    """

    trunk: Trunk
    organs: Ellipsoids
    hollow: Ellipsoids
    blocks: Blocks
    fine: Capsules
    wide: Capsules
    discs: Blocks
    canal: Capsules
    sacrum: Blocks
    sacrum_front: Capsules
    rib_pairs: Array


def draw(key: Array, ranges: PhantomRanges) -> tuple[Body, Scan]:
    """Draws a random body and a random scan of it."""
    # Head and shoulder blades have their own random numbers, and so have the discs, the
    # height of vertebrae, and the form of ribs and hips, so that the rest of the trunk
    # does not depend on their count.
    keys = key, *(jax.random.fold_in(key, i) for i in (1, 2, 3, 4))
    d, other, soft, proportions, form = (Draw(k, ranges) for k in keys)
    bone, girth, fat = d(*ranges.bone_density), d(*ranges.girth), d(*ranges.fat_mm)
    up = d.chance(ranges.arms_up)
    column = spine.make_spine(d, proportions)
    shape = trunk.make_trunk(d, column, girth, fat)
    solid, hollow = organs.organs(d, column, shape)
    arms, flesh, acromion = shoulders.arms(d, other, column, bone, up, shape.muscle)
    hips, legs, sacrum_front = pelvis.pelvis(d, form, column, bone, shape.muscle)
    skull, face = head.head(other, column, bone, shape.muscle)
    arches = spine.arches(d, column, bone)
    cage, notch, rib_pairs = thorax.cage(d, proportions, form, column, bone, girth)
    dense_pelvis, dense_ribs = (
        proportions(*r) for r in (ranges.pelvis_density, ranges.rib_density)
    )
    hips = [_denser(part, dense_pelvis) for part in hips]
    sacrum_front = _denser(sacrum_front, dense_pelvis)
    cage = [_denser(cage[0], dense_ribs), *cage[1:]]
    fine = concatenate([
        arches,
        *cage,
        *arms,
        *shoulders.collar(d, notch, acromion, bone),
        *hips,
        *face,
        *organs.vessels(d, column, shape),
        *foreign.foreign_bodies(d, column, shape),
    ])  # fmt: skip
    blocks = spine.bodies(d, column, bone)
    body = Body(
        shape, solid, hollow, blocks, fine, concatenate([*flesh, *legs, *skull]),
        spine.discs(soft, column), spine.canal(soft, column),
        spine.sacral_bodies(soft, column, bone), sacrum_front, rib_pairs,
    )  # fmt: skip
    return body, _scan(d, body)


def _denser(c: Capsules, factor: Array) -> Capsules:
    """Multiplies the HU of bones, but not of metal, which cannot be brighter."""
    m, bone = c.matter, (c.matter.rim_hu > 0) & (c.matter.rim_hu < 2900)
    rim, core = (jnp.where(bone, factor * hu, hu) for hu in (m.rim_hu, m.core_hu))
    return c._replace(matter=m._replace(rim_hu=rim, core_hu=core))


def _scan(d: Draw, body: Body) -> Scan:
    r = d.ranges
    without_l3 = d.chance(r.without_l3)
    length_mm = jnp.exp(d(*jnp.log(jnp.array(r.length_mm))))
    # L3 is anywhere in the scan, 15 mm or more from its ends, or beyond an end.
    low_mm = -15 - d(0, 1) * jnp.maximum(length_mm - 30, 0)
    beyond_mm = jnp.where(d.chance(0.5), d(15, 200), -length_mm - d(15, 120))
    low_mm = jnp.where(without_l3, beyond_mm, low_mm)
    low_mm = jnp.clip(low_mm, -480.0, None)
    high_mm = jnp.clip(low_mm + length_mm, None, 680.0)
    low_mm = jnp.minimum(low_mm, high_mm - r.length_mm[0])
    slice_mm = jnp.exp(d(*jnp.log(jnp.array(r.slice_mm))))
    pixel_mm = d(*r.pixel_mm)
    centre, _, _ = trunk.at_height(body.trunk, (low_mm + high_mm) / 2)
    return Scan(
        low_mm, high_mm, slice_mm, pixel_mm,
        jnp.maximum(d(*r.sharpness_mm), 0.3 * slice_mm),
        d(*r.noise_hu), d(*r.streaks_hu) * d.chance(0.5),
        jnp.where(d.chance(r.clipped_share), 1023.0, 3071.0),
        centre[0] + d(-20, 20), centre[1] + d(-15, 15),
    )  # fmt: skip
