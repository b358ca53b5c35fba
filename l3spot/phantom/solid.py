"""Renders the volume of a body, slab by slab, from the projection's description."""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from l3spot.phantom import shadow, shapes, trunk
from l3spot.phantom.body import Body, Scan
from l3spot.phantom.shapes import AIR_HU, Blocks, Capsules, Ellipsoids

SLICES_PER_SLAB = 16  # In memory at once.
TEXTURE_MULTIPLE = 128  # Slices; most scans then share a program.
MIN_BATCH = 16  # Solids that are painted in one call.
WINDOWS_MM = (
    24.0,
    40.0,
    80.0,
    260.0,
)  # Each solid is painted in the smallest window that contains it.
EDGE_MM = 5.0  # Width of a solid's blurred edge.
TABLE_HU = 500.0  # Of the table's shell.


Solids = Capsules | Blocks
Items = TypeVar("Items", Capsules, Blocks)


class Grid(NamedTuple):
    """Positions of the voxels.

    Attributes:
      x: [C] mm.
      y: [R] mm.
      z: [P] mm.
    """

    x: Array
    y: Array
    z: Array


def slices(
    key: Array, body: Body, scan: Scan, size: int = 512
) -> Iterator[tuple[float, np.ndarray]]:
    """Renders axial slices from the feet to the head.

    Args:
      key: of texture and noise; the texture is that of `shadow.project`.
      body: the body.
      scan: how it is scanned.
      size: pixels a side; a pixel is `512 / size` times as large as the scan's.

    Yields:
      z in mm, and int16 HU [size, size]; the first row is the front, the first column
      the patient's right.
    """
    pixel = scan.pixel_mm * 512 / size
    side = (np.arange(size, dtype=np.float32) - (size - 1) / 2) * np.float32(pixel)
    count = int((scan.high_mm - scan.low_mm) / scan.slice_mm) + 1
    z = np.asarray(scan.low_mm + scan.slice_mm * np.arange(count), np.float32)
    keys = jax.random.split(key, 4)
    grain = _texture(
        keys[0],
        scan,
        -(-count // TEXTURE_MULTIPLE) * TEXTURE_MULTIPLE,
        scan.x_mm + side,
    )
    body = jax.tree.map(np.asarray, body)  # Solids are selected slab by slab.
    for i in range(0, count, SLICES_PER_SLAB):
        part = np.minimum(np.arange(i, i + SLICES_PER_SLAB), count - 1)
        grid = Grid(*map(jnp.asarray, (scan.x_mm + side, scan.y_mm + side, z[part])))
        hu = slab(body, scan, grid, grain[part])
        hu = noisy(jax.random.fold_in(keys[1], i), body, scan, grid, hu)
        for height, image in zip(
            z[i : i + SLICES_PER_SLAB], np.asarray(hu), strict=False
        ):
            yield float(height), image.astype(np.int16)


_texture = jax.jit(shadow.texture, static_argnums=2)


def slab(body: Body, scan: Scan, grid: Grid, grain: Array) -> Array:
    """Returns HU [P, R, C] without noise, with texture `grain` [P, C]."""
    hu = _soft(body, scan.sharpness_mm, grid, grain)
    # It is rounded down, so that scans share programs.
    fine = np.exp2(np.floor(4 * np.log2(float(grid.x[1] - grid.x[0]))) / 4)
    for items, render in (
        (body.wide, capsule), (body.discs, block), (body.canal, capsule),
        (body.fine, capsule), (body.sacrum, block), (body.blocks, block),
    ):  # fmt: skip
        for window, near in _near(items, grid):
            size = tuple(min(int(window / fine) + 2, n) for n in hu.shape[1:])
            hu = _paint(hu, near, grid, grain, scan.sharpness_mm, render, size)
    return hu


@jax.jit
def _soft(body: Body, w: Array, grid: Grid, grain: Array) -> Array:
    """Returns HU of the trunk, its organs and its hollow parts."""
    z = grid.z[:, None, None]
    hu = trunk.value(body.trunk, grid.x, grid.y[:, None], z, w)

    def solid(hu: Array, e: Ellipsoids, s: Array) -> Array:
        matter = shapes.modulate(e.matter, jnp.zeros(()), grain[:, None])
        return jnp.maximum(hu, shapes.value(matter, s, 3 * w))

    def empty(hu: Array, e: Ellipsoids, s: Array) -> Array:
        return hu + shapes.smooth_step(s, w) * (e.matter.rim_hu - hu)

    def put(change: Callable, hu: Array, e: Ellipsoids) -> tuple[Array, None]:
        def present() -> Array:
            x, y, up = jnp.broadcast_arrays(grid.x, grid.y[:, None], z)
            return change(hu, e, shapes.ellipsoid_depth(e, x, y, up))

        distance = jnp.abs(grid.z - e.centre[2]).min() - e.half.max()
        near = (e.matter.rim_hu > AIR_HU) & (distance < EDGE_MM)
        return jax.lax.cond(near, present, lambda: hu), None

    hu = jax.lax.scan(partial(put, solid), hu, body.organs)[0]
    return jax.lax.scan(partial(put, empty), hu, body.hollow)[0]


def capsule(c: Capsules, x: Array, y: Array, z: Array, grain: Array, w: Array) -> Array:
    """Returns HU [P, R, C] of a capsule."""
    s = shapes.capsule_depth(c, x, y, z)
    matter = shapes.modulate(c.matter, shapes.capsule_share(c, x, z), grain)
    return shapes.value(matter, s, w)


def block(b: Blocks, x: Array, y: Array, z: Array, grain: Array, w: Array) -> Array:
    """Returns HU [P, R, C] of a block."""
    s = shapes.block_depth(b, x, y, z)
    matter = shapes.modulate(shapes.block_matter(b, x, z), jnp.zeros(()), grain)
    return shapes.value(matter, s, w)


def _near(items: Solids, grid: Grid) -> Iterator[tuple[float, Solids]]:
    """Yields the solids that reach into the slab, by the size of their window.

    The last solid is repeated up to a power of two, to compile fewer programs.
    """
    z, reach = shapes.middle(items)[:, 2], shapes.extent(items) + EDGE_MM
    near = (z + reach > float(grid.z[0])) & (z - reach < float(grid.z[-1]))
    near &= items.matter.rim_hu > shapes.ABSENT_HU
    for small, large in itertools.pairwise((0.0, *WINDOWS_MM)):
        picked = np.flatnonzero(near & (2 * reach > small) & (2 * reach <= large))
        if len(picked):
            whole = max(MIN_BATCH, 1 << (len(picked) - 1).bit_length())
            picked = np.pad(picked, (0, whole - len(picked)), mode="edge")
            yield large, jax.tree.map(partial(np.take, indices=picked, axis=0), items)


@partial(jax.jit, static_argnums=(5, 6))
def _paint(
    hu: Array,
    items: Items,
    grid: Grid,
    grain: Array,
    w: Array,
    render: Callable,
    size: tuple[int, int],
) -> Array:
    """Returns the maximum of a slab and of each item, in a window of `size` pixels."""
    pixel = grid.x[1] - grid.x[0]

    def one(hu: Array, item: Items) -> tuple[Array, None]:
        middle = shapes.middle(item)
        i, j = (
            jnp.clip(jnp.floor((m - g[0]) / pixel - n / 2), 0, len(g) - n)
            .astype(int)
            for m, g, n in zip(middle[1::-1], (grid.y, grid.x), size, strict=True)
        )  # fmt: skip
        x = jax.lax.dynamic_slice(grid.x, [j], size[1:])
        y = jax.lax.dynamic_slice(grid.y, [i], size[:1])[:, None]
        rough = jax.lax.dynamic_slice(grain, [0, j], [len(grid.z), size[1]])[:, None]
        at: list[int | Array] = [0, i, j]
        shape = [len(grid.z), *size]
        new = render(item, x, y, grid.z[:, None, None], rough, w)
        new = jnp.maximum(jax.lax.dynamic_slice(hu, at, shape), new)
        return jax.lax.dynamic_update_slice(hu, new, at), None

    return jax.lax.scan(one, hu, items)[0]


@jax.jit
def noisy(key: Array, body: Body, scan: Scan, grid: Grid, hu: Array) -> Array:
    """Returns HU with noise, streaks and the table, as integers."""
    fine, long = jax.random.split(key)
    plain, streak = shadow.deviation(body, scan, grid.z)

    g = jax.random.normal(fine, hu.shape)
    g = shadow.smooth_noise(shadow.smooth_noise(g, 0.75, 1), 0.75, 2)
    lines = shadow.smooth_noise(shadow.streaks(long, hu.shape), 0.75, 1)
    noise = plain[:, None, None] * g + streak[:, None, None] * lines
    hu = jnp.maximum(hu, _table(body, grid))
    inside = jnp.hypot(grid.x - scan.x_mm, grid.y[:, None] - scan.y_mm)
    inside = inside <= grid.x[-1] - scan.x_mm
    hu = jnp.where(inside, hu + noise, AIR_HU - 24)
    return jnp.rint(jnp.clip(hu, AIR_HU - 24, scan.max_hu))


def _table(body: Body, grid: Grid) -> Array:
    """Returns HU of a curved sheet below the body's lowest part."""
    middle = body.trunk.middle[5, 0]
    low = (body.trunk.middle[:, 1] + body.trunk.skin[:, 1]).max() + 6
    distance = grid.x - middle
    sheet = low + 20 - distance**2 / 900
    present = (jnp.abs(grid.y[:, None] - sheet) < 1.2) & (jnp.abs(distance) < 210)
    return jnp.where(present, TABLE_HU, AIR_HU)
