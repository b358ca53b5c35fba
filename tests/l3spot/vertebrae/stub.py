"""A stub of the vertebrae's networks, and a projection with a straight spine."""

from typing import NamedTuple

import numpy as np

from l3spot.projections.band import Band
from l3spot.projections.mip import Projection
from l3spot.vertebrae.bodies import Body, Chain
from l3spot.vertebrae.confidence import UNCALIBRATED, Calibration, Logistic
from l3spot.vertebrae.levels import Signs

ROWS, TOP_MM, PITCH_MM, HEIGHT_MM = 240, 500.0, 34.0, 27.0
X_MM, Y_MM = 44.0, -230.0  # Of the spine.


class StubVertebrae(NamedTuple):
    """Finds the given bodies."""

    chain: Chain
    ribs: list[float]
    calibration: Calibration = UNCALIBRATED

    def find(self, picture, z_mm):
        return self.chain

    def signs(self, projection, picture, chain):
        return Signs(self.ribs)


def chain(z_mm, s1=False):
    """A chain with bodies at these heights; the last is S1, if wanted."""
    up = np.array([0, HEIGHT_MM / 2])
    bodies = [
        Body(np.array([Y_MM, z]) + up, np.array([Y_MM, z]) - up, 0.95) for z in z_mm
    ]
    if s1:
        bodies[-1] = bodies[-1]._replace(is_s1=True)
    return Chain(bodies, 10.0)


def projection():
    """240 rows of 1 mm; the spine is a column of bone."""
    hu = np.full((ROWS, 90), -1000.0, np.float32)
    z = TOP_MM - np.arange(ROWS)
    x, y = np.arange(90.0), np.arange(90.0) - 300
    band_hu = np.full((ROWS, 90, 45), 40, np.int16)
    band_hu[:, 55:85, 17:28] = 400
    spine = Band(band_hu, z[::-1], y, x[::2])
    return Projection(hu, hu, z, x, y, np.arange(ROWS), spine)


def constant(part, probability):
    """A logistic regression that always gives this probability."""
    logit = float(np.log(probability / (1 - probability)))
    return Logistic((0.0,) * len(part.coefficients), logit)
