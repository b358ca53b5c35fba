"""What the network learns: the maps of a phantom's bodies."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from l3spot.phantom.sagittal import picture as phantom
from l3spot.phantom.sagittal.picture import PIXEL_MM
from l3spot.phantom.sagittal.spine import S1, Vertebrae
from l3spot.vertebrae import slab
from l3spot.vertebrae.network import STRIDE, VOTE_PX
from l3spot.vertebrae.slab import COLUMNS, ROWS

PEAK_SHARE, PEAK_MM = (
    0.16,
    0.5,
)  # Width of a peak: a share of the body's height, and mm.
EDGE_PX = (1, 3)  # End plates are so many rows and columns within a picture.
EMPTY_HU = -1000  # Outside the scan.


class Picture(NamedTuple):
    """A phantom as the network takes it.

    Attributes:
      grey: uint8 [ROWS, COLUMNS].
      plates: [N, 2 (upper, lower), 2 (y, z)] mm, see `sagittal.render`.
      half_depth: [N] mm.
      present: bool [N], whether the spine has the body.
      inside: bool [N], whether both end plates are in the picture.
    """

    grey: Array
    plates: Array
    half_depth: Array
    present: Array
    inside: Array


class Maps(NamedTuple):
    """The targets for one picture.

    Attributes:
      peaks: [r, c, 2], from 0 to 1, of bodies above the sacrum and of S1.
      body: [r, c], 1 within a body above the sacrum.
      votes: [r, c, 4], see `network`.
      voting: [r, c], 1 within bodies with both end plates in the picture.
    """

    peaks: Array
    body: Array
    votes: Array
    voting: Array


def picture(key: Array) -> Picture:
    """Draws a phantom."""
    hu, spine = phantom.render(key, ROWS, COLUMNS, PIXEL_MM)
    share = (hu - slab.LOW_HU) / (slab.HIGH_HU - slab.LOW_HU)
    grey = jnp.rint(255 * jnp.clip(share, 0, 1)).astype(jnp.uint8)
    inside = _inside(hu, spine)
    return Picture(grey, spine.plates, spine.half_depth, spine.present, inside)


def _inside(hu: Array, spine: Vertebrae) -> Array:
    """Returns whether both end plates [N] are in the picture and in the scan."""
    row, column = -spine.plates[..., 1] / PIXEL_MM, spine.plates[..., 0] / PIXEL_MM
    fits = [
        (v > edge) & (v < n - 1 - edge)
        for v, n, edge in zip((row, column), hu.shape, EDGE_PX, strict=True)
    ]
    i, j = (
        jnp.clip(jnp.rint(v), 0, n - 1).astype(int)
        for v, n in zip((row, column), hu.shape, strict=True)
    )
    return (fits[0] & fits[1] & (hu[i, j] > EMPTY_HU)).all(-1) & spine.present


def maps(p: Picture) -> Maps:
    """Returns the targets of a picture."""
    first = (STRIDE - 1) / 2
    y = PIXEL_MM * (first + STRIDE * jnp.arange(COLUMNS // STRIDE))
    z = -PIXEL_MM * (first + STRIDE * jnp.arange(ROWS // STRIDE))
    at = jnp.stack(jnp.meshgrid(y, z), -1)  # [r, c, 2]
    # The bodies above the sacrum and S1.
    upper, lower = p.plates[: S1 + 1, 0], p.plates[: S1 + 1, 1]
    height = jnp.linalg.norm(upper - lower, axis=-1)
    offset = at - ((upper + lower) / 2)[:, None, None]  # [N, r, c, 2]
    width = PEAK_SHARE * height + PEAK_MM
    square = (offset**2).sum(-1) / width[:, None, None] ** 2
    peak = jnp.exp(-square / 2) * p.inside[: S1 + 1, None, None]
    axis = (upper - lower) / height[:, None]
    up = jnp.einsum("nrcd,nd->nrc", offset, axis)
    back = jnp.einsum("nrcd,nd->nrc", offset, axis[:, ::-1] * jnp.array([1.0, -1.0]))
    within = (jnp.abs(up) < height[:, None, None] / 2) & (
        jnp.abs(back) < p.half_depth[: S1 + 1, None, None]
    )
    within = within & p.present[: S1 + 1, None, None]
    owner = within.argmax(0)
    plates = p.plates[: S1 + 1].reshape(S1 + 1, 4)[owner]
    return Maps(
        jnp.stack([peak[:S1].max(0), peak[S1]], -1),
        within[:S1].any(0).astype(float),
        (plates - jnp.concatenate([at, at], -1)) / (VOTE_PX * PIXEL_MM),
        (within & p.inside[: S1 + 1, None, None]).any(0).astype(float),
    )
