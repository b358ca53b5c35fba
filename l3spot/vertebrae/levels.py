"""Names the bodies of a chain, from all that says which of them is L3.

Each hypothesis makes one body of the chain, or a place beyond its ends, L3. Its
probability comes from the coarse position in the frontal projection, from what lies
around the bodies there, from the number of bodies above S1, and from the last vertebra
with ribs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit

from l3spot.vertebrae import surroundings
from l3spot.vertebrae.bodies import Body, Chain

NAMES = (
    *("T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8", "T9", "T10", "T11", "T12"),
    *("L1", "L2", "L3", "L4", "L5", "L6"),
)
L3 = NAMES.index("L3")
PITCH_PAIRS = 4  # The number of distances that are averaged.
BEYOND = 2  # L3 can be so many bodies beyond an end of the chain.
# The values below were chosen on variants of public scans (docs/results/l3spot.md).
# The coarse position is off by this share of the distance between bodies, on average.
COARSE_ERROR = 0.4
# How often a spine has so many lumbar vertebrae, the usual number first.
LUMBAR_COUNTS = {5: 0.92, 6: 0.05, 4: 0.03}
# How often the last ribs are so many bodies above L3: on T12, T11 and L1.
LAST_RIBS = {3: 0.92, 4: 0.04, 2: 0.04}
# The ribs' logits of a scan are off by one of these values, with these probabilities.
RIB_SHIFTS = np.linspace(-3.0, 3.0, 9)
SHIFT_SHARES = np.exp(-((RIB_SHIFTS / 1.5) ** 2) / 2)
SHIFT_SHARES /= SHIFT_SHARES.sum()
MIN_RIB, MAX_RIB = 0.05, 0.95  # Probabilities are not believed beyond these.
MIN_SACRUM, MAX_SACRUM = 0.2, 0.8  # A deep L5 looks like a part of the sacrum.
MIN_NAME = 0.01  # The probability of a vertebra below S1.
# The surroundings of a chain count as those of so many independent vertebrae.
SURROUNDINGS_COUNT = 3.0
MIN_SURROUNDINGS = 0.3  # They are not believed beyond this.
# The power of the coarse position's evidence beside that of the surroundings: both come
# from the frontal projection, so they are wrong in the same scans.
COARSE_SHARE = 0.7
MIN_USUAL = 0.5  # Ribs and sacrum agree if usual anatomy is so probable.
BOTH, RIBS, SACRUM, PICTURE, AMBIGUOUS = (
    "both",
    "ribs",
    "sacrum",
    "picture",
    "ambiguous",
)
INFORMATIVE = 5.0  # Evidence counts as used if it changes the odds by this factor.


class Level(NamedTuple):
    """A vertebra of a scan.

    name: such as L3 or S1.
    y_mm, z_mm: of the middle of its body, LPS.
    upper_mm, lower_mm: z of the middles of its end plates.
    probability: of the body, from the network.
    """

    name: str
    y_mm: float
    z_mm: float
    upper_mm: float
    lower_mm: float
    probability: float


class Signs(NamedTuple):
    """What the frontal projection shows beside the bodies of a chain.

    ribs: the probability of ribs; first of the vertebra above the chain, which can be
      out of view, then of each body above S1; () if it is not known.
    sacrum: the probability that the body taken for S1 is a part of the sacrum; often it
      is L5.
    names: log-probabilities [N, len(surroundings.NAMES)] of all bodies' names; None if
      they are not known.
    """

    ribs: Sequence[float] = ()
    sacrum: float = 0.5
    names: np.ndarray | None = None


UNKNOWN = Signs()


class Numbering(NamedTuple):
    """The named bodies of a chain.

    levels: from the head to the feet.
    probability: that the names are right.
    basis: what they rest on besides the picture: BOTH, RIBS, SACRUM, nothing (PICTURE);
      or AMBIGUOUS, if ribs and sacrum do not agree.
    l3_z_mm: of L3's middle; it is extrapolated if L3 is not in the chain.
    other_z_mm: of the next most probable L3.
    usual: the probability that twelve pairs of ribs and five lumbar vertebrae explain
      what is seen.
    pitch_mm: the distance between vertebrae near L3.
    in_chain: the probability that one of the bodies is L3.
    support: how many times as probable the ribs and the sacrum make this numbering as
      the next one.
    sacrum, ribs: how much the sacrum and the last ribs prefer this numbering, 0 to 1.
    """

    levels: list[Level]
    probability: float
    basis: str
    l3_z_mm: float
    other_z_mm: float
    usual: float
    pitch_mm: float
    in_chain: float
    support: float
    sacrum: float
    ribs: float

    @property
    def l3(self) -> Level | None:
        """L3; None if it is not in the chain."""
        return next((level for level in self.levels if level.name == "L3"), None)


def number(
    chain: Chain,
    coarse_z_mm: float,
    coarse_probability: float,
    signs: Signs = UNKNOWN,
) -> Numbering:
    """Names the bodies of a chain with at least two of them above S1.

    Args:
      chain: the bodies.
      coarse_z_mm: of L3, from the frontal projection.
      coarse_probability: that L3 is there.
      signs: of ribs and the sacrum.
    """
    bodies = [body for body in chain.bodies if not body.is_s1]
    s1 = next((body for body in chain.bodies if body.is_s1), None)
    index = np.arange(-BEYOND, len(bodies) + BEYOND)
    z = positions(bodies, index)
    pitch = pitch_mm(chain, coarse_z_mm)
    picture = picture_evidence(z, pitch, coarse_z_mm, coarse_probability)
    if signs.names is not None:
        around = surroundings_evidence(index, signs.names)
        picture = picture**COARSE_SHARE * around
    sacrum = sacrum_evidence(index, len(bodies), s1, signs.sacrum)
    ribs = rib_evidence(index, np.array(signs.ribs))
    signs_alone = sacrum.sum(0) * ribs.sum(0)
    evidence = picture * signs_alone
    probability = evidence / evidence.sum()
    order = np.argsort(-probability)
    best = int(order[0])
    levels = [
        _level(NAMES[name], body)
        for i, body in enumerate(bodies)
        if 0 <= (name := L3 + i - index[best]) < len(NAMES)
    ]
    if s1 is not None:
        levels.append(_level("S1", s1))
    # The usual numbers of lumbar vertebrae and of ribs are in the first rows.
    usual = float((picture * sacrum[0] * ribs[0]).sum() / evidence.sum())
    basis = _basis(sacrum.sum(0), ribs.sum(0), best)
    if usual < MIN_USUAL:
        basis = AMBIGUOUS
    return Numbering(
        levels,
        float(probability[best]),
        basis,
        float(z[best]),
        float(z[order[1]]),
        usual,
        pitch,
        float(probability[BEYOND:-BEYOND].sum()),
        float(signs_alone[best] / signs_alone[order[1]]),
        *(float(e[best] / e.sum()) for e in (sacrum.sum(0), ribs.sum(0))),
    )


def _basis(sacrum: np.ndarray, ribs: np.ndarray, best: int) -> str:
    """Returns which evidence [H] is used, and whether both kinds allow the best one."""
    by_sacrum, by_ribs = (e.max() > INFORMATIVE * np.median(e) for e in (sacrum, ribs))
    if by_sacrum and by_ribs:
        allowed = (INFORMATIVE * e[best] >= e.max() for e in (sacrum, ribs))
        return BOTH if all(allowed) else AMBIGUOUS
    return SACRUM if by_sacrum else RIBS if by_ribs else PICTURE


def ribs_end(signs: Signs) -> bool:
    """Returns whether ribs end within a chain, as they do above lumbar vertebrae."""
    p = np.clip(signs.ribs, MIN_RIB, MAX_RIB)
    counts = range(len(p) + 1)
    likelihood = np.array([np.append(p[:n], 1 - p[n:]).prod() for n in counts])
    all_or_none = max(likelihood[0], likelihood[-1])
    return bool(likelihood.max() > INFORMATIVE * all_or_none)


def pitch_mm(chain: Chain, z_mm: float) -> float:
    """Returns the mean distance between the bodies nearest to a height.

    Thoracic bodies, which are nearer to each other, count only where no others are.
    """
    bodies = [body for body in chain.bodies if not body.is_s1]
    middles = np.array([body.middle for body in bodies])
    distance = np.hypot(*np.diff(middles, axis=0).T)
    away = np.abs((middles[1:, 1] + middles[:-1, 1]) / 2 - z_mm)
    return float(distance[np.argsort(away)[:PITCH_PAIRS]].mean())


def positions(bodies: list[Body], index: np.ndarray) -> np.ndarray:
    """Returns z of the bodies with these indices, extrapolated beyond the ends."""
    z = np.array([body.z_mm for body in bodies])
    count = min(3, len(z) - 1)
    first, last = (z[count] - z[0]) / count, (z[-1] - z[-1 - count]) / count
    inside = z[np.clip(index, 0, len(z) - 1)]
    below = np.clip(index - (len(z) - 1), 0, None)
    return inside + np.clip(index, None, 0) * first + below * last


def picture_evidence(
    z: np.ndarray, pitch_mm: float, coarse_z_mm: float, probability: float
) -> np.ndarray:
    """Returns the likelihood of each z [H] of L3 from the coarse position."""
    distance = np.abs(z - coarse_z_mm) / (COARSE_ERROR * pitch_mm)
    near = np.exp(-distance) / (2 * COARSE_ERROR)
    return probability * near + (1 - probability) / len(z)


def surroundings_evidence(index: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Returns the likelihood [H] that body `index` is L3, from what lies around all.

    The surroundings of neighbours overlap, so their mean counts, some times.
    """
    l3 = surroundings.NAMES.index("L3")
    name = l3 + np.arange(len(names)) - index[:, None]
    # The network knows nothing above T9, where it answers T9, and nothing below S1.
    known = np.clip(name, 0, names.shape[1] - 1)
    each = np.where(
        name < names.shape[1], names[np.arange(len(names)), known], np.log(MIN_NAME)
    )
    mean = each.mean(1)
    return np.exp(SURROUNDINGS_COUNT * (mean - mean.max())) + MIN_SURROUNDINGS


def sacrum_evidence(
    index: np.ndarray, count: int, s1: Body | None, in_sacrum: float
) -> np.ndarray:
    """Returns the likelihood [3, H] that body `index` of `count` is L3, from S1.

    A row is for one number of lumbar vertebrae; with five, L3 is the third above S1.
    The body taken for S1 is L5 if it is no part of the sacrum.
    """
    shares = np.array(list(LUMBAR_COUNTS.values()))[:, None]
    unknown = shares * np.full(len(index), 1 / len(index))
    if s1 is None:
        return unknown
    right = np.clip(in_sacrum, MIN_SACRUM, MAX_SACRUM)
    above_s1, expected = count - index + 2, np.array(list(LUMBAR_COUNTS))[:, None]
    is_s1, is_l5 = above_s1 == expected, above_s1 + 1 == expected
    known = shares * (right * is_s1 + (1 - right) * is_l5)
    return s1.probability * known + (1 - s1.probability) * unknown


def rib_evidence(index: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Returns the likelihood [3, H] that body `index` is L3, from the last ribs.

    A row is for the body that bears them; usually it is the third above L3. The first
    probability is of the vertebra above body 0. In some scans, such as a child's, all
    logits are too high or too low, so the likelihood is the mean over `RIB_SHIFTS`.
    """
    shifted = expit(logit(np.clip(probability, 1e-6, 1 - 1e-6)) - RIB_SHIFTS[:, None])
    p = np.clip(shifted, MIN_RIB, MAX_RIB)[:, None]
    rows = []
    for above, share in LAST_RIBS.items():
        has_ribs = np.arange(p.shape[-1]) - 1 <= index[:, None] - above
        rows.append(share * SHIFT_SHARES @ np.where(has_ribs, p, 1 - p).prod(-1))
    return np.stack(rows)


def _level(name: str, body: Body) -> Level:
    y_mm, upper_mm, lower_mm = map(
        float, (body.middle[0], body.upper[1], body.lower[1])
    )
    return Level(name, y_mm, body.z_mm, upper_mm, lower_mm, body.probability)
