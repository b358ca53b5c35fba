"""Draws scans of phantoms as all networks see them: frontal projection and band.

They are unlike the phantoms that the networks are trained on: another renderer draws
the bodies, discs and processes, and the ranges are wider. They calibrate the confidence
(`calibration`).
"""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from l3spot.phantom import body, shadow, solid, trunk
from l3spot.phantom.body import Body, Scan
from l3spot.phantom.draw import VARIED_PROPORTIONS, PhantomRanges
from l3spot.phantom.spine import L1, L3, T1
from l3spot.projections.band import AIR_HU, X_MM, Band
from l3spot.projections.mip import Projection

ROWS_MM, COLUMNS_MM = 800, 416  # Of a frontal projection, with 1 mm pixels.
BAND_COLUMNS, BAND_ROWS = 80, 135  # Pixels of `X_MM`.
BAND_FRONT_MM = 155.0  # The band begins so far in front of L3.
# Averaging to `X_MM` leaves this share of the noise of a scan's pixels.
NOISE_SHARE = 0.6
METAL_HU, METAL_STREAKS_HU = 2000.0, 150.0  # Slices with such HU get such streaks.
SMALL_FIELD, FIELD_MM = 0.2, (110.0, 260.0)  # Share of small fields, and their width.
MAX_SHIFT_MM = 15.0  # Of a small field, from the spine.
FIRST = {"T": T1 - 1, "L": L1 - 1}  # The indices before T1 and L1.
HARD = dataclasses.replace(
    VARIED_PROPORTIONS, size=(0.45, 1.25), curve=(0.2, 1.5), lean_rad=(-0.1, 0.1),
    roll_rad=(-0.09, 0.09), scoliosis_rad=0.06, bone_density=(0.4, 1.5),
    fat_mm=(4.0, 70.0), girth=(0.82, 1.3), fracture=0.06, implant=0.12,
    sixth_lumbar=0.06, sacralised=0.06, ribs_11=0.05, ribs_13=0.05,
    slice_mm=(0.8, 8.0), noise_hu=(6.0, 60.0), streaks_hu=(0.0, 70.0),
    length_mm=(100.0, 480.0), without_l3=0.2,
)  # fmt: skip


class DrawnScan(NamedTuple):
    """A scan of a phantom.

    Attributes:
      projection: frontal view with 1 mm pixels, and band; no lateral view.
      slice_mm: distance between slices.
      z_mm: float64 [25], of the middles of the bodies from C1 to L6; L3's is 0; NaN if
        a body is absent.
      half_height_mm: float64 [25].
      rib_pairs: their number.
    """

    projection: Projection
    slice_mm: float
    z_mm: np.ndarray
    half_height_mm: np.ndarray
    rib_pairs: int

    @property
    def in_view(self) -> bool:
        """Whether the middle of L3 is between the first and the last slice."""
        z = self.projection.z
        return bool(z[-1] <= 0 <= z[0])

    @property
    def pitch_mm(self) -> float:
        """The mean distance between L2, L3 and L4."""
        return float(self.z_mm[L3 - 1] - self.z_mm[L3 + 1]) / 2

    def z_of(self, name: str) -> float:
        """Returns the z of a vertebra such as T12; NaN if it is absent."""
        return float(self.z_mm[FIRST[name[0]] + int(name[1:])])


def draw(seed: int, count: int, ranges: PhantomRanges = HARD) -> Iterator[DrawnScan]:
    """Draws scans; each takes about a second on one core."""
    for i in range(count):
        key = jax.random.fold_in(jax.random.key(seed), i)
        body_key, image_key, noise_key = jax.random.split(key, 3)
        person, scan = _draw(body_key, ranges)
        rng = np.random.default_rng([seed, i])
        yield render(image_key, noise_key, rng, person, scan)


_draw = jax.jit(body.draw, static_argnums=1)
_project = jax.jit(shadow.project, static_argnums=(3, 4))


def render(
    image_key: jax.Array,
    noise_key: jax.Array,
    rng: np.random.Generator,
    person: Body,
    scan: Scan,
) -> DrawnScan:
    """Renders both views of a scan."""
    frontal, top_mm = _project(image_key, person, scan, ROWS_MM, COLUMNS_MM)
    band = _band(noise_key, person, scan)
    x = float(scan.x_mm) + np.arange(COLUMNS_MM) - (COLUMNS_MM - 1) / 2
    half_mm = 256 * float(scan.pixel_mm)
    middle_mm = float(scan.x_mm)
    if rng.random() < SMALL_FIELD:
        half_mm = rng.uniform(*FIELD_MM) / 2
        middle_mm = rng.uniform(-MAX_SHIFT_MM, MAX_SHIFT_MM)
    seen = np.abs(x - middle_mm) <= half_mm
    rows = min(int(band.z[-1] - band.z[0]) + 1, ROWS_MM)
    z = float(top_mm) - np.arange(rows)
    hu = np.asarray(frontal)[:rows, seen]
    kept = np.abs(band.x - middle_mm) <= half_mm
    band = band._replace(hu=np.ascontiguousarray(band.hu[..., kept]), x=band.x[kept])
    nearest = np.abs(z[:, None] - band.z).argmin(1)
    blocks = person.blocks
    present = np.asarray(blocks.matter.rim_hu) > AIR_HU
    return DrawnScan(
        Projection(hu, hu, z, x[seen], band.y, nearest, band),
        float(scan.slice_mm),
        np.where(present, np.asarray(blocks.centre)[:, 2], np.nan).astype(float),
        np.asarray(blocks.half)[:, 2].astype(float),
        int(person.rib_pairs),
    )


def _band(key: jax.Array, person: Body, scan: Scan) -> Band:
    """Renders the part of the volume around the spine."""
    low_mm, slice_mm = float(scan.low_mm), float(scan.slice_mm)
    count = int((float(scan.high_mm) - low_mm) / slice_mm) + 1
    z = (low_mm + slice_mm * np.arange(count)).astype(np.float32)
    middle, _, _ = trunk.at_height(person.trunk, (scan.low_mm + scan.high_mm) / 2)
    side = X_MM * (np.arange(BAND_COLUMNS) - (BAND_COLUMNS - 1) / 2)
    x = (float(middle[0]) + side).astype(np.float32)
    y = (X_MM * np.arange(BAND_ROWS) - BAND_FRONT_MM).astype(np.float32)
    whole = jax.tree.map(np.asarray, person)  # Solids are selected slab by slab.
    hu = np.empty((count, BAND_ROWS, BAND_COLUMNS), np.int16)
    for i in range(0, count, solid.SLICES_PER_SLAB):
        # The last slices are repeated, so that all slabs share programs.
        part = np.minimum(np.arange(i, i + solid.SLICES_PER_SLAB), count - 1)
        grid = solid.Grid(jnp.asarray(x), jnp.asarray(y), jnp.asarray(z[part]))
        grain = jnp.zeros((len(part), len(x)))
        slab = solid.slab(whole, scan, grid, grain)
        slab = _noisy(jax.random.fold_in(key, i), person, scan, grid, slab)
        hu[i : i + len(part)] = np.asarray(slab)[: count - i]
    return Band(hu, z.astype(float), y.astype(float), x.astype(float))


@jax.jit
def _noisy(
    key: jax.Array, person: Body, scan: Scan, grid: solid.Grid, hu: jax.Array
) -> jax.Array:
    """Returns int16 HU with noise, and with streaks where there is metal."""
    fine, long = jax.random.split(key)
    noise, streaks = shadow.deviation(person, scan, grid.z)
    metal = (hu > METAL_HU).any((1, 2))
    streaks = streaks + METAL_STREAKS_HU * metal
    each = (slice(None), None, None)
    hu = hu + NOISE_SHARE * noise[each] * jax.random.normal(fine, hu.shape)
    hu = hu + streaks[each] * shadow.streaks(long, hu.shape)
    return jnp.rint(jnp.clip(hu, AIR_HU, scan.max_hu)).astype(jnp.int16)
