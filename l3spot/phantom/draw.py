"""What is drawn at random, and from which ranges."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jax import Array

Range = tuple[float, float]
POOL = 8192  # Numbers of each kind that a body takes at most.


@dataclasses.dataclass(frozen=True)
class Ranges:
    """Ranges of uniform draws, probabilities, standard deviations; all are our choice.

    Body. size: of all lengths, 1 is an average adult. curve: of lordosis and kyphosis.
    lean, roll: of the whole spine, radians. scoliosis: standard deviation of the tilt
    of vertebrae, radians; a tenth have four times that. disc: height, 1 is healthy.
    bone: density. fat: mm below the skin. girth: of the trunk.
    head: size, beside the body's. nod: of the head, back, radians; tip: to a side.
    blade: turn of the shoulder blades of raised arms, radians.
    Probabilities. sixth_lumbar, sacralised: of L6, of an L5 that is fused. ribs_11,
    ribs_13: of so many pairs. fracture: of a vertebra. arms_up. contrast: of vessels
    and organs; oral: in the bowel; gas: of each pocket; metal: of each implant;
    calcified: of rib cartilage; tooth, filling: of each tooth.
    Scan. step: mm between planes. pixel: mm. noise: HU, of a plane. streaks: HU, where
    the body is widest. sharpness: mm from air to rim. clip: of scanners of 12 bits that
    end at 1023 HU. length: mm; without: share of scans that L3 is not in view of.
    """

    size: Range = (0.86, 1.14)
    curve: Range = (0.3, 1.7)
    lean: Range = (-0.06, 0.06)
    roll: Range = (-0.06, 0.06)
    scoliosis: float = 0.035
    disc: Range = (0.55, 1.15)
    bone: Range = (0.55, 1.35)
    fat: Range = (6.0, 50.0)
    girth: Range = (0.88, 1.2)
    head: Range = (0.95, 1.05)
    nod: Range = (-0.08, 0.24)
    tip: Range = (-0.07, 0.07)
    blade: Range = (0.4, 0.65)
    sixth_lumbar: float = 0.04
    sacralised: float = 0.05
    ribs_11: float = 0.04
    ribs_13: float = 0.04
    fracture: float = 0.02
    arms_up: float = 0.7
    contrast: float = 0.6
    oral: float = 0.25
    gas: float = 0.5
    metal: float = 0.06
    calcified: float = 0.5
    tooth: float = 0.85
    filling: float = 0.1
    step: Range = (0.8, 5.0)
    pixel: Range = (0.6, 0.98)
    noise: Range = (6.0, 35.0)
    streaks: Range = (0.0, 40.0)
    sharpness: Range = (0.7, 1.3)
    clip: float = 0.2
    length: Range = (180.0, 800.0)
    without: float = 0.15


class Draw:
    """Draws numbers from ranges, one after the other.

    All are drawn at once, for a program with a generator at each draw takes a minute
    to compile.
    """

    def __init__(self, key: Array, ranges: Ranges) -> None:
        self.ranges = ranges
        flat, bell = jax.random.split(key)
        self._uniform = jax.random.uniform(flat, (POOL,))
        self._normal = jax.random.normal(bell, (POOL,))
        self._taken = 0

    def __call__(
        self, low: float | Array, high: float | Array, shape: tuple[int, ...] = ()
    ) -> Array:
        """Uniform."""
        return low + (high - low) * self._take(self._uniform, shape)

    def normal(self, shape: tuple[int, ...] = ()) -> Array:
        """Of unit variance."""
        return self._take(self._normal, shape)

    def chance(self, probability: float | Array, shape: tuple[int, ...] = ()) -> Array:
        """Whether something with a probability happens."""
        return self._take(self._uniform, shape) < probability

    def sometimes(self, probability: float, rim: float | Array, absent: float) -> Array:
        """rim, or what says that it is absent."""
        return jnp.where(self.chance(probability, jnp.shape(rim)), rim, absent)

    def _take(self, pool: Array, shape: tuple[int, ...]) -> Array:
        start, self._taken = self._taken, self._taken + math.prod(shape)
        if self._taken > POOL:
            raise ValueError(f"more than {POOL} numbers are drawn; make POOL larger")
        return pool[start : self._taken].reshape(shape)
