"""The choice of the slab, and the confidence where the frontal projection is alone."""

import numpy as np
import pytest

from l3spot.vertebrae import levels, locate, slab
from l3spot.vertebrae.confidence import UNCALIBRATED
from tests.l3spot.stub_model import stub_model
from tests.l3spot.vertebrae.stub import (
    PITCH_MM,
    TOP_MM,
    StubVertebrae,
    chain,
    constant,
    projection,
)

L3_MM = TOP_MM + 0.5 - 120.0
FIVE = L3_MM + PITCH_MM * np.array([2, 1, 0, -1, -2])
SURE = UNCALIBRATED._replace(level=constant(UNCALIBRATED.level, 0.99))


class OneForEach(StubVertebrae):
    """Finds other bodies in each slab."""

    def find(self, picture, z_mm):
        return self.chain[picture]


@pytest.mark.parametrize(("counts", "best"), [((3, 5), 1), ((5, 3), 0), ((4, 4), 0)])
def test_the_slab_with_most_bodies_is_used_and_the_first_of_equal_ones(
    monkeypatch, counts, best
):
    """Hips can draw the first one off the spine."""
    chains = [chain(FIVE[:count]) for count in counts]
    monkeypatch.setattr(slab, "make_all", lambda band: [0, 1])
    picture, found = locate._look(OneForEach(chains, []), None, L3_MM)
    assert (picture, found) == (best, chains[best])


SEVEN = L3_MM + PITCH_MM * np.array([4, 3, 2, 1, 0, -1, -2])
RIBS = [1.0] * 3 + [0.0] * 5  # T11 and T12 have ribs.


@pytest.mark.parametrize(
    ("s1", "ribs", "basis"),
    [
        (False, [], levels.PICTURE),
        (False, RIBS, levels.RIBS),
        (True, [], levels.SACRUM),
        (True, RIBS, levels.BOTH),
    ],
)
def test_a_level_is_trusted_beyond_its_numbering_only_if_ribs_and_sacrum_agree(
    s1, ribs, basis
):
    z_mm = np.append(SEVEN, SEVEN[-1] - PITCH_MM) if s1 else SEVEN
    networks = StubVertebrae(chain(z_mm, s1), ribs, SURE)
    spine = locate.locate(stub_model([120.0], 0.95), networks, projection()).spine
    assert spine.numbering.basis == basis
    assert spine.numbering.l3_z_mm == pytest.approx(L3_MM)
    limits = {levels.BOTH: 0.99, levels.RIBS: spine.numbering.probability}
    assert spine.numbering.probability > 0.75
    assert spine.confidence == pytest.approx(limits.get(basis, 0.75))


def test_ribs_that_hardly_decide_between_two_levels_leave_it_unsure():
    """The frontal position then decides, which often is that of a neighbour."""
    ribs = [1.0] * 3 + [0.5] + [0.0] * 4  # On L1, perhaps.
    networks = StubVertebrae(chain(SEVEN), ribs, SURE)
    spine = locate.locate(stub_model([120.0], 0.95), networks, projection()).spine
    assert spine.numbering.support < locate.MIN_SUPPORT
    assert spine.confidence <= 0.75


@pytest.mark.parametrize(("gap", "expected"), [(1.45, 0.99), (1.55, 0.5)])
def test_a_chain_with_a_gap_is_not_trusted(gap, expected):
    z_mm = np.append(SEVEN, SEVEN[-1] - PITCH_MM)
    z_mm[:2] += (gap - 1) * PITCH_MM
    networks = StubVertebrae(chain(z_mm, s1=True), RIBS, SURE)
    spine = locate.locate(stub_model([120.0], 0.9), networks, projection()).spine
    assert spine.numbering.basis == levels.BOTH
    assert spine.confidence == pytest.approx(expected)


@pytest.mark.parametrize(
    ("columns", "is_cut"), [(slice(None), False), (slice(40, None), True)]
)
def test_a_spine_at_the_side_of_the_pictures_is_not_trusted(columns, is_cut):
    """The spine is at x = 44 mm; the other pictures begin at 40 mm."""
    p = projection()
    band = p.spine
    kept = band.x >= p.x[columns][0]
    band = band._replace(hu=band.hu[..., kept], x=band.x[kept])
    p = p._replace(frontal=p.frontal[:, columns], x=p.x[columns], spine=band)
    networks = StubVertebrae(chain(FIVE), [1.0] + [0.0] * 5, SURE)
    spine = locate.locate(stub_model([120.0], 0.9), networks, p).spine
    assert spine.is_cut == is_cut
    assert spine.numbering.probability > 0.8
    expected = 0.5 if is_cut else spine.numbering.probability
    assert spine.confidence == pytest.approx(expected)
