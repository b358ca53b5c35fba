"""Finds and names the vertebrae of a projection, near a coarse position of L3."""

from typing import NamedTuple

import numpy as np

from l3spot.projections.mip import Projection
from l3spot.vertebrae import levels, slab
from l3spot.vertebrae.bodies import Chain
from l3spot.vertebrae.levels import Numbering
from l3spot.vertebrae.model import VertebraModel
from l3spot.vertebrae.slab import Slab

MIN_BODIES = 2  # Above S1; fewer cannot be numbered.


class Spine(NamedTuple):
    """The vertebrae of a scan.

    Attributes:
      slab: the sagittal picture.
      chain: the bodies found in it.
      numbering: their names.
    """

    slab: Slab
    chain: Chain
    numbering: Numbering

    def x_mm(self, z_mm: float) -> float:
        """Returns x of the middle of the spine at a height."""
        return float(np.interp(-z_mm, -self.slab.z, self.slab.spine_x))


def locate(
    model: VertebraModel,
    projection: Projection,
    coarse_z_mm: float,
    coarse_probability: float,
) -> Spine | None:
    """Finds the vertebrae around a coarse position of L3.

    Args:
      model: finds the bodies.
      projection: with 1 mm pixels.
      coarse_z_mm: of L3, from the frontal projection.
      coarse_probability: that L3 is there.

    Returns:
      The vertebrae; None if fewer than `MIN_BODIES` are seen.
    """
    if projection.spine is None:
        return None
    picture = slab.make(projection.spine)
    chain = model.find(picture, coarse_z_mm)
    if sum(not body.is_s1 for body in chain.bodies) < MIN_BODIES:
        return None
    ribs = model.rib_probabilities(projection, picture, chain)
    numbering = levels.number(chain, coarse_z_mm, coarse_probability, ribs)
    return Spine(picture, chain, numbering)
