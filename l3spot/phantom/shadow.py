"""Renders the frontal projection of a body on the device, without its volume.

Each solid's maximum along y follows from its largest depth along y, so each is painted
in a small window of the image. Noise is the maximum of several normal numbers: of the
pixels of two muscle walls, or of the few brightest pixels of bone.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from l3spot.phantom import shapes, trunk
from l3spot.phantom.body import Body, Scan
from l3spot.phantom.shapes import AIR_HU, Blocks, Capsules

# Windows that are large enough for a capsule or a block.
FINE_WINDOW_MM, WIDE_WINDOW_MM, BLOCK_WINDOW_MM = 72, 230, 80
MIN_SLICE_MM = 0.8  # Windows have enough rows for this distance between slices.
MAX_WIDTH_MM = 640  # Of a field of view.
STREAK_KNOTS = 10  # Of a streak, across the image.
PEAK_PIXELS = 2.5  # Pixels of a line of bone that are about as bright as its maximum.
NOISE_CELL_MM = 1.4  # Noise is nearly constant along y over this length.

Items = TypeVar("Items", Capsules, Blocks)


class Canvas(NamedTuple):
    """Positions of the pixels.

    Attributes:
      x: [C] mm.
      z: [R] mm, falling or rising.
    """

    x: Array
    z: Array


def project(
    key: Array, body: Body, scan: Scan, rows: int, columns: int
) -> tuple[Array, Array]:
    """Renders a frontal projection, the head up.

    Args:
      key: of texture and noise.
      body: the body.
      scan: how it is scanned.
      rows: of the image, 1 mm each; the scan begins at the top.
      columns: of the image, 1 mm each; the scan is in the middle.

    Returns:
      HU [rows, columns], air outside the scan; and L3's row, which can lie outside.
    """
    x = scan.x_mm + jnp.arange(columns) - (columns - 1) / 2
    slices = int(rows / MIN_SLICE_MM) + 1
    z = scan.low_mm + scan.slice_mm * jnp.arange(slices)
    last = jnp.floor((scan.high_mm - scan.low_mm) / scan.slice_mm)
    hu = noisy(key, body, scan, Canvas(x, z))
    top = scan.low_mm + last * scan.slice_mm
    wanted = top - jnp.arange(rows)
    at = (wanted - scan.low_mm) / scan.slice_mm
    below = jnp.clip(jnp.floor(at), 0, slices - 2).astype(int)
    share = jnp.clip(at - below, 0, 1)[:, None]
    seen = (1 - share) * hu[below] + share * hu[below + 1]
    inside = jnp.abs(x - scan.x_mm) <= 256 * scan.pixel_mm
    seen = jnp.where((at >= 0)[:, None] & inside, seen, shapes.AIR_HU - 24)
    return seen, top


def noisy(key: Array, body: Body, scan: Scan, canvas: Canvas) -> Array:
    """Returns HU [R, C] at the slices of a scan."""
    keys = jax.random.split(key, 4)
    shape = canvas.z.size, canvas.x.size
    grain = texture(keys[0], scan, len(canvas.z), canvas.x)
    flesh, bone = noiseless(body, scan, canvas, grain)
    plain, streak = deviation(body, scan, canvas.z)
    whole = jnp.hypot(plain, streak)[:, None]

    def field(k: Array) -> Array:
        fine, long = jax.random.split(k)
        g = plain[:, None] * smooth_noise(jax.random.normal(fine, shape), 0.6, 1)
        return (g + streak[:, None] * streaks(long, shape)) / jnp.maximum(whole, 1e-6)

    soft_hu = flesh + whole * max_of_normals(
        field(keys[1]), 2 * trunk.WALL_MM / NOISE_CELL_MM
    )
    bone_hu = bone + whole * max_of_normals(field(keys[2]), PEAK_PIXELS)
    hu = jnp.where(flesh > -500, jnp.maximum(soft_hu, bone_hu), flesh)
    return jnp.clip(hu, -1024, scan.max_hu)


def noiseless(
    body: Body, scan: Scan, canvas: Canvas, grain: Array
) -> tuple[Array, Array]:
    """Returns HU [R, C] of flesh and of bone, without noise."""
    w, x, z = scan.sharpness_mm, canvas.x[None, :], canvas.z[:, None]
    flesh = trunk.value(body.trunk, x, None, z, w)

    def organ(hu: Array, e: shapes.Ellipsoids) -> tuple[Array, None]:
        s = shapes.ellipsoid_depth(e, x + 0 * z, None, z + 0 * x)
        matter = shapes.modulate(e.matter, jnp.zeros(()), grain)
        return jnp.maximum(hu, shapes.max_along_ray(matter, s, 3 * w)), None

    flesh, _ = jax.lax.scan(organ, flesh, body.organs)
    tube, brick = partial(capsule, w=w), partial(block, w=w)
    flesh = _paint(flesh, grain, body.wide, tube, canvas, WIDE_WINDOW_MM, scan)
    bone = jnp.full_like(flesh, AIR_HU)
    for items in (body.fine, body.sacrum_front):
        bone = _paint(bone, grain, items, tube, canvas, FINE_WINDOW_MM, scan)
    return flesh, _paint(bone, grain, body.blocks, brick, canvas, BLOCK_WINDOW_MM, scan)


def capsule(c: Capsules, x: Array, z: Array, grain: Array, w: Array) -> Array:
    """Returns the largest HU of a capsule along y."""
    s = shapes.capsule_depth(c, x, None, z)
    matter = shapes.modulate(c.matter, shapes.capsule_share(c, x, z), grain)
    return shapes.max_along_ray(matter, s, w)


def block(b: Blocks, x: Array, z: Array, grain: Array, w: Array) -> Array:
    """Returns the largest HU of a block along y."""
    s = shapes.block_depth(b, x, None, z)
    matter = shapes.modulate(shapes.block_matter(b, x, z), jnp.zeros(()), grain)
    return shapes.max_along_ray(matter, s, w)


def _paint(
    hu: Array,
    grain: Array,
    items: Items,
    render: Callable,
    canvas: Canvas,
    window: int,
    scan: Scan,
) -> Array:
    """Returns the maximum of an image and of each item, within the item's window."""
    size = min(int(window / MIN_SLICE_MM), hu.shape[0]), min(window, hu.shape[1])

    def one(hu: Array, item: Items) -> tuple[Array, None]:
        middle = shapes.middle(item)
        i = (middle[2] - canvas.z[0]) / scan.slice_mm - window / 2 / scan.slice_mm
        j = middle[0] - canvas.x[0] - window / 2
        at = [
            jnp.clip(jnp.floor(v), 0, n - s).astype(int)
            for v, n, s in zip((i, j), hu.shape, size, strict=True)
        ]
        x = jax.lax.dynamic_slice(canvas.x, at[1:], size[1:])[None, :]
        z = jax.lax.dynamic_slice(canvas.z, at[:1], size[:1])[:, None]
        old, rough = (jax.lax.dynamic_slice(a, at, size) for a in (hu, grain))
        new = jnp.maximum(old, render(item, x, z, rough))
        return jax.lax.dynamic_update_slice(hu, new, at), None

    return jax.lax.scan(one, hu, items)[0]


def texture(key: Array, scan: Scan, slices: int, x: Array) -> Array:
    """Returns a field [slices, C] of unit variance, smooth over about 2 mm, at x mm.

    It depends on the body and the slices' z only, not on the renderer.
    """
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(slices))
    g = jax.vmap(lambda k: jax.random.normal(k, (MAX_WIDTH_MM,)))(keys)
    # Thin slices have similar texture, thick slices do not.
    share = jnp.exp(-scan.slice_mm / 2.0)

    def next_slice(last: Array, new: Array) -> tuple[Array, Array]:
        now = share * last + jnp.sqrt(1 - share**2) * new
        return now, now

    g = jax.lax.scan(next_slice, g[0], smooth_noise(g, 1.3, 1))[1]
    at = jnp.clip(x - scan.x_mm + (MAX_WIDTH_MM - 1) / 2, 0, MAX_WIDTH_MM - 1)
    low = jnp.clip(jnp.floor(at), 0, MAX_WIDTH_MM - 2).astype(int)
    return g[:, low] + (at - low) * (g[:, low + 1] - g[:, low])


def deviation(body: Body, scan: Scan, z: Array) -> tuple[Array, Array]:
    """Returns standard deviations of noise and of streaks at heights z, in HU."""
    _, _, skin = trunk.at_height(body.trunk, z)
    wide = skin[..., 0] / 165
    return scan.noise_hu * jnp.exp(0.8 * (wide - 1)), scan.streaks_hu * wide**4


def max_of_normals(g: Array, count: Array | float) -> Array:
    """Maps a normal number to the maximum of `count` normal numbers."""
    p = jnp.exp(jax.scipy.special.log_ndtr(g) / count)
    return jax.scipy.special.ndtri(jnp.clip(p, 1e-6, 1 - 1e-6))


def smooth_noise(g: Array, sigma: float, axis: int) -> Array:
    """Filters noise along an axis by a Gaussian, and restores unit variance."""
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
    """Returns slow noise [..., C] of unit variance along the last axis."""
    knots = jax.random.normal(key, (*shape[:-1], STREAK_KNOTS + 1))
    at = np.linspace(0, STREAK_KNOTS, shape[-1])
    low = np.minimum(at.astype(int), STREAK_KNOTS - 1)
    share = at - low
    mixed = (1 - share) * knots[..., low] + share * knots[..., low + 1]
    return mixed / np.sqrt((1 - share) ** 2 + share**2)
