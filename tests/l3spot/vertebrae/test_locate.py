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


@pytest.mark.parametrize(
    ("ribs", "basis"), [([], levels.PICTURE), ([1.0] + [0.0] * 5, levels.RIBS)]
)
def test_the_frontal_projection_alone_is_not_trusted_beyond_the_numbering(ribs, basis):
    networks = StubVertebrae(chain(FIVE), ribs, SURE)
    spine = locate.locate(stub_model([120.0], 0.9), networks, projection()).spine
    assert spine.numbering.basis == basis
    alone = basis == levels.PICTURE
    assert spine.numbering.probability < 0.99
    expected = spine.numbering.probability if alone else 0.99
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
    assert spine.confidence == pytest.approx(0.5 if is_cut else 0.99)
