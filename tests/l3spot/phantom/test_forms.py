"""The form of phantoms: proportions, density, ribs and hips."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l3spot.phantom import pelvis, series, spine, thorax
from l3spot.phantom.draw import ADDED, Draw, PhantomRanges
from l3spot.phantom.shapes import ABSENT_HU
from tests.l3spot.phantom.test_phantom import SHORT


def proportioned(**changes):
    drawn, _ = series._draw(jax.random.key(2), dataclasses.replace(SHORT, **changes))
    return drawn


def moved(changed, usual):
    """How far up the ends of the fine capsules move that do not stay, in mm."""
    up = np.asarray(changed.fine.end - usual.fine.end)[:, 2]
    return up[np.abs(up) > 0.5]


def test_vertebrae_get_taller_and_not_wider():
    usual, tall = proportioned(), proportioned(vertebra_height=(1.1, 1.1))
    levels = slice(spine.T12, spine.L5 + 1)
    half, taller = (np.asarray(p.blocks.half)[levels] for p in (usual, tall))
    np.testing.assert_allclose(taller, half * [1, 1, 1.1], rtol=1e-5)
    z, further = (np.asarray(p.blocks.centre)[levels, 2] for p in (usual, tall))
    np.testing.assert_allclose(further, 1.1 * z, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ({"rib_drop": (1.2, 1.2)}, {"rib_drop": (0.4, 0.4)}),
        ({"rib_start": (0.7, 0.7)}, {"rib_start": (-0.3, -0.3)}),
        ({"crest_mm": (-30.0, -30.0)}, {"crest_mm": (30.0, 30.0)}),
    ],
)
def test_ribs_and_crests_move_while_the_spine_stays(lower, higher):
    low, high = proportioned(**lower), proportioned(**higher)
    up = moved(high, low)
    assert len(up) > 20
    assert (up > 0).mean() > 0.95  # Cartilage follows the ribs' ends, and bends.
    np.testing.assert_array_equal(low.blocks.centre, high.blocks.centre)
    np.testing.assert_array_equal(low.sacrum.centre, high.sacrum.centre)


def test_lumbar_transverse_processes_get_longer_thinner_and_fainter():
    def arches(**changes):
        rows = 15 * spine.LEVELS  # They come first.
        return jax.tree.map(
            lambda a: np.asarray(a)[:rows], proportioned(**changes).fine
        )

    usual = arches()
    ends = arches(transverse_length=(1.4, 1.4)).end
    longer = np.abs(ends[:, 0]) - np.abs(usual.end[:, 0])
    changed = np.abs(longer) > 0.5
    assert (longer[changed] > 5).all()
    assert changed.sum() == 2 * 2 * 6  # The line and its tip, both sides, L1 to L6.
    thin = arches(transverse_radius=(0.5, 0.5)).radius
    ratio = thin / usual.radius
    np.testing.assert_allclose(ratio[changed], 0.5, rtol=1e-5)
    np.testing.assert_allclose(ratio[~changed], 1.0, rtol=1e-5)
    faint = arches(transverse_density=(0.5, 0.5)).matter.rim_hu
    present = changed & (usual.matter.rim_hu > ABSENT_HU)
    np.testing.assert_allclose(
        faint[present], 0.5 * usual.matter.rim_hu[present], rtol=1e-5
    )


def test_hips_and_ribs_get_denser_and_the_spine_does_not():
    plain, dense = (
        proportioned(),
        proportioned(pelvis_density=(2.0, 2.0), rib_density=(1.5, 1.5)),
    )
    np.testing.assert_array_equal(
        dense.blocks.matter.rim_hu, plain.blocks.matter.rim_hu
    )
    before, after = (np.asarray(b.fine.matter.rim_hu) for b in (plain, dense))
    seen = (before > 0) & (before < 2900)  # Present, and no metal.
    factors = np.round(after[seen] / before[seen], 3)
    assert set(np.unique(factors)) == {1.0, 1.5, 2.0}
    np.testing.assert_array_equal(after[~seen], before[~seen])
    front = [np.asarray(b.sacrum_front.matter.rim_hu) for b in (plain, dense)]
    np.testing.assert_allclose(front[1], 2 * front[0], rtol=1e-6)


def test_the_sacrum_fades_and_narrows_towards_the_coccyx():
    plain, faded = (
        proportioned(sacrum_fading=(much, much)).sacrum_front for much in (0.0, 1.0)
    )
    hu = np.asarray(faded.matter.rim_hu) / np.asarray(plain.matter.rim_hu)
    np.testing.assert_allclose(hu, [1, 0.9, 0.7, 0.6, 0.5], rtol=1e-5)
    plain, faded = (np.asarray(c.end - c.start)[:, 0] for c in (plain, faded))
    np.testing.assert_allclose(faded / plain, [1, 1, 0.9, 0.7, 0.5], rtol=1e-4)


def test_an_iliac_wing_is_thin_inside_its_edges():
    firm = np.asarray(pelvis.firmness(jnp.float32(0.4)))
    assert firm.shape == (pelvis.WING_RAYS, 4)
    np.testing.assert_allclose(firm[[0, -1]], 1)  # At the sacrum and in front.
    np.testing.assert_allclose(firm[:, -1], 1)  # At the hip.
    np.testing.assert_allclose(firm[10, 0], 0.4, rtol=1e-6)
    np.testing.assert_array_equal(pelvis.firmness(jnp.ones(())), 1)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_steep_ribs_descend_from_the_spine_on_as_in_people(share):
    """In three people, ribs 10 to 12 are 28, 28, 48 mm lower 80 mm from the spine."""
    ranges = PhantomRanges(size=(1.0, 1.0), steep_ribs=share)
    down = []
    for seed in range(40):
        keys = jax.random.split(jax.random.key(seed), 3)
        draws = [Draw(k, ranges) for k in keys]
        column = spine.make_spine(*draws[:2])
        levels = np.r_[spine.T1 : spine.T12 + 1, spine.L1]
        one = jnp.ones(())
        lines = thorax.lines_of_ribs(*draws[::2], column, levels, one, one, 0.2 * one)
        ribs = np.asarray(lines - column.centre[levels][:, None])[0, 9:12]
        down.append([-np.interp(80, rib[:, 0], rib[:, 2]) for rib in ribs])
    low, high = np.percentile(down, (5, 95), axis=0)
    lower = high > [28, 28, 48]
    assert (low < [28, 28, 48]).all()
    assert lower.all() if share else not lower.all()


def test_folders_that_older_versions_drew_are_still_valid():
    text = PhantomRanges().to_text()
    assert not {name for name in ADDED if f"{name}=" in text}
    assert "rib_density=(0.8, 1.0)" in PhantomRanges(rib_density=(0.8, 1.0)).to_text()
