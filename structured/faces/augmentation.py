"""Makes the network's input from canvases, with or without augmentation, on the device.

A canvas is the crop of a face with some context on each side (`crops`). Augmentation
rotates, scales, shifts and mirrors a face about the centre of its frame, image and
points alike. Coordinates are those of the frame: -0.5 to 0.5 from edge to edge.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from ml_collections import ConfigDict

from structured.faces.crops import Crop
from structured.faces.schemes import Scheme

# Images with a smaller range of grey levels count as flat. It is above 0, because
# interpolation adds rounding errors to a flat image.
MIN_GREY_RANGE = 1e-2


class FaceTransforms(NamedTuple):
    """Affine transforms of B faces: p -> linear p + shift, for points p of the frame.

    Attributes:
      linear: [B, 2, 2].
      shift: [B, 2].
      mirrored: bool [B], whether `linear` mirrors, so that left and right points swap.
    """

    linear: jax.Array
    shift: jax.Array
    mirrored: jax.Array


def stretch_contrast(x: jax.Array) -> jax.Array:
    """Maps each image of [B, H, W] from its grey range to [0, 1], a flat image to 0."""
    low = x.min(axis=(1, 2), keepdims=True)
    grey_range = x.max(axis=(1, 2), keepdims=True) - low
    stretched = (x - low) / jnp.maximum(grey_range, MIN_GREY_RANGE)
    return jnp.where(grey_range > MIN_GREY_RANGE, stretched, 0)


def network_input(canvas: jax.Array, crop: Crop) -> jax.Array:
    """Makes inputs without augmentation: the canvases' middles, contrast stretched.

    Args:
      canvas: uint8 [B, C, C], C = crop.canvas.
      crop: how the canvases were cut.

    Returns:
      float32 [B, S, S] in [0, 1], S = crop.size.
    """
    inner = slice(crop.context, crop.context + crop.size)
    return stretch_contrast(canvas[:, inner, inner].astype(jnp.float32))


def draw_transforms(
    key: jax.Array, frame: jax.Array, config: ConfigDict
) -> FaceTransforms:
    """Draws a random transform for each frame.

    Args:
      key: a PRNG key.
      frame: [B, 4], left, top, width, height in pixels. Rotations are those of the
        image, where a frame need not be a square.
      config: `config.augmentation`: `rotation` in degrees, `scale` as a share and
        `shift` in frames are the standard deviations of normal draws; `mirror` mirrors
        each face with probability 1/2.
    """
    keys = jax.random.split(key, 4)
    count, dtype = len(frame), frame.dtype
    angle = jnp.deg2rad(config.rotation) * jax.random.normal(keys[0], (count,), dtype)
    scale = jnp.exp(config.scale * jax.random.normal(keys[1], (count,), dtype))
    shift = config.shift * jax.random.normal(keys[2], (count, 2), dtype)
    mirrored = jax.random.bernoulli(keys[3], 0.5, (count,)) & config.mirror
    aspect = frame[:, 2] / frame[:, 3]
    cos, sin = scale * jnp.cos(angle), scale * jnp.sin(angle)
    x_sign = jnp.where(mirrored, -1.0, 1.0)
    linear = jnp.stack(
        [
            jnp.stack([cos * x_sign, -sin / aspect], axis=-1),
            jnp.stack([sin * aspect * x_sign, cos], axis=-1),
        ],
        axis=1,
    )
    return FaceTransforms(linear, shift, mirrored)


def transform_points(
    transforms: FaceTransforms, y: jax.Array, scheme: Scheme
) -> jax.Array:
    """Transforms coordinates [B, 2 P] of the frame, (x1 ... xP, y1 ... yP).

    A mirrored face needs a scheme with mirror pairs. A point that is NaN stays NaN.
    """
    xy = jnp.stack(jnp.split(y, 2, axis=1), axis=-1)
    if scheme.mirror_pairs:
        swapped = xy[:, scheme.mirror_order]
        xy = jnp.where(transforms.mirrored[:, None, None], swapped, xy)
    xy = jnp.einsum("bij,bpj->bpi", transforms.linear, xy)
    xy += transforms.shift[:, None]
    return jnp.concatenate([xy[..., 0], xy[..., 1]], axis=1)


def transform_images(
    transforms: FaceTransforms, canvas: jax.Array, crop: Crop
) -> jax.Array:
    """Makes inputs with augmentation; outside of the canvas, its edge is repeated.

    Args:
      transforms: of B faces.
      canvas: uint8 [B, C, C], C = crop.canvas.
      crop: how the canvases were cut.

    Returns:
      float32 [B, S, S] in [0, 1], S = crop.size.
    """
    extent = 1 + 2 * crop.margin
    centres = ((jnp.arange(crop.size) + 0.5) / crop.size - 0.5) * extent
    target = jnp.stack(jnp.meshgrid(centres, centres), axis=-1)  # [S, S, (x, y)]
    inverse = _inverse_2x2(transforms.linear)
    shifted = target[None] - transforms.shift[:, None, None]
    source = jnp.einsum("bij,bhwj->bhwi", inverse, shifted)
    pixel = (source / extent + 0.5) * crop.size - 0.5 + crop.context

    def sample(image: jax.Array, xy: jax.Array) -> jax.Array:
        rows_columns = [xy[..., 1], xy[..., 0]]
        return map_coordinates(image, rows_columns, order=1, mode="nearest")

    return stretch_contrast(jax.vmap(sample)(canvas.astype(jnp.float32), pixel))


def _inverse_2x2(m: jax.Array) -> jax.Array:
    """The inverses of matrices [B, 2, 2]."""
    a, b, c, d = m[:, 0, 0], m[:, 0, 1], m[:, 1, 0], m[:, 1, 1]
    adjugate = jnp.stack([jnp.stack([d, -b], -1), jnp.stack([-c, a], -1)], axis=1)
    return adjugate / (a * d - b * c)[:, None, None]
