"""Random augmentation: cuts strips of windows out of scans and changes them.

It runs on the device, on HU, so that the HU window is random too. The ranges are wide:
networks that are trained on phantoms alone must not depend on details of phantoms. A
strip is deformed (`_deform`), gets objects and artefacts (`_add_objects`), and is
converted to grey values with noise (`_to_noisy_grey`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from l3spot.localize.preprocess import AIR_HU, HEIGHT_PX, MARGIN_PX, MM_PER_PX, WIDTH_PX
from l3spot.training.augmentation_ranges import MAX_OBJECTS, AugmentationRanges, Draw

BEYOND_PX = 25  # Windows count if their centre lies so far beyond a scan's ends.
MIN_SCAN_PX = 50.0  # Random cuts leave at least so many rows of a scan.
MAX_STREAKS = 4  # Bands of streaks in a strip.


class Strip(NamedTuple):
    """A random strip of T windows.

    Attributes:
      x: [rows, WIDTH_PX] in [0, 1], the network's input.
      clean: [rows, WIDTH_PX] in [0, 1], x without blur, noise and hidden boxes.
      offset_mm: [T], L3 below each window's centre.
      counted: bool [T], whether the window's centre lies in the scan, or at most
        `BEYOND_PX` beyond it.
    """

    x: jax.Array
    clean: jax.Array
    offset_mm: jax.Array
    counted: jax.Array


def random_strip(
    key: jax.Array, hu: jax.Array, height_mm: jax.Array, l3_mm: jax.Array, windows: int,
    stride_px: int, ranges: AugmentationRanges,
) -> Strip:  # fmt: skip
    """Cuts a random strip of windows out of a scan, and changes it.

    Args:
      key: of the random numbers.
      hu: [R, WIDTH_PX + 2 MARGIN_PX]; the scan begins at the top.
      height_mm: of the scan.
      l3_mm: L3 below the top; it can lie outside the scan, and is NaN without a label.
      windows: T.
      stride_px: between windows.
      ranges: of the changes.
    """
    d = Draw(key)
    rows = HEIGHT_PX + stride_px * (windows - 1)
    extent = _extent(d, height_mm, l3_mm, ranges)
    fixed, top, end = extent.fixed, extent.top, extent.end
    with_l3 = d.chance(ranges.l3_share) & (fixed > top) & (fixed < end)
    share = d(0, 1)
    first = jnp.where(
        with_l3,
        fixed - stride_px * (-1 + share * (windows + 1)),
        top + share * jnp.maximum(end - top - stride_px * (windows - 1), 0),
    )
    last = end + BEYOND_PX - stride_px * (windows - 1)
    first = jnp.floor(jnp.clip(first, top - BEYOND_PX, last))
    rows_px = first - HEIGHT_PX // 2 + jnp.arange(rows)
    strip_hu, scanned = _changed_rows(d, hu, height_mm, extent, rows_px, ranges)
    x, clean = _to_noisy_grey(d, strip_hu, scanned, ranges)
    centres = first + stride_px * jnp.arange(windows)
    counted = (centres >= top - BEYOND_PX) & (centres <= end + BEYOND_PX)
    return Strip(x, clean, l3_mm - MM_PER_PX * centres, counted)


def random_scan(
    key: jax.Array,
    hu: jax.Array,
    height_mm: jax.Array,
    l3_mm: jax.Array,
    ranges: AugmentationRanges,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Changes a whole scan as `random_strip` does, without noise.

    Args:
      key: of the random numbers.
      hu: see `random_strip`, also for the other arguments.
      height_mm: of the scan.
      l3_mm: L3 below the top.
      ranges: of the changes.

    Returns:
      HU [R, WIDTH_PX], and the new height_mm and l3_mm. Rows after R are cut.
    """
    d = Draw(key)
    extent = _extent(d, height_mm, l3_mm, ranges)
    rows_px = extent.top + jnp.arange(len(hu))
    scan_hu, _ = _changed_rows(d, hu, height_mm, extent, rows_px, ranges)
    height_px = jnp.minimum(extent.end - extent.top, len(hu))
    return scan_hu, MM_PER_PX * height_px, l3_mm - MM_PER_PX * extent.top


class _Extent(NamedTuple):
    """First row and end of a scan after scaling and cuts, in pixels.

    Scaling leaves the row `fixed` in its place.
    """

    fixed: jax.Array
    scale: jax.Array
    top: jax.Array
    end: jax.Array


def _extent(
    d: Draw, height_mm: jax.Array, l3_mm: jax.Array, ranges: AugmentationRanges
) -> _Extent:
    fixed = jnp.where(jnp.isnan(l3_mm), height_mm / 2, l3_mm) / MM_PER_PX
    scale = d(*ranges.scale)
    top, end = fixed * (1 - scale), fixed + scale * (height_mm / MM_PER_PX - fixed)
    return _Extent(fixed, scale, *_cut_rows(d, top, end, ranges))


def _changed_rows(
    d: Draw,
    hu: jax.Array,
    height_mm: jax.Array,
    extent: _Extent,
    rows_px: jax.Array,
    ranges: AugmentationRanges,
) -> tuple[jax.Array, jax.Array]:
    """Returns HU [rows, WIDTH_PX] of a changed scan, and where the scan is."""
    below = rows_px - extent.fixed
    height_px = height_mm / MM_PER_PX
    deformed = _deform(d, hu, height_px, below, extent.fixed, extent.scale, ranges)
    in_rows = (rows_px >= extent.top) & (rows_px < extent.end)
    scanned = in_rows[:, None] & _visible_columns(d, ranges)
    return jnp.where(scanned, _add_objects(d, deformed, ranges), AIR_HU), scanned


def _cut_rows(
    d: Draw, top: jax.Array, end: jax.Array, ranges: AugmentationRanges
) -> tuple[jax.Array, jax.Array]:
    """Cuts some scans; returns their first row and end."""
    spare = jnp.maximum(end - top - MIN_SCAN_PX, 0)
    above, below = d(0, 1, (2,)) * spare * d.chance(ranges.cut_share)
    cut_above = d.chance(0.5)
    return (
        jnp.floor(jnp.where(cut_above, top + above, top)),
        jnp.floor(jnp.where(cut_above, end, end - below)),
    )


def _visible_columns(d: Draw, ranges: AugmentationRanges) -> jax.Array:
    """Returns the columns in the field of view, bool [1, WIDTH_PX]."""
    half = jnp.where(
        d.chance(ranges.side_cut_share), d(22, WIDTH_PX / 2, (2,)), WIDTH_PX
    )
    j = jnp.arange(WIDTH_PX) - WIDTH_PX / 2
    return ((j > -half[0]) & (j < half[1]))[None]


def _deform(
    d: Draw, hu: jax.Array, height_px: jax.Array, below: jax.Array, fixed: jax.Array,
    scale: jax.Array, ranges: AugmentationRanges,
) -> jax.Array:  # fmt: skip
    """Deforms a scan; returns HU [rows, WIDTH_PX] at rows `below` the fixed one.

    It is scaled and tilted, and may be mirrored. One side gets wider, as in a body that
    is rotated about its length. Vertebrae get longer or shorter, and the spine sways.
    """
    wave_angle = d(0.04, 0.12, (2,)) * below[:, None]  # [rows, 2], of two waves.
    phase = d(0, 2 * jnp.pi, (2,))
    stretch, sway = (jnp.sin(wave_angle + phase) - jnp.sin(phase)).T
    i = fixed + below / scale + d(-1, 1) * ranges.stretch / 0.12 * stretch
    j = jnp.arange(WIDTH_PX) - (WIDTH_PX - 1) / 2
    rotation = d(-1, 1) * 0.15
    across = j * (1 + rotation * jnp.sign(j)) / d(*ranges.scale)
    across = across * jnp.where(d.chance(1 - ranges.mirror_share), 1, -1)
    tilt = d(-1, 1) * ranges.tilt_rad
    across = across + d(-MARGIN_PX, MARGIN_PX)  # The tilt is about the spine.
    middle = MARGIN_PX + (WIDTH_PX - 1) / 2
    i = i[:, None] + tilt * across
    j = middle + across - (tilt * below - d(-1, 1) * ranges.sway_px * sway)[:, None]
    # The scan still ends at straight rows.
    i = jnp.clip(i, 0, jnp.minimum(height_px, len(hu)) - 1)
    # map_coordinates would round integers.
    return map_coordinates(hu.astype(jnp.float32), [i, j], 1, "constant", AIR_HU)


def _add_objects(d: Draw, hu: jax.Array, ranges: AugmentationRanges) -> jax.Array:
    """Adds dense ellipses, a table or thick soft tissue, and bands of streaks."""
    rows = len(hu)
    i, j = jnp.indices(hu.shape, sparse=True)
    width = d.log(0.7, 12, (MAX_OBJECTS,))
    length = jnp.maximum(d.log(1, 60, (MAX_OBJECTS,)), width)
    object_hu = d.log(150, 3000, (MAX_OBJECTS,))
    present = d.chance(ranges.object_share * d(0, 1) ** 2, (MAX_OBJECTS,))
    angle = d(0, jnp.pi, (MAX_OBJECTS,))
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    row, column = (
        d(0, rows, (MAX_OBJECTS,)),
        WIDTH_PX / 2 + 35 * d.normal((MAX_OBJECTS,)),
    )
    for n in range(MAX_OBJECTS):
        u, v = i - row[n], j - column[n]
        radius2 = ((u * cos[n] + v * sin[n]) / length[n]) ** 2
        radius2 = radius2 + ((v * cos[n] - u * sin[n]) / width[n]) ** 2
        new = object_hu[n] * present[n] * jnp.clip((1 - radius2) * width[n], 0, 1)
        hu = jnp.maximum(hu, jnp.where(radius2 < 1, new, AIR_HU))
    # A table is visible behind the body only, because it is wider.
    floor_hu = jnp.where(d.chance(0.5), d(*ranges.body_floor_hu), AIR_HU)
    centre, spread = d(0, rows, (MAX_STREAKS,)), d.log(3, 30, (MAX_STREAKS,))
    bands = jnp.exp(-(((i - centre) / spread) ** 2)) * d.chance(0.2, (MAX_STREAKS,))
    noise = jnp.abs(d.normal((rows, 1)) + jnp.repeat(d.normal((rows, 22)), 8, 1))
    noise = noise * bands.max(1, keepdims=True) * d(0, ranges.streak_hu)
    return jnp.maximum(hu, jnp.where(hu > -500, floor_hu, AIR_HU)) + noise


def _to_noisy_grey(
    d: Draw, hu: jax.Array, scanned: jax.Array, ranges: AugmentationRanges
) -> tuple[jax.Array, jax.Array]:
    """Converts HU to grey values in a random HU window, with noise and without."""
    low = d(*ranges.low_hu)
    clean = x = jnp.clip((hu - low) / d(*ranges.window_hu), 0, 1)
    blur = d(-0.8, 1)  # Negative values sharpen, as some reconstruction kernels do.
    smooth = _mean_of_three(x, 0)  # Thick slices blur along the body alone.
    smooth = jnp.where(d.chance(0.5), smooth, _mean_of_three(smooth, 1))
    x = jnp.clip(x + blur * jnp.abs(blur) * (smooth - x), 0, 1) ** d(*ranges.gamma)
    shading = d.normal((5, 4)) * d(0, ranges.shading)
    x = x * (1 + jax.image.resize(shading, x.shape, "linear"))
    deviation = d(0, ranges.noise) + d(0, 2 * ranges.noise) * x  # Bone has texture.
    x = x + deviation * d.normal(x.shape) * scanned
    size = d(0, ranges.box_px, (3, 2)) * d.chance(0.3, (3, 1))
    corner = d(0, 1, (3, 2)) * jnp.array(x.shape)
    grey = d(0, 1, (3,))
    i, j = jnp.indices(x.shape, sparse=True)
    for n in range(3):
        box = (jnp.abs(i - corner[n, 0]) < size[n, 0] / 2) & (
            jnp.abs(j - corner[n, 1]) < size[n, 1] / 2
        )
        x = jnp.where(box, grey[n], x)
    return jnp.clip(x, 0, 1), clean


def _mean_of_three(x: jax.Array, axis: int) -> jax.Array:
    """Averages each pixel with its two neighbours along an axis."""
    return (x + jnp.roll(x, 1, axis) + jnp.roll(x, -1, axis)) / 3
