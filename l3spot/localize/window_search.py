"""From a picture to L3: all windows, the correlation with a ramp, and how sure it is.

A window tells how far L3 is below its middle, in mm. Going down over L3, what windows
tell falls with slope -1 through zero, so L3 is where their sequence correlates best
with such a ramp (paper, section 3.3), and exactly where the windows near vote. What is
further than the reach a is trained to be a or -a, so above and below L3 the sequence is
flat, and the ramp, whose mean is zero, sees nothing there.
"""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from scipy import signal, stats

from l3spot.localize.network import Network
from l3spot.localize.preprocess import HEIGHT, MM
from mtl.engine.task import Params

REACH = 50.0  # a, mm.
STEP = 2  # Pixels from a window to the next.
COARSEST = 8  # With more, too few windows vote.
AROUND = int(REACH / MM)  # Pixels beyond a picture at which windows have their middle.
GROUP = 128  # Pixels by which pictures are filled up.


class Sequence(NamedTuple):
    """row: float64 [N], the windows' middles, mm from the top, evenly spaced.

    away: float64 [N], how far L3 is below each, mm.
    """

    row: np.ndarray
    away: np.ndarray


class Spot(NamedTuple):
    """Where L3 is, if anywhere.

    row: mm from the top of the projection. evidence: float64 [5], see `evidence`.
    correlation: float64 [N], at the windows' middles; a perfect ramp has 1.
    """

    row: float
    evidence: np.ndarray
    correlation: np.ndarray


def steps(network: Network) -> tuple[int, ...]:
    """The steps that a network can take, pixels."""
    b = network.backbone
    return tuple(s for s in range(b.finest, COARSEST + 1) if b.stride % s == 0)


def look(
    network: Network,
    params: Params,
    x: np.ndarray,
    step: int = STEP,
    mirror: bool = False,
) -> Sequence:
    """All windows of a picture [R, WIDTH] in [0, 1], one of `steps` apart.

    Middles run from `REACH` above the picture to `REACH` below it; what is beyond the
    picture is black. All phases of the trunk's stride share one pass over the picture.
    With `mirror` they tell the mean of what they see in it and in its mirror image.
    """
    wide = frame(network, x)
    views = (wide, wide[:, ::-1]) if mirror else (wide,)
    told = [np.asarray(_phases(network, params, v, step)) for v in views]
    return sequence(np.mean(told, 0), len(x), step)


_phases = partial(jax.jit, static_argnums=(0, 3))(Network.phases)


def frame(network: Network, x: np.ndarray) -> np.ndarray:
    """A picture [R, WIDTH] with all around it that windows see, float32 [H, WIDTH]."""
    count = -(-(len(x) + 2 * AROUND) // network.stride) + 1
    group = GROUP // network.stride
    count = -(-count // group) * group
    # A stride more, for pools that split lack some rows.
    wide = np.zeros((HEIGHT + network.stride * (count + 1), x.shape[1]), np.float32)
    above = HEIGHT // 2 + AROUND
    wide[above : above + len(x)] = x
    return wide


def sequence(told: np.ndarray, height: int, step: int) -> Sequence:
    """The windows [phases, T] of a framed picture of so many rows, in reaches."""
    row = MM * (step * np.arange(told.size) - AROUND).astype(float)
    kept = row <= MM * height + REACH
    return Sequence(row[kept], REACH * told.T.ravel()[kept].astype(float))


def correlate(sequence: Sequence, reach: float = REACH) -> np.ndarray:
    """The correlation [N] of a sequence with the ramp, 1 for a perfect one.

    A dot product over the ramp's length, over a^2 / 3, which is that of a perfect ramp
    with itself. Beyond its ends the sequence goes on as it ends.
    """
    spacing = sequence.row[1] - sequence.row[0]
    half = int(reach / spacing)
    ramp = -spacing * np.arange(-half, half + 1)
    padded = np.pad(sequence.away, half, mode="edge")
    return signal.correlate(padded, ramp, "valid") / (ramp @ ramp)


def spot(sequence: Sequence, height: float) -> Spot:
    """L3 of a scan of so many mm."""
    correlation = correlate(sequence)
    inside = (sequence.row >= 0) & (sequence.row <= height)
    best = int(np.where(inside, correlation, -np.inf).argmax())
    row = float(np.clip(_vote(sequence, sequence.row[best]), 0, height))
    return Spot(row, evidence(sequence, correlation, best, row), correlation)


def _vote(sequence: Sequence, row: float) -> float:
    """The mean of where the windows near say that L3 is, of the middle half of them.

    The correlation's peak is flat, for a ramp that is moved a little is still a ramp:
    noise of 3 mm moves it by more. It tells which windows are near, and they vote; but
    for nothing that lies beyond all windows, near which there is none.
    """
    for _ in range(2):
        near = np.abs(sequence.row - row) <= REACH / 2
        told = stats.trim_mean((sequence.row + sequence.away)[near], 0.25)
        row = float(np.clip(told, sequence.row[0], sequence.row[-1]))
    return row


def evidence(
    sequence: Sequence, correlation: np.ndarray, best: int, row: float
) -> np.ndarray:
    """What tells whether L3 is there: five numbers, about 0 to 1 each.

    The peak's height; the next one's, two reaches away or more; how far the sequence is
    from the ideal one, flat, ramp, flat; the spread of the votes of the windows near;
    and how near an end of the sequence it is.
    """
    far = np.abs(sequence.row - row) > 2 * REACH
    second = correlation[far].max() if far.any() else 0.0
    ideal = np.clip(row - sequence.row, -REACH, REACH)
    wrong = np.abs(sequence.away - ideal).mean() / REACH
    near = np.abs(sequence.row - row) <= REACH / 2
    spread = (sequence.row + sequence.away)[near].std() / REACH
    end = min(row - sequence.row[0], sequence.row[-1] - row) / (2 * REACH)
    return np.array([correlation[best], second, wrong, spread, min(end, 1.0)])
