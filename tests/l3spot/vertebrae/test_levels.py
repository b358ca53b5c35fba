import numpy as np
import pytest
from scipy.special import expit

from l3spot.vertebrae import levels
from l3spot.vertebrae.bodies import Body, Chain
from l3spot.vertebrae.levels import Signs
from tests.l3spot.vertebrae.test_bodies import spine


def chain(count, s1=True, s1_probability=0.9):
    made = spine(count, s1)
    if s1:
        made[-1] = made[-1]._replace(probability=s1_probability)
    return Chain(made, 10.0)


def names(numbering):
    return [level.name for level in numbering.levels]


def test_levels_are_counted_from_the_sacrum():
    c = chain(7)
    n = levels.number(c, c.bodies[4].z_mm + 8, 0.9)
    assert names(n) == ["T11", "T12", "L1", "L2", "L3", "L4", "L5", "S1"]
    assert n.basis == levels.SACRUM
    assert n.l3.z_mm == pytest.approx(c.bodies[4].z_mm)
    assert n.l3_z_mm == n.l3.z_mm
    assert n.probability > 0.85


def test_a_sure_sacrum_decides_between_two_bodies():
    c = chain(7)
    middle = (c.bodies[4].z_mm + c.bodies[5].z_mm) / 2
    n = levels.number(c, middle, 0.9)
    assert n.l3.z_mm == pytest.approx(c.bodies[4].z_mm)


def test_an_l5_that_is_taken_for_s1_is_recognised_beside_no_sacrum():
    """Seven bodies to L5: the last is taken for S1, and L3 is the second above it."""
    c = chain(6)
    between = (c.bodies[3].z_mm + c.bodies[4].z_mm) / 2
    for in_sacrum, l3 in ((0.9, 3), (0.1, 4)):
        n = levels.number(c, between, 0.9, Signs(sacrum=in_sacrum))
        assert n.l3_z_mm == c.bodies[l3].z_mm
        assert n.basis == levels.SACRUM


def test_a_faint_sacrum_does_not():
    c = chain(7, s1_probability=0.2)
    n = levels.number(c, c.bodies[5].z_mm, 0.95)
    assert n.l3.z_mm == pytest.approx(c.bodies[5].z_mm)


def test_without_a_sacrum_the_nearest_body_is_l3():
    c = chain(5, s1=False)
    n = levels.number(c, c.bodies[2].z_mm + 3, 0.9)
    assert names(n) == ["L1", "L2", "L3", "L4", "L5"]
    assert n.basis == levels.PICTURE


def test_midway_between_two_bodies_both_are_candidates():
    c = chain(5, s1=False)
    middle = (c.bodies[1].z_mm + c.bodies[2].z_mm) / 2
    n = levels.number(c, middle, 0.9)
    assert n.basis == levels.PICTURE
    assert n.probability < 0.5
    both = sorted([n.l3_z_mm, n.other_z_mm])
    wanted = sorted(b.z_mm for b in c.bodies[1:3])
    np.testing.assert_allclose(both, wanted)


def test_a_sixth_lumbar_vertebra_needs_evidence_from_the_picture():
    c = chain(8)
    n = levels.number(c, c.bodies[4].z_mm, 0.95)
    assert n.probability < 0.95
    assert {n.l3_z_mm, n.other_z_mm} == {c.bodies[4].z_mm, c.bodies[5].z_mm}


def test_l3_can_be_beyond_the_chain():
    c = chain(3, s1=False)
    pitch = c.bodies[0].z_mm - c.bodies[1].z_mm
    n = levels.number(c, c.bodies[2].z_mm - pitch, 0.95)
    assert n.l3 is None
    assert names(n) == ["T12", "L1", "L2"]
    assert n.l3_z_mm == pytest.approx(c.bodies[2].z_mm - pitch)


def ribs(count, last, sure=0.95):
    """Signs of ribs on bodies -1 to `last`; -1 is above the chain."""
    return Signs([sure if i <= last else 1 - sure for i in range(-1, count)])


def test_ribs_decide_where_the_sacrum_is_out_of_view():
    c = chain(6, s1=False)
    between = (c.bodies[3].z_mm + c.bodies[4].z_mm) / 2
    n = levels.number(c, between, 0.9, ribs(6, last=0))
    assert n.l3.z_mm == pytest.approx(c.bodies[3].z_mm)
    assert n.basis == levels.RIBS


def test_ribs_on_the_vertebra_above_the_chain_decide_too():
    """L1 to L3 in view, as in a small field: T12 is cut, but its ribs are seen."""
    c = chain(3, s1=False)
    between = (c.bodies[1].z_mm + c.bodies[2].z_mm) / 2 + 1
    assert levels.number(c, between, 0.9).l3_z_mm == c.bodies[1].z_mm
    n = levels.number(c, between, 0.9, ribs(3, last=-1))
    assert n.l3_z_mm == c.bodies[2].z_mm
    assert n.basis == levels.RIBS


def test_ribs_and_sacrum_that_agree():
    c = chain(7)
    n = levels.number(c, c.bodies[4].z_mm + 9, 0.9, ribs(7, last=1))
    assert names(n)[:2] == ["T11", "T12"]
    assert n.basis == levels.BOTH


@pytest.mark.parametrize("last", [0, 2])
def test_ribs_and_sacrum_that_disagree_are_ambiguous(last):
    """Eleven or thirteen pairs of ribs, or four or six lumbar vertebrae."""
    c = chain(7)
    n = levels.number(c, c.bodies[4].z_mm, 0.9, ribs(7, last))
    assert n.basis == levels.AMBIGUOUS
    candidates = {c.bodies[4].z_mm, c.bodies[3 + last].z_mm}
    assert n.l3_z_mm in candidates


def test_a_slight_preference_for_another_level_is_no_disagreement():
    c, signs = chain(7), ribs(7, last=1)
    signs.ribs[3] = 0.6  # Body 2, the first without ribs.
    assert levels.number(c, c.bodies[4].z_mm, 0.9, signs).basis == levels.BOTH


@pytest.mark.parametrize(
    ("probabilities", "end"),
    [
        ([0.9, 0.9, 0.1, 0.1], True),
        ([0.99, 0.9, 0.55, 0.2, 0.7, 0.01], True),
        ([0.1, 0.1, 0.9, 0.9], False),  # In the neck they begin.
        ([0.9, 0.9, 0.9], False),
        ([0.1, 0.1], False),
        ([], False),
    ],
)
def test_ribs_end_above_lumbar_vertebrae(probabilities, end):
    assert levels.ribs_end(Signs(probabilities)) == end


def test_one_wrong_rib_decides_little():
    c = chain(6, s1=False)
    p = ribs(6, last=0)
    p.ribs[2] = 0.6
    n = levels.number(c, c.bodies[3].z_mm + 2, 0.9, p)
    assert n.l3.z_mm == pytest.approx(c.bodies[3].z_mm)


def test_ribs_count_relative_to_the_others_of_the_scan(monkeypatch):
    """In a child, all logits were too high, and those of lumbar vertebrae about 0."""
    c = chain(6, s1=False)
    signs = Signs(list(expit([9.0, 9.0, 1.5, 1.0, 2.5, 0.5, -1.0])))

    def l3_mm():
        return levels.number(c, c.bodies[3].z_mm - 5, 0.9, signs).l3_z_mm

    assert l3_mm() == pytest.approx(c.bodies[3].z_mm)
    monkeypatch.setattr(levels, "RIB_SHIFTS", 0 * levels.RIB_SHIFTS)
    assert l3_mm() != pytest.approx(c.bodies[3].z_mm)


@pytest.mark.parametrize("scale", [0.4, 1.3])
def test_the_numbering_scales_with_the_body(scale):
    c, p = chain(7), ribs(7, last=1)
    scaled = [
        b._replace(upper=b.upper * scale, lower=b.lower * scale) for b in c.bodies
    ]
    n = levels.number(Chain(scaled, 1.0), scaled[4].z_mm + 9 * scale, 0.9, p)
    usual = levels.number(c, c.bodies[4].z_mm + 9, 0.9, p)
    assert n.basis == usual.basis == levels.BOTH
    assert n.probability == pytest.approx(usual.probability)
    assert n.pitch_mm == pytest.approx(34.0 * scale)


def test_thoracic_bodies_do_not_count_for_the_distance_of_lumbar_ones():
    lumbar = spine(6, s1=False)
    first = lumbar[0].middle
    thoracic = [
        Body(first + np.array([0, d + 10]), first + np.array([0, d - 10]), 0.9)
        for d in (90, 67, 44, 22)
    ]
    assert levels.pitch_mm(Chain([*thoracic, *lumbar], 1.0), lumbar[3].z_mm) == (
        pytest.approx(34.0)
    )


def test_a_picture_without_l3_decides_nothing():
    c = chain(5, s1=False)
    n = levels.number(c, c.bodies[2].z_mm, 0.0)
    assert n.probability == pytest.approx(1 / 9)
