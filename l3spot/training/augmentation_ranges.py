"""The ranges of random augmentation, and the draws from them."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

MAX_OBJECTS = 12  # In a strip.


class AugmentationRanges(NamedTuple):
    """Ranges of the random changes; uniform, and our choice.

    Attributes:
      l3_share: share of strips with L3 in them.
      cut_share: share of scans that are cut at a row, above or below.
      side_cut_share: share of scans that are cut at columns.
      mirror_share: share of scans that are mirrored; 0 for lateral projections.
      scale: factors of height and of width, drawn separately.
      tilt_rad: largest rotation in the image.
      stretch: largest relative change of lengths along the spine.
      sway_px: largest displacement of the spine to a side.
      object_share: largest share of `MAX_OBJECTS` that are drawn, such as contrast
        agent, calcifications, metal, wires or an arm.
      body_floor_hu: in half of the strips, the least HU of the body, for soft tissue or
        a table behind it.
      streak_hu: largest standard deviation of noise in streaks.
      low_hu: HU that become black.
      window_hu: HU from black to white.
      gamma: exponents of the grey values.
      noise: largest standard deviation of pixel noise, in grey values.
      shading: largest standard deviation of slow changes of brightness.
      box_px: largest side of hidden boxes.
    """

    l3_share: float = 0.7
    cut_share: float = 0.5
    side_cut_share: float = 0.25
    mirror_share: float = 0.5
    scale: tuple[float, float] = (0.8, 1.2)
    tilt_rad: float = 0.1
    stretch: float = 0.15
    sway_px: float = 6.0
    object_share: float = 0.8
    body_floor_hu: tuple[float, float] = (-150.0, 200.0)
    streak_hu: float = 150.0
    low_hu: tuple[float, float] = (-150.0, 250.0)
    window_hu: tuple[float, float] = (500.0, 1400.0)
    gamma: tuple[float, float] = (0.6, 1.6)
    noise: float = 0.06
    shading: float = 0.25
    box_px: int = 40


class Draw:
    """Draws random numbers, each with the next key."""

    def __init__(self, key: jax.Array) -> None:
        self._keys = iter(jax.random.split(key, 48))

    def __call__(
        self, low: float, high: float, shape: tuple[int, ...] = ()
    ) -> jax.Array:
        """Draws uniform numbers."""
        return jax.random.uniform(next(self._keys), shape, minval=low, maxval=high)

    def log(self, low: float, high: float, shape: tuple[int, ...] = ()) -> jax.Array:
        """Draws log-uniform numbers."""
        return jnp.exp(self(math.log(low), math.log(high), shape))

    def normal(self, shape: tuple[int, ...]) -> jax.Array:
        """Draws numbers with mean 0 and standard deviation 1."""
        return jax.random.normal(next(self._keys), shape)

    def chance(
        self, share: float | jax.Array, shape: tuple[int, ...] = ()
    ) -> jax.Array:
        """Draws booleans; `share` is the probability of True."""
        return self(0, 1, shape) < share
