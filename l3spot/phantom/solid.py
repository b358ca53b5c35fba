"""The volume of a body, slab by slab, from the same description as the projection."""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from l3spot.phantom import shadow, shapes, trunk
from l3spot.phantom.body import Body, Scan
from l3spot.phantom.shapes import AIR, Blocks, Capsules, Ellipsoids

SLAB = 16  # Planes that are in memory at once.
MANY = 128  # Textures are made for multiples of so many planes: one program for most.
LEAST = 16  # Solids that are painted at once.
WINDOWS = (
    24.0,
    40.0,
    80.0,
    260.0,
)  # mm: each solid is painted in the least that holds it.
EDGE = 5.0  # mm beyond a solid in which it fades.
TABLE = 500.0  # HU of the table's shell.


Solids = Capsules | Blocks


class Grid(NamedTuple):
    """Where voxels are: x [C], y [R], z [P]; mm."""

    x: Array
    y: Array
    z: Array


def planes(
    key: Array, body: Body, scan: Scan, size: int = 512
) -> Iterator[tuple[float, np.ndarray]]:
    """Axial planes from the feet to the head.

    Args:
      key: of texture and noise; the texture is that of `shadow.project`.
      body: what is scanned.
      scan: how.
      size: pixels a side; those of the scan are `512 / size` times as large.

    Yields:
      z in mm, and int16 HU [size, size], its first row the front, its first column
      the patient's right.
    """
    pixel = scan.pixel * 512 / size
    side = (np.arange(size, dtype=np.float32) - (size - 1) / 2) * np.float32(pixel)
    count = int((scan.high - scan.low) / scan.step) + 1
    z = np.asarray(scan.low + scan.step * np.arange(count), np.float32)
    keys = jax.random.split(key, 4)
    grain = _texture(keys[0], scan, -(-count // MANY) * MANY, scan.x + side)
    body = jax.tree.map(np.asarray, body)  # For what is picked slab by slab.
    for i in range(0, count, SLAB):
        part = np.minimum(np.arange(i, i + SLAB), count - 1)
        grid = Grid(*map(jnp.asarray, (scan.x + side, scan.y + side, z[part])))
        hu = slab(body, scan, grid, grain[part])
        hu = noisy(jax.random.fold_in(keys[1], i), body, scan, grid, hu)
        for height, plane in zip(z[i : i + SLAB], np.asarray(hu), strict=False):
            yield float(height), plane.astype(np.int16)


_texture = jax.jit(shadow.texture, static_argnums=2)


def slab(body: Body, scan: Scan, grid: Grid, grain: Array) -> Array:
    """HU [P, R, C] without noise; grain: texture [P, C]."""
    hu = _soft(body, scan.sharpness, grid, grain)
    # Rounded down, so that scans share programs.
    fine = np.exp2(np.floor(4 * np.log2(float(grid.x[1] - grid.x[0]))) / 4)
    for items, look in (
        (body.wide, capsule), (body.fine, capsule), (body.blocks, block),
    ):  # fmt: skip
        for window, near in _near(items, grid):
            size = min(int(window / fine) + 2, hu.shape[1])
            hu = _paint(hu, near, grid, grain, scan.sharpness, look, size)
    return hu


@jax.jit
def _soft(body: Body, w: Array, grid: Grid, grain: Array) -> Array:
    """The trunk, its organs, and what is hollow in it."""
    z = grid.z[:, None, None]
    hu = trunk.value(body.trunk, grid.x, grid.y[:, None], z, w)

    def solid(hu: Array, e: Ellipsoids, s: Array) -> Array:
        matter = shapes.shade(e.matter, jnp.zeros(()), grain[:, None])
        return jnp.maximum(hu, shapes.value(matter, s, 3 * w))

    def empty(hu: Array, e: Ellipsoids, s: Array) -> Array:
        return hu + shapes.rise(s, w) * (e.matter.rim - hu)

    def put(change: Callable, hu: Array, e: Ellipsoids) -> tuple[Array, None]:
        def there() -> Array:
            x, y, up = jnp.broadcast_arrays(grid.x, grid.y[:, None], z)
            return change(hu, e, shapes.ellipsoid_depth(e, x, y, up))

        away = jnp.abs(grid.z - e.centre[2]).min() - e.half.max()
        near = (e.matter.rim > AIR) & (away < EDGE)
        return jax.lax.cond(near, there, lambda: hu), None

    hu = jax.lax.scan(partial(put, solid), hu, body.organs)[0]
    return jax.lax.scan(partial(put, empty), hu, body.hollow)[0]


def capsule(c: Capsules, x: Array, y: Array, z: Array, grain: Array, w: Array) -> Array:
    """HU of one at [P, R, C]."""
    s = shapes.capsule_depth(c, x, y, z)
    matter = shapes.shade(c.matter, shapes.capsule_share(c, x, z), grain)
    return shapes.value(matter, s, w)


def block(b: Blocks, x: Array, y: Array, z: Array, grain: Array, w: Array) -> Array:
    """HU of one at [P, R, C]."""
    s = shapes.block_depth(b, x, y, z)
    matter = shapes.shade(shapes.plated(b, x, z), jnp.zeros(()), grain)
    return shapes.value(matter, s, w)


def _near(items: Solids, grid: Grid) -> Iterator[tuple[float, Solids]]:
    """Those that reach into the slab, by the windows that hold them.

    The last is repeated up to a power of two, so that few programs are compiled.
    """
    z, reach = shapes.middle(items)[:, 2], shapes.reach(items) + EDGE
    near = (z + reach > float(grid.z[0])) & (z - reach < float(grid.z[-1]))
    near &= items.matter.rim > shapes.ABSENT
    for small, large in itertools.pairwise((0.0, *WINDOWS)):
        picked = np.flatnonzero(near & (2 * reach > small) & (2 * reach <= large))
        if len(picked):
            whole = max(LEAST, 1 << (len(picked) - 1).bit_length())
            picked = np.pad(picked, (0, whole - len(picked)), mode="edge")
            yield large, jax.tree.map(partial(np.take, indices=picked, axis=0), items)


@partial(jax.jit, static_argnums=(5, 6))
def _paint(
    hu: Array,
    items: Solids,
    grid: Grid,
    grain: Array,
    w: Array,
    look: Callable,
    size: int,
) -> Array:
    """The largest of a slab and of each item, in its window of so many pixels."""
    pixel = grid.x[1] - grid.x[0]

    def one(hu: Array, item: Any) -> tuple[Array, None]:
        middle = shapes.middle(item)
        i, j = (
            jnp.clip(jnp.floor((m - g[0]) / pixel - size / 2), 0, len(g) - size)
            .astype(int)
            for m, g in ((middle[1], grid.y), (middle[0], grid.x))
        )  # fmt: skip
        x = jax.lax.dynamic_slice(grid.x, [j], [size])
        y = jax.lax.dynamic_slice(grid.y, [i], [size])[:, None]
        rough = jax.lax.dynamic_slice(grain, [0, j], [len(grid.z), size])[:, None]
        at: Any = [0, i, j]
        shape = [len(grid.z), size, size]
        new = look(item, x, y, grid.z[:, None, None], rough, w)
        new = jnp.maximum(jax.lax.dynamic_slice(hu, at, shape), new)
        return jax.lax.dynamic_update_slice(hu, new, at), None

    return jax.lax.scan(one, hu, items)[0]


@jax.jit
def noisy(key: Array, body: Body, scan: Scan, grid: Grid, hu: Array) -> Array:
    """HU with noise, streaks and the table, whole numbers as scanners give them."""
    fine, long = jax.random.split(key)
    plain, streak = shadow.deviation(body, scan, grid.z)

    g = jax.random.normal(fine, hu.shape)
    g = shadow.smooth(shadow.smooth(g, 0.75, 1), 0.75, 2)
    lines = shadow.smooth(shadow.streaks(long, hu.shape), 0.75, 1)
    noise = plain[:, None, None] * g + streak[:, None, None] * lines
    hu = jnp.maximum(hu, _table(body, grid))
    inside = jnp.hypot(grid.x - scan.x, grid.y[:, None] - scan.y)
    inside = inside <= grid.x[-1] - scan.x
    hu = jnp.where(inside, hu + noise, AIR - 24)
    return jnp.rint(jnp.clip(hu, AIR - 24, scan.clip))


def _table(body: Body, grid: Grid) -> Array:
    """A curved sheet below the body's lowest part."""
    middle = body.trunk.middle[5, 0]
    low = (body.trunk.middle[:, 1] + body.trunk.skin[:, 1]).max() + 6
    away = grid.x - middle
    sheet = low + 20 - away**2 / 900
    there = (jnp.abs(grid.y[:, None] - sheet) < 1.2) & (jnp.abs(away) < 210)
    return jnp.where(there, TABLE, AIR)
