"""Renders random sagittal slabs of the spine, to train the network of vertebrae.

A slab is the mean HU over the middle 14 mm of the spine. In the picture, columns run
towards the back (y) and rows towards the feet (-z). Bodies have end plates, walls and a
graded, textured core. Discs are between them; the canal, the processes, vessels and
other soft tissue are around them. All ranges are our choice, for adults and, with
`size`, for children.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from l3spot.phantom.draw import Draw, PhantomRanges

# The largest numbers of bodies. Those above T1 let small spines reach the upper edge.
THORACIC, LUMBAR, SACRAL = 16, 6, 4
BODIES = THORACIC + LUMBAR + SACRAL
L1, S1 = THORACIC, THORACIC + LUMBAR
_INDEX = np.arange(BODIES)
_KNOTS = L1 + np.array([-16, -12, -8, -5, -1, 0, 2, 4, 5, 6, 7, 8, 9])
# Of an average adult, in mm: ..., T1, T5, T8, T12, L1, L3, L5, L6, S1, S2, S3, S4.
HEIGHT_MM = np.interp(
    _INDEX, _KNOTS, [14, 16, 19, 21, 25, 27, 28, 28, 28, 30, 24, 20, 16]
)
DISC_MM = np.interp(
    _INDEX, _KNOTS, [5, 4, 4, 4, 6, 7.5, 10, 10, 10, 2.5, 1.5, 1, 1]
)
DEPTH_MM = np.interp(
    _INDEX, _KNOTS, [16, 18, 25, 28, 30, 31, 34, 35, 35, 32, 20, 15, 12]
)
LEAN_DEG = np.interp(
    _INDEX[:S1], L1 + np.array([-16, -12, -8, -5, -2, 0, 2, 3, 4, 5]),
    [-25, -22, 2, 6, 14, 15, 2, -8, -22, -28],
)  # fmt: skip
SACRAL_DEG = np.array([0.0, -8.0, -20.0, -42.0])
PIXEL_MM = 1.5  # Of pictures for training.
AIR_HU = -1000.0


class Vertebrae(NamedTuple):
    """Bodies from the top down to S4, in mm; absent ones are not drawn.

    Attributes:
      centre: [N, 2], y and z.
      lean: [N] rad, of the axis to the back, upwards.
      half_height: [N].
      half_depth: [N].
      disc: [N], height of the disc below.
      present: bool [N].
    """

    centre: Array
    lean: Array
    half_height: Array
    half_depth: Array
    disc: Array
    present: Array

    @property
    def axis(self) -> Array:
        """Unit vectors [N, 2] along the bodies' axes, upwards."""
        return jnp.stack([jnp.sin(self.lean), jnp.cos(self.lean)], -1)

    @property
    def plates(self) -> Array:
        """The middles [N, 2 (upper, lower), 2 (y, z)] of the end plates."""
        up = self.half_height[:, None] * self.axis
        return jnp.stack([self.centre + up, self.centre - up], 1)


class Frame(NamedTuple):
    """Positions of pixels in a body's frame, in mm; [R, C] each.

    Attributes:
      back: from the body's middle, towards the back.
      up: from the body's middle, along its axis.
    """

    back: Array
    up: Array


def render(key: Array, rows: int, columns: int, pixel_mm: float) -> tuple[Array, Vertebrae]:  # fmt: skip
    """Draws a spine and renders its slab.

    Args:
      key: of all random numbers.
      rows: of the picture.
      columns: of the picture.
      pixel_mm: size of a pixel.

    Returns:
      HU [rows, columns]; and the bodies, with the middle of the first pixel as origin,
      so that z is negative within the picture.
    """
    draw = Draw(key, PhantomRanges())
    size = draw(0.5, 1.18)
    spine = make_spine(draw, size)
    spine = _place(draw, spine, rows * pixel_mm, columns * pixel_mm)
    y = pixel_mm * jnp.arange(columns)[None, :] + jnp.zeros((rows, 1))
    z = -pixel_mm * jnp.arange(rows)[:, None] + jnp.zeros((1, columns))
    edge = pixel_mm * draw(0.5, 0.9)
    hu = soft_tissue(draw, spine, size, y, z, pixel_mm)
    hu = _paint(draw, hu, spine, size, y, z, edge)
    return acquire(draw, hu, spine, size, y, z, pixel_mm), spine


def make_spine(draw: Draw, size: Array) -> Vertebrae:
    """Draws the bodies of a spine, with S1's middle as origin."""
    n = (BODIES,)
    count = draw(0, 1)
    absent = ((_INDEX == S1 - 1) & (count > 0.06)) | ((_INDEX == S1 - 2) & (count > 0.96))  # fmt: skip
    height = size * HEIGHT_MM * draw(0.92, 1.08) * (1 + 0.03 * draw.normal(n))
    crushed = draw.chance(0.03, n) & (_INDEX < S1)
    height = height * jnp.where(crushed, draw(0.5, 0.9, n), 1.0)
    narrow = jnp.where(draw.chance(0.15, n), draw(0.15, 0.7, n), 1.0)
    disc = size * DISC_MM * draw(0.6, 1.2) * draw(0.85, 1.15, n) * narrow
    free = draw.chance(0.1)  # S1 is partly free of the sacrum.
    disc = disc.at[S1].multiply(jnp.where(free, draw(1.5, 3.5), draw(0.3, 1.3)))
    depth = size * DEPTH_MM * draw(0.88, 1.1) * (1 + 0.02 * draw.normal(n))
    lean = LEAN_DEG * draw(0.2, 1.4) + 1.5 * draw.normal((S1,))
    sacral = SACRAL_DEG * draw(0.4, 1.4) - draw(30, 55)
    lean = jnp.concatenate([lean, sacral]) + draw(-8, 8)
    lean = jnp.deg2rad(_smooth_levels(lean))
    axis = jnp.stack([jnp.sin(lean), jnp.cos(lean)], -1)
    present = ~absent
    step = jnp.where(present, height + disc, 0.0)[:, None] * axis
    top = jnp.cumsum(step[::-1], 0)[::-1]  # Of each body, above S4's disc.
    centre = top - (height / 2)[:, None] * axis
    return Vertebrae(centre - centre[S1], lean, height / 2, depth / 2, disc, present)


def _smooth_levels(values: Array) -> Array:
    kernel = jnp.array([0.2, 0.6, 0.2])
    return jnp.convolve(jnp.pad(values, 1, mode="edge"), kernel, "valid")


def _place(draw: Draw, spine: Vertebrae, height: float, width: float) -> Vertebrae:
    """Moves the spine so that one of T10 to S1 is at a random place of the picture."""
    chosen = jnp.floor(draw(L1 - 3, S1 + 0.99)).astype(int)
    z = -height * draw(0.15, 0.85)
    near = jnp.exp(-(((spine.centre[:, 1] - spine.centre[chosen, 1]) / 60) ** 2))
    middle = (near * spine.centre[:, 0]).sum() / near.sum()
    y = width * draw(0.36, 0.52) - middle
    return spine._replace(
        centre=spine.centre + jnp.stack([y, z - spine.centre[chosen, 1]])
    )


def _curve(spine: Vertebrae, values: Array, z: Array) -> Array:
    """Interpolates a value of each body at heights z."""
    # The sacrum's lower part runs to the back; below it, the last value holds.
    heights = jax.lax.cummin(spine.centre[:, 1] - 1e-3 * _INDEX)
    return jnp.interp(z, heights[::-1], values[::-1])


def field(draw: Draw, shape: tuple[int, int], cell_mm: Array, pixel_mm: float) -> Array:
    """Draws a smooth random field [R, C] of about unit variance."""
    grid = draw.normal((12, 8))
    r = (jnp.arange(shape[0]) * pixel_mm / cell_mm)[:, None] + jnp.zeros((1, shape[1]))
    c = (jnp.arange(shape[1]) * pixel_mm / cell_mm)[None] + jnp.zeros((shape[0], 1))
    at = jnp.stack([r % 11, c % 7])
    return 1.3 * jax.scipy.ndimage.map_coordinates(grid, at, order=1, mode="wrap")


def _step(s: Array, w: Array | float) -> Array:
    """Rises smoothly from 0 at -w to 1 at w."""
    t = jnp.clip((s + w) / (2 * w), 0, 1)
    return t * t * (3 - 2 * t)


def _blend(hu: Array, new: Array | float, alpha: Array) -> Array:
    return hu + alpha * (new - hu)


def soft_tissue(
    draw: Draw, spine: Vertebrae, size: Array, y: Array, z: Array, pixel_mm: float
) -> Array:
    """Returns HU of all that is no bone."""
    u = y - _curve(spine, spine.centre[:, 0], z[:, :1])
    half = _curve(spine, spine.half_depth, z[:, :1])
    make = partial(field, draw, y.shape, pixel_mm=pixel_mm)
    mottled = _step(make(draw(8, 25)) + draw(-1.0, 1.5), 0.3)
    muscle, fat = draw(35, 70), draw(-115, -85)
    hu = _blend(fat + 8 * make(5.0), muscle + 6 * make(6.0), mottled)
    liver = (z - draw(-250, 60)) * draw(0.7, 1.3) + 6 * make(20.0)
    hu = _blend(hu, draw(50, 130), _step(liver, 4.0) * draw.chance(0.4))
    bowel = _step(make(draw(8, 18)) - draw(1.0, 2.2), 0.2)
    filling = jnp.where(draw.chance(0.6), draw(-900, -200), draw(100, 400))
    hu = jnp.where(u < -half - 8, _blend(hu, filling, bowel), hu)
    # Behind the canal: muscle with fat, then fat, skin and air.
    canal = size * draw(14, 20)
    behind = u - half - canal
    share = _step(make(draw(6, 15)) + draw(-0.8, 1.5), 0.4)
    hu = jnp.where(behind > 0, _blend(fat, muscle, share), hu)
    muscles, skin = size * draw(25, 60), draw(5, 45)
    hu = _blend(hu, fat, _step(behind - muscles + 3 * make(30.0), 3.0))
    hu = _blend(hu, AIR_HU, _step(behind - muscles - skin, 1.0))
    table = jnp.abs(behind - muscles - skin - draw(2, 15)) < 1.5
    hu = jnp.where(table, jnp.maximum(hu, draw(-600, 100)), hu)
    hu = _vessel(draw, hu, u + half, size, make)
    sac = _step(canal / 2 - jnp.abs(behind + canal / 2), 1.0)
    hu = _blend(hu, draw(8, 60) + 4 * make(4.0), sac)
    epidural = _step(1.5 - jnp.abs(behind + draw(0, 3)), 1.0) * draw(0, 0.8)
    return _blend(hu, fat, epidural)


def _vessel(draw: Draw, hu: Array, before: Array, size: Array, make: partial) -> Array:
    """Draws aorta or vena cava at `before` mm, which is 0 at the bodies' front."""
    gap, width = size * draw(1, 6), size * draw(12, 26)
    inside = _step(width / 2 - jnp.abs(before + gap + width / 2 + 2 * make(40.0)), 1.2)
    blood = jnp.where(draw.chance(0.5), draw(110, 380), draw(30, 60))
    present = draw.chance(0.7) * draw(0.4, 1.0)  # The slab also holds its neighbours.
    hu = _blend(hu, blood, inside * present)
    wall = jnp.exp(-(((before + gap + width * draw.chance(0.5)) / 1.3) ** 2))
    calcified = _step(make(6.0) - draw(0.8, 2.5), 0.3) * draw.chance(0.5)
    return _blend(hu, draw(300, 900), wall * calcified)


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
      aside: 0 where the slab is in the midline, 1 where it is beside the canal.
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
    aside: Array
    seen: Array


def _look(draw: Draw) -> Look:
    n = (BODIES,)
    density = draw(0.5, 1.25)
    wave = jnp.sin(_INDEX * draw(0.15, 0.5) + draw(0, 2 * np.pi))
    aside = jnp.clip((wave - draw(-0.5, 1.2)) * 1.5, 0, 1) * draw.chance(0.35)
    return Look(
        core=density * draw(110, 260) * (1 + 0.06 * draw.normal(n)),
        plate=density * draw(260, 480) * (1 + 0.12 * draw.normal(n)),
        wall=density * draw(180, 420) * (1 + 0.12 * draw.normal(n)),
        plate_mm=jnp.full(n, draw(0.9, 2.0)),
        concave=draw(0.0, 0.16, n) + jnp.where(draw.chance(0.08), draw(0.05, 0.25), 0),
        waist=draw(0.0, 0.12) + draw(0, 0.05, n),
        spur=jnp.where(draw.chance(0.25, n), draw(0, 0.3, n), draw(0, 0.04, n)),
        wedge=0.04 * draw.normal(n) + jnp.where(draw.chance(0.04, n), draw(0.1, 0.4, n), 0),  # fmt: skip
        taper=jnp.where(_INDEX >= S1, draw(0.15, 0.5), 0.04 * draw.normal(n)),
        disc=draw(55, 115) * (1 + 0.08 * draw.normal(n)),
        gas=jnp.where(draw.chance(0.06, n), draw(0.2, 1.0, n), 0.0),
        metal=jnp.where(draw.chance(0.25, n) & draw.chance(0.08), draw(600, 3000), 0.0),
        aside=aside,
        seen=1 - 0.35 * aside * draw(0, 1),
    )


def _paint(
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
    canal, length, drop = size * draw(14, 19), size * draw(22, 34), size * draw(2, 12)
    tall, strong = draw(0.35, 0.75), draw(0.9, 1.8)
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
        return _blend(hu, value, _step(s, edge) * there), None

    def process(hu: Array, items: tuple) -> tuple[Array, None]:
        v, _, k, i = items
        f = frame(v)
        start = v.half_depth + canal
        along = jnp.clip((f.back - start) / length, 0, 1)
        middle = -0.25 * v.half_height - drop * along
        thick = tall * v.half_height * (1.1 - 0.2 * along) * jnp.where(i < S1, 1, 0.6)
        end = jnp.minimum(f.back - start, start + length - f.back)
        s = jnp.minimum(end, thick - jnp.abs(f.up - middle))
        rim = jnp.exp(-((jnp.minimum(s, f.back - start) / 2.0) ** 2))
        value = strong * (k.core * 0.9 + (k.plate - k.core) * rim)
        hu = _blend(hu, value, _step(s, edge) * (1 - 0.8 * k.aside) * v.present)
        # Beside the canal: the pedicle at the upper half, the joints behind it.
        root = jnp.minimum(
            0.42 * v.half_height - jnp.abs(f.up - 0.4 * v.half_height),
            jnp.minimum(f.back - 0.7 * v.half_depth, start + 8 - f.back),
        )
        joint = jnp.minimum(
            jnp.minimum(f.back - v.half_depth - 0.5 * canal, start + 10 - f.back),
            0.95 * v.half_height - jnp.abs(f.up + 0.5 * v.half_height),
        )
        alpha = jnp.maximum(_step(root, 2.0), 0.9 * _step(joint, 2.5))
        return _blend(hu, 1.2 * k.plate, alpha * k.aside * v.present), None

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
        value = _blend(value, k.metal, 0.7 * screw)
        return _blend(hu, value, _step(s, edge) * k.seen * v.present), None

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


def acquire(
    draw: Draw,
    hu: Array,
    spine: Vertebrae,
    size: Array,
    y: Array,
    z: Array,
    pixel_mm: float,
) -> Array:
    """Returns HU as a scanner with thick slices, noise and a small field shows them."""
    rows, columns = hu.shape
    bone = draw(0.75, 1.15)
    hu = jnp.where(hu > 80, 80 + bone * (hu - 80), hu)
    slice_mm = jnp.exp(draw(np.log(0.8), np.log(6.0)))
    at = pixel_mm * jnp.arange(rows)
    middles = slice_mm * (jnp.arange(2 * rows) + draw(0, 1))
    thick = jnp.maximum(slice_mm * draw(0.8, 1.2), pixel_mm)
    box = jnp.clip((thick + pixel_mm) / 2 - jnp.abs(middles[:, None] - at), 0, pixel_mm)
    box = box / jnp.maximum(box.sum(1, keepdims=True), 1e-6)
    hat = jnp.clip(1 - jnp.abs(at[:, None] - middles) / slice_mm, 0, 1)
    hat = hat / jnp.maximum(hat.sum(1, keepdims=True), 1e-6)
    noise = draw(2, 25) * jnp.sqrt(1.5 / jnp.maximum(slice_mm, 1.0))
    white = jax.random.normal(jax.random.key(draw(0, 2**30).astype(int)), (2 * rows, columns))  # fmt: skip
    white = (white + jnp.roll(white, 1, 1)) / np.sqrt(2)
    slow = draw(0, 10) * draw.normal((192,))[:, None]
    hu = hat @ (box @ hu + noise * white) + slow[:rows] * draw.chance(0.3)
    kernel = jnp.array([0.25, 0.5, 0.25])
    blurred = jax.vmap(lambda a: jnp.convolve(jnp.pad(a, 1, mode="edge"), kernel, "valid"))(hu)  # fmt: skip
    hu = _blend(hu, blurred, draw(0, 1))
    # The ends of the scan, and a small field of view.
    low, high = -z[-1, 0] * draw(0.7, 1.6), -z[-1, 0] * draw(-0.6, 0.3)
    left, right = y[0, -1] * draw(-0.6, 0.2), y[0, -1] * draw(0.8, 1.6)
    outside = (-z > low) | (-z < high) | (y < left) | (y > right)
    return jnp.where(outside, -1024.0, jnp.clip(hu, -1024, 3071))
