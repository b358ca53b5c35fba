"""Lines and balls of `Capsules`, and how they are put together."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from l3spot.phantom.shapes import ABSENT, Capsules, Matter


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
    there: ArrayLike = True,
) -> Capsules:
    """A line through points [..., K, 3]: K - 1 capsules for each.

    radius: mm, at the points; rim: HU of the segments; core: share of rim; rest as in
    `Capsules` and `Matter`. All spread over the points' leading axes.
    """
    size = points.shape[:-1]
    r = jnp.broadcast_to(jnp.asarray(radius, float), size)
    few = (*size[:-1], size[-1] - 1)
    rims = jnp.broadcast_to(jnp.asarray(rim, float), few)
    rims = jnp.where(jnp.broadcast_to(there, few), rims, ABSENT)
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
    there: ArrayLike = True,
    **matter: ArrayLike,
) -> Capsules:
    """Balls at [..., 3]; the rest as in `tube`."""
    size = centre.shape[:-1]
    radius, rim, there = (
        jnp.broadcast_to(jnp.asarray(v), size)[..., None] for v in (radius, rim, there)
    )
    twice = jnp.stack([centre, centre], -2)
    return tube(twice, radius, rim, there=there, **matter)


def join(parts: Sequence[Capsules]) -> Capsules:
    """All of them."""
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def both(points: Array) -> Array:
    """Points [..., 3] of the left side, and mirrored: [2, ..., 3]."""
    return jnp.stack([points, points * jnp.array([-1.0, 1.0, 1.0])])


def bow(*points: Sequence[float | Array]) -> Array:
    """[K, 3] of points that hold numbers and scalars."""
    return jnp.array([[jnp.asarray(v, float) for v in p] for p in points])


def refine(points: Array, times: int) -> Array:
    """A line [..., K, 3] bent smoothly: `times` points for each segment, and the last.

    Catmull-Rom, so it goes through the points.
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
