"""The frontal projection of a body, on the device, without its volume.

The largest value along y of each solid follows from its largest depth along y, so each
is painted onto the picture in a small window. Noise is that of the largest of so many
pixels: of two walls of muscle, or of what little bone is as bright as the brightest.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from l3spot.phantom import shapes, trunk
from l3spot.phantom.body import Body, Scan
from l3spot.phantom.shapes import AIR, Blocks, Capsules

FINE, WIDE, BLOCK = 72, 230, 80  # mm: windows that hold a capsule or a block.
LEAST_STEP = 0.8  # mm between planes, for which windows have rows enough.
WIDEST = 640  # mm across a field of view.
KNOTS = 10  # Of a streak, across the picture.
PEAK = 2.5  # Pixels of bone, of a line, that are about as bright as the brightest.
CELL = 1.4  # mm along y in which noise is nearly the same.


class Canvas(NamedTuple):
    """Where pixels are: z [R] falling or rising, x [C]; mm."""

    x: Array
    z: Array


def project(
    key: Array, body: Body, scan: Scan, rows: int, columns: int
) -> tuple[Array, Array]:
    """A frontal projection, the head up.

    Args:
      key: of texture and noise.
      body: what is seen.
      scan: how.
      rows: of the picture, 1 mm each; the scan begins at the top.
      columns: of the picture, 1 mm each; the scan is in the middle.

    Returns:
      HU [rows, columns], AIR where there is no scan; and L3's row, which may lie
      outside.
    """
    x = scan.x + jnp.arange(columns) - (columns - 1) / 2
    planes = int(rows / LEAST_STEP) + 1
    z = scan.low + scan.step * jnp.arange(planes)
    last = jnp.floor((scan.high - scan.low) / scan.step)
    hu = noisy(key, body, scan, Canvas(x, z))
    top = scan.low + last * scan.step
    want = top - jnp.arange(rows)
    at = (want - scan.low) / scan.step
    below = jnp.clip(jnp.floor(at), 0, planes - 2).astype(int)
    share = jnp.clip(at - below, 0, 1)[:, None]
    seen = (1 - share) * hu[below] + share * hu[below + 1]
    inside = jnp.abs(x - scan.x) <= 256 * scan.pixel
    seen = jnp.where((at >= 0)[:, None] & inside, seen, shapes.AIR - 24)
    return seen, top


def noisy(key: Array, body: Body, scan: Scan, canvas: Canvas) -> Array:
    """HU [R, C] at the planes of a scan."""
    keys = jax.random.split(key, 4)
    shape = canvas.z.size, canvas.x.size
    grain = texture(keys[0], scan, len(canvas.z), canvas.x)
    flesh, bone = clean(body, scan, canvas, grain)
    plain, streak = deviation(body, scan, canvas.z)
    whole = jnp.hypot(plain, streak)[:, None]

    def field(k: Array) -> Array:
        fine, long = jax.random.split(k)
        g = plain[:, None] * smooth(jax.random.normal(fine, shape), 0.6, 1)
        return (g + streak[:, None] * streaks(long, shape)) / jnp.maximum(whole, 1e-6)

    soft_hu = flesh + whole * largest(field(keys[1]), 2 * trunk.WALL / CELL)
    bone_hu = bone + whole * largest(field(keys[2]), PEAK)
    hu = jnp.where(flesh > -500, jnp.maximum(soft_hu, bone_hu), flesh)
    return jnp.clip(hu, -1024, scan.clip)


def clean(body: Body, scan: Scan, canvas: Canvas, grain: Array) -> tuple[Array, Array]:
    """Flesh and bone, HU [R, C] each, without noise."""
    w, x, z = scan.sharpness, canvas.x[None, :], canvas.z[:, None]
    flesh = trunk.value(body.trunk, x, None, z, w)

    def organ(hu: Array, e: shapes.Ellipsoids) -> tuple[Array, None]:
        s = shapes.ellipsoid_depth(e, x + 0 * z, None, z + 0 * x)
        matter = shapes.shade(e.matter, jnp.zeros(()), grain)
        return jnp.maximum(hu, shapes.seen(matter, s, 3 * w)), None

    flesh, _ = jax.lax.scan(organ, flesh, body.organs)
    tube, brick = partial(capsule, w=w), partial(block, w=w)
    flesh = _paint(flesh, grain, body.wide, tube, canvas, WIDE, scan)
    bone = jnp.full_like(flesh, AIR)
    bone = _paint(bone, grain, body.fine, tube, canvas, FINE, scan)
    return flesh, _paint(bone, grain, body.blocks, brick, canvas, BLOCK, scan)


def capsule(c: Capsules, x: Array, z: Array, grain: Array, w: Array) -> Array:
    """HU that is seen of one."""
    s = shapes.capsule_depth(c, x, None, z)
    matter = shapes.shade(c.matter, shapes.capsule_share(c, x, z), grain)
    return shapes.seen(matter, s, w)


def block(b: Blocks, x: Array, z: Array, grain: Array, w: Array) -> Array:
    """HU that is seen of one."""
    s = shapes.block_depth(b, x, None, z)
    matter = shapes.shade(shapes.plated(b, x, z), jnp.zeros(()), grain)
    return shapes.seen(matter, s, w)


def _paint(
    hu: Array,
    grain: Array,
    items: Capsules | Blocks,
    look: Callable,
    canvas: Canvas,
    window: int,
    scan: Scan,
) -> Array:
    """The largest of a picture and of what is seen of each item, in its window."""
    size = min(int(window / LEAST_STEP), hu.shape[0]), min(window, hu.shape[1])

    def one(hu: Array, item: Any) -> tuple[Array, None]:
        middle = shapes.middle(item)
        i = (middle[2] - canvas.z[0]) / scan.step - window / 2 / scan.step
        j = middle[0] - canvas.x[0] - window / 2
        at = [
            jnp.clip(jnp.floor(v), 0, n - s).astype(int)
            for v, n, s in zip((i, j), hu.shape, size, strict=True)
        ]
        x = jax.lax.dynamic_slice(canvas.x, at[1:], size[1:])[None, :]
        z = jax.lax.dynamic_slice(canvas.z, at[:1], size[:1])[:, None]
        old, rough = (jax.lax.dynamic_slice(a, at, size) for a in (hu, grain))
        new = jnp.maximum(old, look(item, x, z, rough))
        return jax.lax.dynamic_update_slice(hu, new, at), None

    return jax.lax.scan(one, hu, items)[0]


def texture(key: Array, scan: Scan, planes: int, x: Array) -> Array:
    """A field [planes, C] of unit variance, over about 2 mm, at x mm.

    It belongs to the body and the planes' heights, not to what is drawn of them.
    """
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(planes))
    g = jax.vmap(lambda k: jax.random.normal(k, (WIDEST,)))(keys)
    # Thick planes do not share it, thin ones do.
    share = jnp.exp(-scan.step / 2.0)

    def next_plane(last: Array, new: Array) -> tuple[Array, Array]:
        now = share * last + jnp.sqrt(1 - share**2) * new
        return now, now

    g = jax.lax.scan(next_plane, g[0], smooth(g, 1.3, 1))[1]
    at = jnp.clip(x - scan.x + (WIDEST - 1) / 2, 0, WIDEST - 1)
    low = jnp.clip(jnp.floor(at), 0, WIDEST - 2).astype(int)
    return g[:, low] + (at - low) * (g[:, low + 1] - g[:, low])


def deviation(body: Body, scan: Scan, z: Array) -> tuple[Array, Array]:
    """Standard deviations of noise and of streaks at heights z, HU."""
    _, _, skin = trunk.at_height(body.trunk, z)
    wide = skin[..., 0] / 165
    return scan.noise * jnp.exp(0.8 * (wide - 1)), scan.streaks * wide**4


def largest(g: Array, count: Array | float) -> Array:
    """The largest of so many normal numbers, from the normal number g."""
    p = jnp.exp(jax.scipy.special.log_ndtr(g) / count)
    return jax.scipy.special.ndtri(jnp.clip(p, 1e-6, 1 - 1e-6))


def smooth(g: Array, sigma: float, axis: int) -> Array:
    """Filtered along an axis by a Gaussian, of unit variance again."""
    reach = int(3 * sigma) + 1
    kernel = np.exp(-((np.arange(-reach, reach + 1) / sigma) ** 2) / 2)
    kernel = kernel / np.sqrt((kernel**2).sum())
    pad = [(reach, reach) if a == axis else (0, 0) for a in range(g.ndim)]
    wide = jnp.pad(g, pad, mode="wrap")
    parts = [
        float(k) * jax.lax.slice_in_dim(wide, i, i + g.shape[axis], axis=axis)
        for i, k in enumerate(kernel)
    ]
    return sum(parts[1:], parts[0])


def streaks(key: Array, shape: tuple[int, ...]) -> Array:
    """Noise of unit variance [..., C] that changes slowly along the last axis."""
    knots = jax.random.normal(key, (*shape[:-1], KNOTS + 1))
    at = np.linspace(0, KNOTS, shape[-1])
    low = np.minimum(at.astype(int), KNOTS - 1)
    share = at - low
    mixed = (1 - share) * knots[..., low] + share * knots[..., low + 1]
    return mixed / np.sqrt((1 - share) ** 2 + share**2)
