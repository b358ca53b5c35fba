"""From the network's maps to a chain of vertebral bodies."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.special import expit

from l3spot.vertebrae import network
from l3spot.vertebrae.network import STRIDE
from l3spot.vertebrae.slab import Tile

MIN_PEAK = 0.15  # Lower peaks of a map are ignored.
# Of a chain, from body to body: a score falls by 1 at about these deviations.
ANGLE_DEG, HEIGHT_LOG = 20.0, 0.35
DISTANCE, DISTANCE_SD = 1.3, 0.35  # Between middles, in heights of a body.
MAX_ANGLE_DEG = 40.0
MIN_DISTANCE, MAX_DISTANCE = 0.8, 1.9  # In heights of a body.
VOTE_REACH = 0.4  # Of votes, in heights of a body.
# Edges of bodies are searched between these shares of half the voted height, and
# averaged over this half width, in heights.
MIN_EDGE, MAX_EDGE, EDGE_WIDTH, EDGE_STEP_MM = 0.4, 1.8, 0.35, 0.5
PRESENCE = 1.5  # The score of a body with probability one half.
END_MM = 3.0  # An end plate so near to an end of the scan is where the scan cuts.


class Body(NamedTuple):
    """A vertebral body in a sagittal picture.

    upper, lower: float64 [2] mm (y, z), the middles of its end plates.
    probability: of the peak in the network's map.
    is_s1: whether it is the first sacral vertebra.
    """

    upper: np.ndarray
    lower: np.ndarray
    probability: float
    is_s1: bool = False

    @property
    def middle(self) -> np.ndarray:
        """The middle [2] between the end plates, mm."""
        return (self.upper + self.lower) / 2

    @property
    def z_mm(self) -> float:
        """The z of the middle."""
        return float(self.middle[1])

    @property
    def height_mm(self) -> float:
        """The distance between the end plates."""
        return float(np.hypot(*(self.upper - self.lower)))

    @property
    def axis(self) -> np.ndarray:
        """The unit vector [2] from the lower to the upper end plate."""
        return (self.upper - self.lower) / self.height_mm


class Chain(NamedTuple):
    """Bodies that follow each other, from the head to the feet, and their score."""

    bodies: list[Body]
    score: float


def find(tiles: Sequence[Tile], maps: np.ndarray) -> Chain:
    """Finds the best chain of bodies in tiles of one pixel size.

    Args:
      tiles: they may overlap.
      maps: [len(tiles), ROWS / 2, COLUMNS / 2, MAPS], see `network`.
    """
    peaks = [
        body
        for tile, m in zip(tiles, maps, strict=True)
        for is_s1 in (False, True)
        for body in peaks_of(tile, m, is_s1)
    ]
    return best_chain(without_doubles(peaks))


def peaks_of(tile: Tile, maps: np.ndarray, is_s1: bool) -> list[Body]:
    """Returns a body for each peak of one map; the nearby pixels vote on its plates."""
    peak_map = expit(maps[..., network.SACRUM if is_s1 else network.CENTRE])
    highest = peak_map == ndimage.maximum_filter(peak_map, 3)
    spacing = STRIDE * tile.pixel_mm
    first = (STRIDE - 1) / 2 * tile.pixel_mm
    y = tile.y_mm + first + spacing * np.arange(maps.shape[1])
    z = tile.z_mm - first - spacing * np.arange(maps.shape[0])
    at = np.stack(np.meshgrid(y, z), -1)
    votes = maps[..., network.VOTES] * network.VOTE_PX * tile.pixel_mm
    plates = np.concatenate([at, at], -1) + votes
    bodies = []
    for i, j in np.argwhere(highest & (peak_map > MIN_PEAK)):
        height = np.hypot(*(plates[i, j, :2] - plates[i, j, 2:]))
        distance = np.hypot(*np.moveaxis(at - at[i, j], -1, 0))
        weight = peak_map * (distance <= max(VOTE_REACH * height, spacing))
        mean = np.average(plates.reshape(-1, 4), 0, weight.ravel())
        body = Body(mean[:2], mean[2:], float(peak_map[i, j]), is_s1)
        if not is_s1:
            body = between_edges(body, maps[..., network.BODY], y, z)
        bodies.append(body)
    return bodies


def between_edges(body: Body, logit: np.ndarray, y: np.ndarray, z: np.ndarray) -> Body:
    """Shifts the end plates of a body to the edges of the map of bodies.

    On real scans the votes are off by some mm, while the map has sharp edges. An end
    plate without an edge near it stays.

    Args:
      body: as the votes have it.
      logit: [r, c] of the map of bodies.
      y: [c] mm, of the columns.
      z: [r] mm, of the rows, decreasing.
    """
    axis, half = body.axis, body.height_mm / 2
    along = np.arange(0, MAX_EDGE * half, EDGE_STEP_MM)
    across = EDGE_WIDTH * body.height_mm * np.linspace(-1, 1, 7)
    spacing = y[1] - y[0]
    ends = []
    for end, direction in ((body.upper, axis), (body.lower, -axis)):
        at = body.middle + along[:, None, None] * direction
        at = at + across[:, None] * np.array([axis[1], -axis[0]])
        index = (z[0] - at[..., 1]) / spacing, (at[..., 0] - y[0]) / spacing
        profile = ndimage.map_coordinates(logit, index, order=1, mode="nearest").mean(1)
        edge_mm = _first_edge(profile, along)
        near = edge_mm > MIN_EDGE * half
        ends.append(body.middle + edge_mm * direction if near else end)
    return body._replace(upper=ends[0], lower=ends[1])


def _first_edge(profile: np.ndarray, along: np.ndarray) -> float:
    """Returns where a profile that starts above 0 first falls below; NaN if nowhere."""
    below = np.flatnonzero(profile < 0)
    if not len(below) or below[0] == 0:
        return np.nan
    i = below[0]
    share = profile[i - 1] / (profile[i - 1] - profile[i])
    return float(along[i - 1] + share * (along[i] - along[i - 1]))


def without_doubles(bodies: Sequence[Body]) -> list[Body]:
    """Keeps the more probable one of two bodies at one place, separately for S1."""
    kept: list[Body] = []
    for body in sorted(bodies, key=lambda b: -b.probability):
        if not any(_same(body, other) for other in kept):
            kept.append(body)
    return kept


def _same(a: Body, b: Body) -> bool:
    distance = np.hypot(*(a.middle - b.middle))
    return a.is_s1 == b.is_s1 and distance < max(a.height_mm, b.height_mm) / 2


def best_chain(bodies: Sequence[Body]) -> Chain:
    """Returns the chain with the highest score, by dynamic programming.

    A chain's score is the sum of the log odds of its bodies, less a penalty for each
    pair that is unlike neighbours. S1 can only be its last body.
    """
    bodies = sorted(bodies, key=lambda b: -b.z_mm)
    scores: list[float] = []
    before: list[int] = []
    for j, body in enumerate(bodies):
        odds = np.log(body.probability / (1 - body.probability + 1e-3))
        joined = [scores[i] - penalty(bodies[i], body) for i in range(j)]
        best = int(np.argmax(joined)) if joined else -1
        before.append(best if joined and joined[best] > 0 else -1)
        scores.append(odds + PRESENCE + (joined[best] if before[-1] >= 0 else 0.0))
    at = int(np.argmax(scores)) if scores else -1
    chain, score = [], scores[at] if scores else 0.0
    while at >= 0:
        chain.append(bodies[at])
        at = before[at]
    return Chain(chain[::-1], score)


def complete(bodies: Sequence[Body], top_mm: float, bottom_mm: float) -> list[Body]:
    """Extends bodies of a chain that an end of the scan cuts.

    Their maps end at the last slice, so the end plate there is none. Neighbours are
    about equally high, and a cut body is taken to be as high as the one beside it.

    Args:
      bodies: from the head to the feet.
      top_mm: z of the highest slice.
      bottom_mm: z of the lowest slice.
    """
    whole = list(bodies)
    above_s1 = [body for body in whole if not body.is_s1]
    if len(above_s1) < 2:
        return whole
    first, second = above_s1[:2]
    if first.upper[1] > top_mm - END_MM:
        height = max(first.height_mm, second.height_mm)
        most = 2 * (top_mm - first.lower[1]) / first.axis[1]  # Its middle is in view.
        whole[0] = first._replace(upper=first.lower + min(height, most) * first.axis)
    before, last = above_s1[-2:]
    if last is whole[-1] and last.lower[1] < bottom_mm + END_MM:
        height = max(last.height_mm, before.height_mm)
        most = 2 * (last.upper[1] - bottom_mm) / last.axis[1]
        whole[-1] = last._replace(lower=last.upper - min(height, most) * last.axis)
    return whole


def penalty(upper: Body, lower: Body) -> float:
    """Returns how unlike neighbours two bodies are; infinite if they cannot be."""
    height = (upper.height_mm + lower.height_mm) / 2
    between = upper.middle - lower.middle
    distance = np.hypot(*between)
    axis = upper.axis + lower.axis
    cosine = between @ axis / (distance * np.hypot(*axis) + 1e-9)
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    relative = distance / height
    if (
        upper.is_s1
        or angle > MAX_ANGLE_DEG
        or not MIN_DISTANCE < relative < MAX_DISTANCE
    ):
        return np.inf
    deviations = (
        angle / ANGLE_DEG,
        (relative - DISTANCE) / DISTANCE_SD,
        np.log(upper.height_mm / lower.height_mm) / HEIGHT_LOG,
    )
    return float(np.square(deviations).sum())
