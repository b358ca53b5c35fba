"""Finds L3 in the frontal projection, and the vertebrae around it in a sagittal one."""

from typing import NamedTuple

import numpy as np

from l3spot.localize import frontal
from l3spot.localize.frontal import Frontal
from l3spot.localize.model import MIN_CONFIDENCE, Model
from l3spot.projections.band import Band
from l3spot.projections.mip import Projection
from l3spot.vertebrae import confidence, levels, slab
from l3spot.vertebrae.bodies import Chain
from l3spot.vertebrae.levels import BOTH, SACRUM, Numbering
from l3spot.vertebrae.model import VertebraModel
from l3spot.vertebrae.slab import Slab

MIN_BODIES = 2  # Above S1; fewer cannot be numbered.
# The frontal network is trained on adults. If lumbar vertebrae are nearer to each
# other than the first distance, the projection is magnified to the second one.
SMALL_PITCH_MM, ADULT_PITCH_MM = 29.0, 35.0
# A spine so near to the side of the pictures is cut, as an adult's is 50 mm wide.
SIDE_MARGIN_MM = 25.0
# If the distance from one vertebra to the next changes so much, not all are seen.
MAX_UNEVEN_SPACING = np.log(1.5)
# If a body is so much higher than those around it, it is two vertebrae.
MAX_TALLEST = 1.45
# If ribs and sacrum hardly prefer a numbering to the next one, the frontal position
# decides. In people it often is that of another vertebra. A deep L5 is taken for S1.
MIN_SUPPORT, MAX_ONE_SIDED_CONFIDENCE = 2.0, 0.75
# Of the level, where the spine is cut or vertebrae are not seen.
MAX_DOUBTFUL_CONFIDENCE = 0.5


class Spine(NamedTuple):
    """The vertebrae of a scan.

    Attributes:
      slab: the sagittal picture.
      chain: the bodies found in it.
      numbering: their names.
      confidence: the probability that the names are right.
      within_5_mm: for each name, the probability of the right name and a position
        within 5 mm of the body's middle.
      is_cut: whether the side of the pictures cuts it at L3's height.
    """

    slab: Slab
    chain: Chain
    numbering: Numbering
    confidence: float
    within_5_mm: dict[str, float]
    is_cut: bool = False

    def x_mm(self, z_mm: float) -> float:
        """Returns x of the middle of the spine at a height."""
        return float(self.slab.x_mm(z_mm))


class Located(NamedTuple):
    """L3 and the other vertebrae.

    Attributes:
      frontal: L3 in the frontal projection.
      frontal_within_5_mm: the probability of a position within 5 mm of L3's middle.
      spine: the vertebrae; None if fewer than `MIN_BODIES` are seen.
    """

    frontal: Frontal
    frontal_within_5_mm: float
    spine: Spine | None


def locate(model: Model, vertebrae: VertebraModel, projection: Projection) -> Located:
    """Finds L3 in the frontal projection, and then the vertebrae around it.

    Args:
      model: finds L3 in the frontal projection.
      vertebrae: finds the bodies, the ribs and the sacrum.
      projection: with 1 mm pixels.
    """
    coarse = frontal.find(model, projection)
    spine = None
    if projection.spine is not None:
        seen = coarse.confidence >= MIN_CONFIDENCE
        picture, chain = _look(vertebrae, projection.spine, coarse.z_mm)
        # Vertebrae of the neck are as near to each other as those of a child, but ribs
        # do not end there.
        pitch_mm = _pitch_mm(chain, coarse)
        if pitch_mm < SMALL_PITCH_MM and (
            seen or levels.ribs_end(vertebrae.signs(projection, picture, chain))
        ):
            coarse = frontal.find(model, projection, ADULT_PITCH_MM / pitch_mm)
            chain = vertebrae.find(picture, coarse.z_mm)
        if _count(chain) >= MIN_BODIES:
            spine = _name(vertebrae, projection, picture, chain, coarse)
    features = confidence.frontal_features(projection, coarse)
    return Located(coarse, vertebrae.calibration.frontal(features), spine)


def _look(vertebrae: VertebraModel, band: Band, z_mm: float) -> tuple[Slab, Chain]:
    """Returns the slab that shows most vertebrae, and these."""
    pictures = slab.make_all(band)
    chains = [vertebrae.find(picture, z_mm) for picture in pictures]
    counts = [len(chain.bodies) for chain in chains]
    best = int(np.argmax(counts))  # The first of equal ones.
    return pictures[best], chains[best]


def _count(chain: Chain) -> int:
    """Returns the number of bodies above S1."""
    return sum(not body.is_s1 for body in chain.bodies)


def _pitch_mm(chain: Chain, coarse: Frontal) -> float:
    """Returns the distance between lumbar bodies; infinite if it is unknown."""
    enough = _count(chain) >= MIN_BODIES
    return levels.pitch_mm(chain, coarse.z_mm) if enough else np.inf


def _name(
    vertebrae: VertebraModel,
    projection: Projection,
    picture: Slab,
    chain: Chain,
    coarse: Frontal,
) -> Spine:
    """Names the bodies of a chain, and says how far this can be trusted."""
    signs = vertebrae.signs(projection, picture, chain)
    numbering = levels.number(chain, coarse.z_mm, coarse.confidence, signs)
    calibration, seen = vertebrae.calibration, (projection, picture, chain)
    features = confidence.level_features(*seen, numbering, coarse)
    right = calibration.level(features)
    # The networks are worse in people than in the phantoms of calibration.
    if numbering.basis != BOTH:
        right = min(right, numbering.probability)
    if numbering.basis == SACRUM or numbering.support < MIN_SUPPORT:
        right = min(right, MAX_ONE_SIDED_CONFIDENCE)
    is_cut = _is_cut(projection, picture, numbering)
    uneven = confidence.uneven_spacing(chain) > MAX_UNEVEN_SPACING
    if is_cut or uneven or confidence.tallest(chain) > MAX_TALLEST:
        right = min(right, MAX_DOUBTFUL_CONFIDENCE)
    within = {}
    for level in numbering.levels:
        body = next(b for b in chain.bodies if b.z_mm == level.z_mm)
        features = confidence.position_features(*seen, body, numbering.pitch_mm)
        within[level.name] = right * calibration.position(features)
    return Spine(picture, chain, numbering, right, within, is_cut)


def _is_cut(projection: Projection, picture: Slab, numbering: Numbering) -> bool:
    """Returns whether the spine is too near to the side of the pictures."""
    x = picture.x_mm(numbering.l3_z_mm)
    margin_mm = min(x - projection.x[0], projection.x[-1] - x)
    return bool(margin_mm < SIDE_MARGIN_MM)
