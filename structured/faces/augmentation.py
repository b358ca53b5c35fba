"""From canvases, crops with some context, to what the network sees: plain or jittered.

Jitter turns, scales, shifts and mirrors a face about the centre of its frame, image and
points alike, on the device. Coordinates are the frame's: -0.5 to 0.5 from edge to edge.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from ml_collections import ConfigDict

from structured.faces.crops import Crop
from structured.faces.points import MIRROR

FLAT = 1e-2  # Grey levels; interpolation makes a flat image less flat than its canvas.


class Moves(NamedTuple):
    """What happens to each of B faces.

    linear: [B, 2, 2] and shift: [B, 2] take a point p of the frame to linear p + shift.
    mirrored: bool[B], whether `linear` mirrors, so that left and right points swap.
    """

    linear: jax.Array
    shift: jax.Array
    mirrored: jax.Array


def stretch(x: jax.Array) -> jax.Array:
    """Each image of [B, H, W], in grey levels, to [0, 1]; a flat one becomes 0."""
    low = x.min(axis=(1, 2), keepdims=True)
    span = x.max(axis=(1, 2), keepdims=True) - low
    return jnp.where(span > FLAT, (x - low) / jnp.maximum(span, FLAT), 0)


def plain(canvas: jax.Array, crop: Crop) -> jax.Array:
    """[B, S, S] in [0, 1]: the middle of canvases uint8 [B, C, C], stretched."""
    inner = slice(crop.context, crop.context + crop.size)
    return stretch(canvas[:, inner, inner].astype(jnp.float32))


def draw(key: jax.Array, frame: jax.Array, jitter: ConfigDict) -> Moves:
    """Random moves for frames [B, 4], left, top, width, height.

    Args:
      key: a PRNG key.
      frame: a face turns in the image and not in its frame, which need not be a square.
      jitter: `rotation` in degrees, `scale` as a share and `shift` in frames are the
        standard deviations of normal draws; `mirror` mirrors half of the faces.
    """
    keys = jax.random.split(key, 4)
    many = len(frame)
    angle = jnp.deg2rad(jitter.rotation) * jax.random.normal(keys[0], (many,))
    scale = jnp.exp(jitter.scale * jax.random.normal(keys[1], (many,)))
    shift = jitter.shift * jax.random.normal(keys[2], (many, 2))
    mirrored = jax.random.bernoulli(keys[3], 0.5, (many,)) & jitter.mirror
    aspect = frame[:, 2] / frame[:, 3]
    cos, sin = scale * jnp.cos(angle), scale * jnp.sin(angle)
    side = jnp.where(mirrored, -1.0, 1.0)
    linear = jnp.stack(
        [
            jnp.stack([cos * side, -sin / aspect], axis=-1),
            jnp.stack([sin * aspect * side, cos], axis=-1),
        ],
        axis=1,
    )
    return Moves(linear, shift, mirrored)


def move_points(moves: Moves, y: jax.Array) -> jax.Array:
    """[B, 2 P] coordinates (x1..xP, y1..yP) of the frame, after the moves."""
    xy = jnp.stack(jnp.split(y, 2, axis=1), axis=-1)
    if xy.shape[1] == len(MIRROR):
        swapped = xy[:, MIRROR]
        xy = jnp.where(moves.mirrored[:, None, None], swapped, xy)
    xy = jnp.einsum("bij,bpj->bpi", moves.linear, xy) + moves.shift[:, None]
    return jnp.concatenate([xy[..., 0], xy[..., 1]], axis=1)


def move_images(moves: Moves, canvas: jax.Array, crop: Crop) -> jax.Array:
    """[B, S, S] in [0, 1]: canvases uint8 [B, C, C] after the moves, stretched.

    What comes from beyond the canvas repeats its edge.
    """
    extent = 1 + 2 * crop.margin
    middle = ((jnp.arange(crop.size) + 0.5) / crop.size - 0.5) * extent
    seen = jnp.stack(jnp.meshgrid(middle, middle), axis=-1)  # [S, S, (x, y)]
    back = _inverse(moves.linear)
    away = seen[None] - moves.shift[:, None, None]
    source = jnp.einsum("bij,bhwj->bhwi", back, away)
    pixel = (source / extent + 0.5) * crop.size - 0.5 + crop.context

    def one(image: jax.Array, at: jax.Array) -> jax.Array:
        where = [at[..., 1], at[..., 0]]
        return map_coordinates(image, where, order=1, mode="nearest")

    return stretch(jax.vmap(one)(canvas.astype(jnp.float32), pixel))


def _inverse(m: jax.Array) -> jax.Array:
    """Of matrices [B, 2, 2]."""
    a, b, c, d = m[:, 0, 0], m[:, 0, 1], m[:, 1, 0], m[:, 1, 1]
    adjugate = jnp.stack([jnp.stack([d, -b], -1), jnp.stack([-c, a], -1)], axis=1)
    return adjugate / (a * d - b * c)[:, None, None]
