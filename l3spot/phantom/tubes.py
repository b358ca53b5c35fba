"""Builds `Capsules` from lines and balls."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from l3spot.phantom.shapes import ABSENT_HU, Capsules, Matter


def tube(
    points: Array,
    radius: ArrayLike,
    rim: ArrayLike,
    *,
    core: ArrayLike = 0.4,
    cortex: ArrayLike = 1.5,
    side: ArrayLike = 0.3,
    tall: ArrayLike = 1.0,
    grain: ArrayLike = 0.1,
    present: ArrayLike = True,
) -> Capsules:
    """Returns lines through points [..., K, 3] as K - 1 capsules each.

    All arguments are broadcast over the points' leading axes.

    Args:
      points: [..., K, 3] mm.
      radius: mm, at the points.
      rim: HU of the segments.
      core: share of the rim's HU.
      cortex: mm.
      side: see `Matter.side_loss`.
      tall: see `Capsules.tall`.
      grain: see `Matter.grain`.
      present: whether a segment exists.
    """
    size = points.shape[:-1]
    r = jnp.broadcast_to(jnp.asarray(radius, float), size)
    segments = (*size[:-1], size[-1] - 1)
    rims = jnp.broadcast_to(jnp.asarray(rim, float), segments)
    rims = jnp.where(jnp.broadcast_to(present, segments), rims, ABSENT_HU)
    n = rims.size

    def full(v: ArrayLike) -> Array:
        return jnp.full(n, v, float)

    rims = rims.reshape(n)
    return Capsules(
        points[..., :-1, :].reshape(n, 3),
        points[..., 1:, :].reshape(n, 3),
        jnp.stack([r[..., :-1], r[..., 1:]], -1).reshape(n, 2),
        full(tall),
        Matter(rims, full(core) * rims, full(cortex), full(side), full(grain)),
    )


def ball(
    centre: Array,
    radius: ArrayLike,
    rim: ArrayLike,
    present: ArrayLike = True,
    **matter: ArrayLike,
) -> Capsules:
    """Returns balls at [..., 3] mm; other arguments as in `tube`."""
    size = centre.shape[:-1]
    radius, rim, present = (
        jnp.broadcast_to(jnp.asarray(v), size)[..., None]
        for v in (radius, rim, present)
    )
    ends = jnp.stack([centre, centre], -2)
    return tube(ends, radius, rim, present=present, **matter)


def concatenate(parts: Sequence[Capsules]) -> Capsules:
    """Concatenates capsules."""
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def mirror_pair(points: Array) -> Array:
    """Returns points [..., 3] of the left side and of the right: [2, ..., 3]."""
    return jnp.stack([points, points * jnp.array([-1.0, 1.0, 1.0])])


def polyline(*points: Sequence[float | Array]) -> Array:
    """Returns points [K, 3] from numbers and scalar arrays."""
    return jnp.array([[jnp.asarray(v, float) for v in p] for p in points])


def refine(points: Array, times: int) -> Array:
    """Returns a smooth line with `times` points for each segment of [..., K, 3].

    It is a Catmull-Rom spline, which passes through the points.
    """
    first = 2 * points[..., :1, :] - points[..., 1:2, :]
    last = 2 * points[..., -1:, :] - points[..., -2:-1, :]
    p = jnp.concatenate([first, points, last], -2)
    a, b, c, d = (p[..., i : p.shape[-2] - 3 + i, None, :] for i in range(4))
    t = (jnp.arange(times) / times)[:, None]
    bent = 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2
        + (3 * b - 3 * c + d - a) * t**3
    )  # fmt: skip
    bent = bent.reshape(*points.shape[:-2], -1, 3)
    return jnp.concatenate([bent, points[..., -1:, :]], -2)
