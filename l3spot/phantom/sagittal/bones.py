"""Bones and discs of a spine in the sagittal plane, painted over the soft tissue."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from l3spot.phantom.draw import Draw
from l3spot.phantom.sagittal.soft_tissue import blend, field, rise
from l3spot.phantom.sagittal.spine import BODIES, INDEX, S1, Vertebrae


class Look(NamedTuple):
    """Appearance of the bones of a spine; scalars or [N].

    Attributes:
      core: HU.
      plate: HU of end plates.
      wall: HU of front and back.
      plate_mm: thickness.
      concave: share of the half height by which end plates are hollow.
      waist: share of the half depth by which walls are hollow.
      spur: share of the half depth by which corners protrude.
      wedge: share of the height that is lost at the front.
      taper: share of the depth that is lost from the upper to the lower end plate.
      disc: HU.
      gas: share of gas in the disc.
      metal: HU in bodies with metal or cement, else 0.
      lateral: 0 where the slab is in the midline, 1 where it is beside the canal.
      seen: share of the slab that holds the body.
    """

    core: Array
    plate: Array
    wall: Array
    plate_mm: Array
    concave: Array
    waist: Array
    spur: Array
    wedge: Array
    taper: Array
    disc: Array
    gas: Array
    metal: Array
    lateral: Array
    seen: Array


def _look(draw: Draw) -> Look:
    n = (BODIES,)
    density = draw(0.5, 1.25)
    wave = jnp.sin(INDEX * draw(0.15, 0.5) + draw(0, 2 * np.pi))
    lateral = jnp.clip((wave - draw(-0.5, 1.2)) * 1.5, 0, 1) * draw.chance(0.35)
    return Look(
        core=density * draw(110, 260) * (1 + 0.06 * draw.normal(n)),
        plate=density * draw(260, 480) * (1 + 0.12 * draw.normal(n)),
        wall=density * draw(180, 420) * (1 + 0.12 * draw.normal(n)),
        plate_mm=jnp.full(n, draw(0.9, 2.0)),
        concave=draw(0.0, 0.16, n) + jnp.where(draw.chance(0.08), draw(0.05, 0.25), 0),
        waist=draw(0.0, 0.12) + draw(0, 0.05, n),
        spur=jnp.where(draw.chance(0.25, n), draw(0, 0.3, n), draw(0, 0.04, n)),
        wedge=_wedge(draw),
        taper=jnp.where(INDEX >= S1, draw(0.15, 0.5), 0.04 * draw.normal(n)),
        disc=draw(55, 115) * (1 + 0.08 * draw.normal(n)),
        gas=jnp.where(draw.chance(0.06, n), draw(0.2, 1.0, n), 0.0),
        metal=jnp.where(draw.chance(0.25, n) & draw.chance(0.08), draw(600, 3000), 0.0),
        lateral=lateral,
        seen=1 - 0.35 * lateral * draw(0, 1),
    )


class Frame(NamedTuple):
    """Positions of pixels in a body's frame, in mm; [R, C] each.

    Attributes:
      back: from the body's middle, towards the back.
      up: from the body's middle, along its axis.
    """

    back: Array
    up: Array


def _wedge(draw: Draw) -> Array:
    n = (BODIES,)
    usual = 0.04 * draw.normal(n)
    return usual + jnp.where(draw.chance(0.04, n), draw(0.1, 0.4, n), 0)


def paint(
    draw: Draw,
    hu: Array,
    spine: Vertebrae,
    size: Array,
    y: Array,
    z: Array,
    edge: Array,
) -> Array:
    """Paints discs, processes and bodies of a spine over the soft tissue."""
    look = _look(draw)
    grain = 0.12 * field(draw, y.shape, jnp.float32(2.5), 1.5)
    canal, length, drop = size * draw(14, 19), size * draw(20, 36), size * draw(0, 16)
    # The processes tell little about the bodies' heights, as in people.
    tall, strong, shown = draw(0.35, 1.15), draw(0.8, 2.4), draw.chance(0.9)
    process_up, root_up, joint_up = draw(-1.2, 0.4), draw(-0.1, 0.7), draw(-1.0, 0.1)
    follower = jax.tree.map(lambda a: jnp.roll(a, -1, 0), spine)

    def frame(v: Vertebrae) -> Frame:
        dy, dz = y - v.centre[0], z - v.centre[1]
        s, c = jnp.sin(v.lean), jnp.cos(v.lean)
        return Frame(c * dy - s * dz, s * dy + c * dz)

    def disc(hu: Array, items: tuple) -> tuple[Array, None]:
        v, below, k, i = items
        middle = v.centre - (v.half_height + v.disc / 2) * jnp.stack(
            [jnp.sin(v.lean), jnp.cos(v.lean)]
        )
        between = v._replace(centre=middle, lean=(v.lean + below.lean) / 2)
        f = frame(between)
        reach = jnp.minimum(v.half_depth, below.half_depth)
        s = jnp.minimum(reach - jnp.abs(f.back), v.disc / 2 + 4 - jnp.abs(f.up))
        crack = jnp.exp(-((f.up / 1.5) ** 2)) * (jnp.abs(f.back) < 0.6 * reach)
        value = k.disc - k.gas * 500 * crack
        there = v.present & (i < BODIES - 1)
        return blend(hu, value, rise(s, edge) * there), None

    def process(hu: Array, items: tuple) -> tuple[Array, None]:
        v, _, k, i = items
        f = frame(v)
        start = v.half_depth + canal
        along = jnp.clip((f.back - start) / length, 0, 1)
        middle = process_up * v.half_height - drop * along
        thick = tall * v.half_height * (1.1 - 0.2 * along) * jnp.where(i < S1, 1, 0.6)
        end = jnp.minimum(f.back - start, start + length - f.back)
        s = jnp.minimum(end, thick - jnp.abs(f.up - middle))
        rim = jnp.exp(-((jnp.minimum(s, f.back - start) / 2.0) ** 2))
        value = strong * (k.core * 0.9 + (k.plate - k.core) * rim)
        seen = shown * (1 - 0.8 * k.lateral) * v.present
        hu = blend(hu, value, rise(s, edge) * seen)
        # Beside the canal: the pedicle, usually at the upper half, and the joints.
        root = jnp.minimum(
            0.42 * v.half_height - jnp.abs(f.up - root_up * v.half_height),
            jnp.minimum(f.back - 0.7 * v.half_depth, start + 8 - f.back),
        )
        joint = jnp.minimum(
            jnp.minimum(f.back - v.half_depth - 0.5 * canal, start + 10 - f.back),
            0.95 * v.half_height - jnp.abs(f.up - joint_up * v.half_height),
        )
        alpha = jnp.maximum(rise(root, 2.0), 0.9 * rise(joint, 2.5))
        return blend(hu, 1.2 * k.plate, alpha * k.lateral * v.present), None

    def body(hu: Array, items: tuple) -> tuple[Array, None]:
        v, _, k, _ = items
        f = frame(v)
        s, plate, wall = _depths(v, k, f)
        level = jnp.clip(jnp.abs(f.up) / v.half_height, 0, 1)
        core = k.core * (1 + 0.15 * (level**2 - 0.3) + grain)
        vein = jnp.exp(-(((f.back - v.half_depth) / 6) ** 2) - (f.up / 3) ** 2)
        value = core - 0.4 * k.core * vein
        value = value + (k.wall - k.core) * jnp.exp(-((wall / 1.2) ** 2))
        value = jnp.maximum(
            value, core + (k.plate - k.core) * jnp.exp(-((plate / k.plate_mm) ** 2))
        )
        screw = jnp.exp(-((f.up / 3) ** 4)) * (k.metal > 0)
        value = blend(value, k.metal, 0.7 * screw)
        return blend(hu, value, rise(s, edge) * k.seen * v.present), None

    items = (spine, follower, look, jnp.arange(BODIES))
    for paint in (disc, process, body):
        hu, _ = jax.lax.scan(paint, hu, items)
    return hu


def _depths(v: Vertebrae, k: Look, f: Frame) -> tuple[Array, Array, Array]:
    """Returns depths [R, C] in a body: of the body, of its end plates, of its walls."""
    across = jnp.clip(f.back / v.half_depth, -1.2, 1.2)
    tall = v.half_height * (1 + 0.5 * k.wedge * across)
    tall = tall - k.concave * v.half_height * jnp.clip(1 - across**2, 0, 1)
    level = jnp.clip(jnp.abs(f.up) / v.half_height, 0, 1.1)
    wide = v.half_depth * (1 - k.waist * (1 - level**2) + k.spur * level**8)
    wide = wide * (1 + 0.5 * k.taper * jnp.clip(f.up / v.half_height, -1, 1))
    plate = tall - jnp.abs(f.up)
    wall = wide - jnp.abs(f.back)
    # Rounded corners.
    s = -jnp.logaddexp(-plate / 0.8, -wall / 0.8) * 0.8
    return s, jnp.clip(plate, 0, None), jnp.clip(wall, 0, None)
