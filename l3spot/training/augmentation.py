"""Cuts strips of windows out of pictures and varies them, on the device.

Pictures come as HU, so that the window of HU is drawn as well. What is drawn is wide on
purpose: networks that saw phantoms alone must not rely on how phantoms look. A strip is
bent (`_bend`), gets what people have in them and on them (`_fill`), and is shown as a
scanner and a reader would (`_look`).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from l3spot.localize.preprocess import AIR, HEIGHT, MARGIN, MM, WIDTH

BEYOND = 25  # Pixels beyond a scan's ends at which windows still have their middle.
LEAST = 50.0  # Pixels that cuts leave of a scan.
THINGS = 12  # At most, in a strip.
ARTEFACTS = 4  # Rows with streaks, at most.


class Range(NamedTuple):
    """Ranges of uniform draws; our choice.

    Place. near: share of strips that L3 is in. cut: share of scans that are cut at a
    row, above or below; sides: at columns as well, of those.
    Shape. scale: of height and width, each. tilt: radians. stretch: how much lengths
    change along the spine. sway: how far the spine leaves its line, pixels.
    Things. things: the largest share of `THINGS` that are there: contrast, chalk,
    metal, wires, an arm. lift: HU of soft tissue and table, at least, in half the
    strips. streaks: of rows that are noisy, HU.
    Look. low, span: HU of black, and up to white. gamma: exponent of grey. noise, haze:
    standard deviations of noise a pixel and of brightness that changes slowly.
    boxes: greatest side of what is hidden, pixels.
    """

    near: float = 0.7
    cut: float = 0.5
    sides: float = 0.25
    scale: tuple[float, float] = (0.8, 1.2)
    tilt: float = 0.1
    stretch: float = 0.15
    sway: float = 6.0
    things: float = 0.8
    lift: tuple[float, float] = (-150.0, 200.0)
    streaks: float = 150.0
    low: tuple[float, float] = (-150.0, 250.0)
    span: tuple[float, float] = (500.0, 1400.0)
    gamma: tuple[float, float] = (0.6, 1.6)
    noise: float = 0.06
    haze: float = 0.25
    boxes: int = 40


class Strip(NamedTuple):
    """x: [rows, WIDTH] in [0, 1]. clean: x as it was before it was spoilt.

    away: [T], L3's row less each window's middle, mm.
    inside: bool [T], whether the window's middle is in the scan, or `BEYOND` beyond it.
    """

    x: jax.Array
    clean: jax.Array
    away: jax.Array
    inside: jax.Array


class _Draw:
    """Uniform numbers, one draw after the other, of keys that were split at once."""

    def __init__(self, key: jax.Array) -> None:
        self._keys = iter(jax.random.split(key, 48))

    def __call__(
        self, low: float, high: float, shape: tuple[int, ...] = ()
    ) -> jax.Array:
        return jax.random.uniform(next(self._keys), shape, minval=low, maxval=high)

    def log(self, low: float, high: float, shape: tuple[int, ...] = ()) -> jax.Array:
        """As often between 1 and 2 as between 2 and 4."""
        return jnp.exp(self(math.log(low), math.log(high), shape))

    def normal(self, shape: tuple[int, ...]) -> jax.Array:
        return jax.random.normal(next(self._keys), shape)

    def chance(
        self, share: float | jax.Array, shape: tuple[int, ...] = ()
    ) -> jax.Array:
        return self(0, 1, shape) < share


def strip(
    key: jax.Array, hu: jax.Array, height: jax.Array, l3: jax.Array, windows: int,
    stride: int, r: Range,
) -> Strip:  # fmt: skip
    """A strip of so many windows.

    Args:
      key: of all that is drawn.
      hu: [R, WIDTH + 2 MARGIN], at the top of which is the scan.
      height: rows of the scan, mm.
      l3: L3's row, mm; it may lie outside, or be NaN where nobody knows.
      windows: T.
      stride: pixels from one to the next.
      r: ranges.
    """
    d = _Draw(key)
    rows = HEIGHT + stride * (windows - 1)
    place = _place(d, height, l3, r)
    still, top, end = place.still, place.top, place.end
    near = d.chance(r.near) & (still > top) & (still < end)
    share = d(0, 1)
    first = jnp.where(
        near,
        still - stride * (-1 + share * (windows + 1)),
        top + share * jnp.maximum(end - top - stride * (windows - 1), 0),
    )
    first = jnp.clip(first, top - BEYOND, end + BEYOND - stride * (windows - 1))
    first = jnp.floor(first)
    at = first - HEIGHT // 2 + jnp.arange(rows)  # In the picture, or beyond it.
    seen, there = _scene(d, hu, height, place, at, r)
    x, clean = _look(d, seen, there, r)
    middles = first + stride * jnp.arange(windows)
    inside = (middles >= top - BEYOND) & (middles <= end + BEYOND)
    return Strip(x, clean, l3 - MM * middles, inside)


def scan(
    key: jax.Array, hu: jax.Array, height: jax.Array, l3: jax.Array, r: Range
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A whole scan, bent, cut and filled as strips are.

    Args:
      key: of all that is drawn.
      hu: see `strip`; as are the others.
      height: rows, mm.
      l3: row, mm.
      r: ranges.

    Returns:
      HU [R, WIDTH], height and l3 as they are now. What is below R rows is cut.
    """
    d = _Draw(key)
    place = _place(d, height, l3, r)
    seen, _ = _scene(d, hu, height, place, place.top + jnp.arange(len(hu)), r)
    high = jnp.minimum(place.end - place.top, len(hu))
    return seen, MM * high, l3 - MM * place.top


class _Place(NamedTuple):
    """Where a scan's ends come to lie, when all but the row `still` is scaled; rows."""

    still: jax.Array
    scale: jax.Array
    top: jax.Array
    end: jax.Array


def _place(d: _Draw, height: jax.Array, l3: jax.Array, r: Range) -> _Place:
    still = jnp.where(jnp.isnan(l3), height / 2, l3) / MM
    scale = d(*r.scale)
    top, end = still * (1 - scale), still + scale * (height / MM - still)
    return _Place(still, scale, *_ends(d, top, end, r))


def _scene(
    d: _Draw, hu: jax.Array, height: jax.Array, place: _Place, at: jax.Array, r: Range
) -> tuple[jax.Array, jax.Array]:
    """HU [rows, WIDTH] at some rows, and where there is a scan."""
    down = at - place.still
    seen = _bend(d, hu, height / MM, down, place.still, place.scale, r)
    there = ((at >= place.top) & (at < place.end))[:, None] & _between(d, r)
    return jnp.where(there, _fill(d, seen, r), AIR), there


def _ends(
    d: _Draw, top: jax.Array, end: jax.Array, r: Range
) -> tuple[jax.Array, jax.Array]:
    """First row and end of the scan, some of which are cut."""
    spare = jnp.maximum(end - top - LEAST, 0)
    above, below = d(0, 1, (2,)) * spare * d.chance(r.cut)
    choice = d.chance(0.5)
    return (
        jnp.floor(jnp.where(choice, top + above, top)),
        jnp.floor(jnp.where(choice, end, end - below)),
    )


def _between(d: _Draw, r: Range) -> jax.Array:
    """Columns in the field of view, [1, WIDTH]."""
    half = jnp.where(d.chance(r.sides), d(22, WIDTH / 2, (2,)), WIDTH)
    j = jnp.arange(WIDTH) - WIDTH / 2
    return ((j > -half[0]) & (j < half[1]))[None]


def _bend(
    d: _Draw, hu: jax.Array, height: jax.Array, down: jax.Array, still: jax.Array,
    scale: jax.Array, r: Range,
) -> jax.Array:  # fmt: skip
    """float32 [rows, WIDTH], `down` rows below the one that stays still.

    Scaled, mirrored, tilted; wider on one side, as of a body that is turned about its
    length; vertebrae longer here and shorter there, and the spine to the side.
    """
    along = d(0.04, 0.12, (2,)) * down[:, None]  # [rows, 2], of two waves.
    phase = d(0, 2 * jnp.pi, (2,))
    long, aside = (jnp.sin(along + phase) - jnp.sin(phase)).T
    i = still + down / scale + d(-1, 1) * r.stretch / 0.12 * long
    j = jnp.arange(WIDTH) - (WIDTH - 1) / 2
    turned = d(-1, 1) * 0.15
    across = j * (1 + turned * jnp.sign(j)) / d(*r.scale)
    across = across * jnp.where(d.chance(0.5), 1, -1)
    tilt = d(-1, 1) * r.tilt
    across = across + d(-MARGIN, MARGIN)  # Of the spine, about which it is tilted.
    middle = MARGIN + (WIDTH - 1) / 2
    i = i[:, None] + tilt * across
    j = middle + across - (tilt * down - d(-1, 1) * r.sway * aside)[:, None]
    # A scan ends in a plane, however it is bent.
    i = jnp.clip(i, 0, jnp.minimum(height, len(hu)) - 1)
    # Of integers, map_coordinates rounds.
    return map_coordinates(hu.astype(jnp.float32), [i, j], 1, "constant", AIR)


def _fill(d: _Draw, hu: jax.Array, r: Range) -> jax.Array:
    """Dense things, a table or thick soft tissue, rows full of streaks."""
    rows = len(hu)
    i, j = jnp.indices(hu.shape, sparse=True)
    wide = d.log(0.7, 12, (THINGS,))
    long = jnp.maximum(d.log(1, 60, (THINGS,)), wide)
    dense = d.log(150, 3000, (THINGS,))
    there = d.chance(r.things * d(0, 1) ** 2, (THINGS,))
    angle = d(0, jnp.pi, (THINGS,))
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    row, column = d(0, rows, (THINGS,)), WIDTH / 2 + 35 * d.normal((THINGS,))
    for n in range(THINGS):
        u, v = i - row[n], j - column[n]
        out = ((u * cos[n] + v * sin[n]) / long[n]) ** 2
        out = out + ((v * cos[n] - u * sin[n]) / wide[n]) ** 2
        new = dense[n] * there[n] * jnp.clip((1 - out) * wide[n], 0, 1)
        hu = jnp.maximum(hu, jnp.where(out < 1, new, AIR))
    # Of a table all that is seen is behind the body, and wider.
    lift = jnp.where(d.chance(0.5), d(*r.lift), AIR)
    centre, spread = d(0, rows, (ARTEFACTS,)), d.log(3, 30, (ARTEFACTS,))
    bands = jnp.exp(-(((i - centre) / spread) ** 2)) * d.chance(0.2, (ARTEFACTS,))
    noise = jnp.abs(d.normal((rows, 1)) + jnp.repeat(d.normal((rows, 22)), 8, 1))
    noise = noise * bands.max(1, keepdims=True) * d(0, r.streaks)
    return jnp.maximum(hu, jnp.where(hu > -500, lift, AIR)) + noise


def _look(
    d: _Draw, hu: jax.Array, there: jax.Array, r: Range
) -> tuple[jax.Array, jax.Array]:
    """HU to grey in a window that is drawn: spoilt in many ways, and clean."""
    low = d(*r.low)
    clean = x = jnp.clip((hu - low) / d(*r.span), 0, 1)
    blur = d(-0.8, 1)  # Below 0 it sharpens, as some kernels of scanners do.
    around = _mean(x, 0)  # Thick planes blur along the body alone.
    around = jnp.where(d.chance(0.5), around, _mean(around, 1))
    x = jnp.clip(x + blur * jnp.abs(blur) * (around - x), 0, 1) ** d(*r.gamma)
    haze = d.normal((5, 4)) * d(0, r.haze)
    x = x * (1 + jax.image.resize(haze, x.shape, "linear"))
    rough = d(0, r.noise) + d(0, 2 * r.noise) * x  # Bone is mottled.
    x = x + rough * d.normal(x.shape) * there
    size = d(0, r.boxes, (3, 2)) * d.chance(0.3, (3, 1))
    corner = d(0, 1, (3, 2)) * jnp.array(x.shape)
    grey = d(0, 1, (3,))
    i, j = jnp.indices(x.shape, sparse=True)
    for n in range(3):
        box = (jnp.abs(i - corner[n, 0]) < size[n, 0] / 2) & (
            jnp.abs(j - corner[n, 1]) < size[n, 1] / 2
        )
        x = jnp.where(box, grey[n], x)
    return jnp.clip(x, 0, 1), clean


def _mean(x: jax.Array, axis: int) -> jax.Array:
    """Of each pixel and its two neighbours along an axis."""
    return (x + jnp.roll(x, 1, axis) + jnp.roll(x, -1, axis)) / 3
