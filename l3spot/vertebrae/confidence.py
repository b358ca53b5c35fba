"""Estimates how far a numbering and a position can be trusted.

Three logistic regressions give the probabilities that the level is right, that a
position at the right level is within `TOLERANCE_MM` of the body's middle, and that the
frontal position is. They are fitted on phantoms that are unlike those of training
(`l3spot.training.calibration`).
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, logit

from l3spot.localize.frontal import Frontal
from l3spot.projections.mip import Projection
from l3spot.vertebrae.bodies import Body, Chain
from l3spot.vertebrae.levels import Numbering
from l3spot.vertebrae.slab import Slab

TOLERANCE_MM = 5.0
METAL_HU, SPINE_MM = 1500.0, 30.0  # Metal counts so far from the spine's middle.
MAX_LOGIT = 6.0
MIN_HEIGHTS = 3  # With fewer, it is not known whether one body is tall.
# Usual values; features are 0 there.
ADULT_PITCH_MM, THIN_MM, LONG_MM, WIDE_MM = 35.0, 2.5, 300.0, 300.0

# Each feature and its sign: a larger value can only raise (1) or lower (-1) the
# probability. Otherwise chance effects among the drawn scans, such as good answers in
# narrow fields, would be taken over to real scans.
LEVEL_FEATURES = {
    "numbering": 1, "usual_anatomy": 1, "frontal": 1, "frontal_distance": -1,
    "sacrum": 1, "ribs": 1, "clear_bodies": 1, "small_body": -1, "thick_slices": -1,
    "short_scan": -1, "narrow_field": -1, "metal": -1, "uneven_spacing": -1,
}  # fmt: skip
POSITION_FEATURES = {
    "body": 1, "uneven_height": -1, "small_body": -1, "thick_slices": -1, "metal": -1,
}  # fmt: skip
FRONTAL_FEATURES = {
    "frontal": 1, "thick_slices": -1, "short_scan": -1, "narrow_field": -1,
}  # fmt: skip


class Logistic(NamedTuple):
    """A logistic regression.

    Attributes:
      coefficients: one for each feature.
      bias: the constant term.
    """

    coefficients: tuple[float, ...]
    bias: float

    def __call__(self, features: np.ndarray) -> float:
        """Returns the probability for features [N]."""
        return float(expit(np.dot(self.coefficients, features) + self.bias))


class Calibration(NamedTuple):
    """What the confidence needs.

    Attributes:
      level: that the numbering is right, from `level_features`.
      position: within the tolerance, if the level is right, from `position_features`.
      frontal: within the tolerance in the frontal projection, from `frontal_features`.
    """

    level: Logistic
    position: Logistic
    frontal: Logistic

    def to_json(self) -> dict[str, Any]:
        """Returns the content of a model's metadata."""
        return {
            name: {"coefficients": part.coefficients, "bias": part.bias}
            for name, part in self._asdict().items()
        }


UNCALIBRATED = Calibration(
    Logistic((1.0, *(0.0,) * (len(LEVEL_FEATURES) - 1)), 0.0),
    Logistic((0.0,) * len(POSITION_FEATURES), MAX_LOGIT),
    Logistic((0.0,) * len(FRONTAL_FEATURES), -MAX_LOGIT),
)


def from_json(stored: dict[str, Any]) -> Calibration:
    """Reads what `Calibration.to_json` returned.

    Raises:
      KeyError, TypeError, ValueError: the content is another one.
    """
    parts = {
        name: Logistic(tuple(map(float, part["coefficients"])), float(part["bias"]))
        for name, part in stored.items()
    }
    calibration = Calibration(**parts)
    for part, expected in zip(calibration, UNCALIBRATED, strict=True):
        if len(part.coefficients) != len(expected.coefficients):
            raise ValueError("its calibration has other features")
    return calibration


def level_features(
    projection: Projection,
    slab: Slab,
    chain: Chain,
    numbering: Numbering,
    frontal: Frontal,
) -> np.ndarray:
    """Returns the features [len(LEVEL_FEATURES)] of a numbering."""
    bodies = [body for body in chain.bodies if not body.is_s1]
    near = sorted(bodies, key=lambda b: abs(b.z_mm - numbering.l3_z_mm))[:5]
    distance = abs(frontal.z_mm - numbering.l3_z_mm) / numbering.pitch_mm
    small, thick, short, narrow = acquisition_features(projection, numbering.pitch_mm)
    return np.array([
        _logit(numbering.probability),
        _logit(numbering.usual),
        _logit(frontal.confidence),
        min(distance, 2.0),
        numbering.sacrum,
        numbering.ribs,
        _logit(float(np.mean([b.probability for b in near]))),
        small, thick, short, narrow,
        _metal(slab, near),
        uneven_spacing(chain),
    ])  # fmt: skip


def uneven_spacing(chain: Chain) -> float:
    """Returns the largest change of the distance from one vertebra to the next one.

    It is the absolute logarithm of the ratio of neighbouring distances; S1 is left out.
    Where it is large, a vertebra was not seen, or something else was taken for one.
    """
    middles = np.array([body.middle for body in chain.bodies if not body.is_s1])
    distance = np.hypot(*np.diff(middles, axis=0).T)
    return float(np.abs(np.diff(np.log(distance))).max(initial=0.0))


def tallest(chain: Chain) -> float:
    """Returns the largest ratio of a body's height to the median of its neighbours'.

    These are up to two on each side; S1 is left out. Where the ratio is large, two
    vertebrae were taken for one.
    """
    heights = np.array([body.height_mm for body in chain.bodies if not body.is_s1])
    if len(heights) < MIN_HEIGHTS:
        return 1.0
    around = (
        np.delete(heights[max(i - 2, 0) : i + 3], min(i, 2))
        for i in range(len(heights))
    )
    return float(max(heights / np.array([np.median(a) for a in around])))


def position_features(
    projection: Projection, slab: Slab, chain: Chain, body: Body, pitch_mm: float
) -> np.ndarray:
    """Returns the features [len(POSITION_FEATURES)] of a body's middle."""
    heights = sorted(
        (abs(b.z_mm - body.z_mm), b.height_mm) for b in chain.bodies if not b.is_s1
    )[1:3]
    usual_mm = np.mean([height for _, height in heights])
    small, thick, _, _ = acquisition_features(projection, pitch_mm)
    uneven = abs(np.log(body.height_mm / usual_mm))
    return np.array(
        [_logit(body.probability), uneven, small, thick, _metal(slab, [body])]
    )


def frontal_features(projection: Projection, frontal: Frontal) -> np.ndarray:
    """Returns the features [len(FRONTAL_FEATURES)] of the frontal position."""
    _, thick, short, narrow = acquisition_features(projection, ADULT_PITCH_MM)
    return np.array([_logit(frontal.confidence), thick, short, narrow])


def acquisition_features(
    projection: Projection, pitch_mm: float
) -> tuple[float, float, float, float]:
    """Returns how small the body, thick the slices, short and narrow the scan is.

    Each is the logarithm of a ratio, 0 for usual scans.
    """
    spine = projection.spine
    z = projection.z if spine is None else spine.z
    slice_mm = float(np.median(np.abs(np.diff(z))))
    length_mm, width_mm = (float(np.ptp(a)) + 1 for a in (z, projection.x))
    ratios = (
        ADULT_PITCH_MM / pitch_mm,
        slice_mm / THIN_MM * ADULT_PITCH_MM / pitch_mm,
        LONG_MM / length_mm,
        WIDE_MM / width_mm,
    )
    small, thick, short, narrow = (float(max(np.log(r), 0.0)) for r in ratios)
    return small, thick, short, narrow


def _metal(slab: Slab, bodies: list[Body]) -> float:
    """Returns the share of rows with metal between the ends of bodies."""
    rows = (slab.z <= bodies_top(bodies)) & (slab.z >= bodies_bottom(bodies))
    near = np.abs(slab.y - slab.spine_y[:, None]) <= SPINE_MM
    bright = ((slab.hu > METAL_HU) & near).any(1)
    return float(bright[rows].mean()) if rows.any() else 0.0


def bodies_top(bodies: list[Body]) -> float:
    """Returns the z of the highest end plate."""
    return max(float(body.upper[1]) for body in bodies)


def bodies_bottom(bodies: list[Body]) -> float:
    """Returns the z of the lowest end plate."""
    return min(float(body.lower[1]) for body in bodies)


def _logit(probability: float) -> float:
    return float(
        np.clip(logit(np.clip(probability, 1e-6, 1 - 1e-6)), -MAX_LOGIT, MAX_LOGIT)
    )
