"""Cuts strips of windows out of pictures and varies them, on the device.

Pictures come as HU, so that the window of HU is drawn as well. What is drawn is wide on
purpose: networks that saw phantoms alone must not rely on how phantoms look.
"""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp

from l3spot.picture import AIR, HEIGHT, MARGIN, MM, WIDTH

BEYOND = 25  # Pixels beyond a scan's ends at which windows still have their middle.


class Range(NamedTuple):
    """Ranges of uniform draws; our choice.

    near: share of strips that L3 is in. low, span: HU of black, and up to white.
    gamma: exponent of grey. noise, haze: standard deviations of noise a pixel and of
    brightness that changes slowly. boxes: greatest side of what is hidden, pixels.
    cut: share of scans that are cut at a row, above or below.
    """

    near: float = 0.7
    low: tuple[float, float] = (-150.0, 250.0)
    span: tuple[float, float] = (500.0, 1400.0)
    gamma: tuple[float, float] = (0.6, 1.6)
    noise: float = 0.06
    haze: float = 0.15
    boxes: int = 40
    cut: float = 0.5


class Strip(NamedTuple):
    """x: [rows, WIDTH] in [0, 1]. clean: x as it was before it was spoilt.

    away: [T], L3's row less each window's middle, mm.
    inside: bool [T], whether the window's middle is in the scan, or `BEYOND` beyond it.
    """

    x: jax.Array
    clean: jax.Array
    away: jax.Array
    inside: jax.Array


def strip(
    key: jax.Array, hu: jax.Array, height: jax.Array, l3: jax.Array, windows: int,
    stride: int, r: Range,
) -> Strip:  # fmt: skip
    """A strip of so many windows.

    Args:
      key: of all that is drawn.
      hu: [R, WIDTH + 2 MARGIN], at the top of which is the scan.
      height: rows of the scan, mm.
      l3: L3's row, mm; it may lie outside.
      windows: T.
      stride: pixels from one to the next.
      r: ranges.
    """
    k = iter(jax.random.split(key, 20))
    rows = HEIGHT + stride * (windows - 1)
    top, end = _ends(k, height / MM, r)
    near = jax.random.bernoulli(next(k), r.near) & (l3 / MM > top) & (l3 / MM < end)
    share = jax.random.uniform(next(k))
    first = jnp.where(
        near,
        l3 / MM - stride * (-1 + share * (windows + 1)),
        top + share * jnp.maximum(end - top - stride * (windows - 1), 0),
    )
    first = jnp.clip(first, top - BEYOND, end + BEYOND - stride * (windows - 1))
    first = jnp.floor(first).astype(int)
    wide = jnp.pad(hu, ((rows, rows), (0, 0)), constant_values=AIR)
    start = first - HEIGHT // 2  # In the picture; may be above it.
    shift = jax.random.randint(next(k), (), 0, 2 * MARGIN + 1)
    cut = jax.lax.dynamic_slice(wide, (start + rows, shift), (rows, WIDTH))
    at = start + jnp.arange(rows)
    there = ((at >= top) & (at < end))[:, None]
    cut = jnp.where(jax.random.bernoulli(next(k)), cut[:, ::-1], cut)
    x, clean = _look(k, jnp.where(there, cut, AIR).astype(jnp.float32), there, r)
    middles = first + stride * jnp.arange(windows)
    inside = (middles >= top - BEYOND) & (middles <= end + BEYOND)
    return Strip(x, clean, l3 - MM * middles, inside)


def _ends(k: Iterator, height: jax.Array, r: Range) -> tuple[jax.Array, jax.Array]:
    """First row and end of the scan, some of which are cut."""
    least = 90.0  # Pixels that are left.
    spare = jnp.maximum(height - least, 0)
    some = jax.random.bernoulli(next(k), r.cut)
    above, below = jax.random.uniform(next(k), (2,)) * spare * some
    choice = jax.random.bernoulli(next(k))
    top = jnp.floor(jnp.where(choice, above, 0.0))
    return top, jnp.floor(jnp.where(choice, height, height - below))


def _look(
    k: Iterator, hu: jax.Array, there: jax.Array, r: Range
) -> tuple[jax.Array, jax.Array]:
    """HU to grey in a window that is drawn: spoilt in many ways, and clean."""

    def draw(low: float, high: float, shape: tuple[int, ...] = ()) -> jax.Array:
        return jax.random.uniform(next(k), shape, minval=low, maxval=high)

    low = draw(*r.low)
    clean = x = jnp.clip((hu - low) / draw(*r.span), 0, 1)
    blur = draw(0, 1) ** 2
    around = jax.lax.reduce_window(x, 0.0, jax.lax.add, (3, 3), (1, 1), "SAME") / 9
    x = ((1 - blur) * x + blur * around) ** draw(*r.gamma)
    haze = jax.random.normal(next(k), (5, 4)) * draw(0, r.haze)
    x = x * (1 + jax.image.resize(haze, x.shape, "linear"))
    x = x + draw(0, r.noise) * jax.random.normal(next(k), x.shape) * there
    size = draw(0, r.boxes, (3, 2)) * jax.random.bernoulli(next(k), 0.4, (3, 1))
    corner = draw(0, 1, (3, 2)) * jnp.array(x.shape)
    grey = draw(0, 1, (3,))
    i, j = jnp.indices(x.shape, sparse=True)
    for n in range(3):
        box = (jnp.abs(i - corner[n, 0]) < size[n, 0] / 2) & (
            jnp.abs(j - corner[n, 1]) < size[n, 1] / 2
        )
        x = jnp.where(box, grey[n], x)
    return jnp.clip(x, 0, 1), clean
