import itertools

import numpy as np
import pytest
from scipy.special import logit

from l3spot.vertebrae import bodies, network
from l3spot.vertebrae.bodies import Body
from l3spot.vertebrae.slab import COLUMNS, ROWS, Tile


def spine(count=6, s1=True, pitch=34.0, height=27.0, lean=0.1):
    """Bodies from the head down, leaning, and S1."""
    axis = np.array([np.sin(lean), np.cos(lean)])
    made = []
    for i in range(count + s1):
        middle = np.array([60.0, -30.0]) - i * pitch * axis
        up = axis * height / 2
        made.append(Body(middle + up, middle - up, 0.9, is_s1=i == count))
    return made


def maps_of(spine, pixel_mm=1.5, z0=0.0):
    """The maps that a perfect network makes."""
    step, first = network.STRIDE * pixel_mm, (network.STRIDE - 1) / 2 * pixel_mm
    y = first + step * np.arange(COLUMNS // network.STRIDE)
    z = z0 - first - step * np.arange(ROWS // network.STRIDE)
    at = np.stack(np.meshgrid(y, z), -1)
    maps = np.full((*at.shape[:2], network.MAPS), logit(0.01))
    for body in spine:
        channel = network.SACRUM if body.is_s1 else network.CENTRE
        square = ((at - body.middle) ** 2).sum(-1)
        peak = np.clip(np.exp(-square / 2 / 5**2) * body.probability, 0.01, None)
        maps[..., channel] = np.maximum(maps[..., channel], logit(peak))
        near = square < (body.height_mm / 2) ** 2
        votes = np.concatenate([body.upper - at, body.lower - at], -1)
        maps[near, network.VOTES] = votes[near] / (network.VOTE_PX * pixel_mm)
    return maps


@pytest.mark.parametrize("pixel_mm", [0.9, 1.5])
def test_perfect_maps_give_the_spine_back(pixel_mm):
    scale = pixel_mm / 1.5
    wanted = [b._replace(upper=b.upper * scale, lower=b.lower * scale) for b in spine()]
    tile = Tile(np.zeros((ROWS, COLUMNS)), 0.0, 0.0, pixel_mm)
    chain = bodies.find([tile], maps_of(wanted, pixel_mm)[None])
    assert [b.is_s1 for b in chain.bodies] == [False] * 6 + [True]
    for found, body in zip(chain.bodies, wanted, strict=True):
        np.testing.assert_allclose(found.upper, body.upper, atol=0.3)
        np.testing.assert_allclose(found.lower, body.lower, atol=0.3)


def test_tiles_that_overlap_give_each_body_once():
    wanted = spine()
    tiles = [Tile(np.zeros((ROWS, COLUMNS)), 0.0, z0, 1.5) for z0 in (0.0, 45.0)]
    maps = np.stack([maps_of(wanted, z0=t.z_mm) for t in tiles])
    assert len(bodies.find(tiles, maps).bodies) == 7


def test_no_peak_gives_no_chain():
    tile = Tile(np.zeros((ROWS, COLUMNS)), 0.0, 0.0, 1.5)
    chain = bodies.find([tile], maps_of([])[None])
    assert chain == ([], 0.0)


def brute_force(found):
    """The best chain among all subsets."""
    best, best_score = [], 0.0
    for mask in range(1, 2 ** len(found)):
        subset = [b for i, b in enumerate(found) if mask >> i & 1]
        subset.sort(key=lambda b: -b.z_mm)
        odds = [np.log(b.probability / (1 - b.probability + 1e-3)) for b in subset]
        score = sum(odds) + bodies.PRESENCE * len(subset)
        score -= sum(bodies.penalty(a, b) for a, b in itertools.pairwise(subset))
        if score > best_score:
            best, best_score = subset, score
    return best, best_score


@pytest.mark.parametrize("seed", range(20))
def test_the_chain_is_the_best_of_all_subsets(seed):
    rng = np.random.default_rng(seed)
    found = []
    for body in spine():
        shift = rng.normal(0, 4, 2)
        p = float(rng.uniform(0.2, 0.99))
        moved = body._replace(upper=body.upper + shift, lower=body.lower + shift)
        found.append(moved._replace(probability=p))
    for _ in range(3):  # Peaks that are no bodies.
        at = np.array([rng.uniform(0, 140), -rng.uniform(0, 250)])
        up = np.array([0, 10])
        found.append(Body(at + up, at - up, float(rng.uniform(0.15, 0.6))))
    chain = bodies.best_chain(found)
    best, score = brute_force(found)
    np.testing.assert_allclose(chain.score, score)
    assert [b.z_mm for b in chain.bodies] == [b.z_mm for b in best]


def test_nothing_follows_s1():
    upper, lower = spine(2, s1=False)
    assert np.isfinite(bodies.penalty(upper, lower))
    assert bodies.penalty(upper._replace(is_s1=True), lower) == np.inf


def test_a_cut_body_is_as_high_as_its_neighbour():
    """The scan ends 6 mm above the middle of its first body, 5 mm below the last's."""
    wanted = spine(4, s1=False)
    top, bottom = wanted[0].z_mm + 6, wanted[-1].z_mm - 5
    seen = list(wanted)
    seen[0] = seen[0]._replace(upper=seen[0].middle + 6 * seen[0].axis)
    seen[-1] = seen[-1]._replace(lower=seen[-1].middle - 5 * seen[-1].axis)
    for found, body in zip(bodies.complete(seen, top, bottom), wanted, strict=True):
        np.testing.assert_allclose(found.middle, body.middle, atol=1e-6)


def test_the_middle_of_a_cut_body_stays_within_the_scan():
    found = spine(4, s1=False)
    top, bottom = found[0].z_mm - 3, found[-1].z_mm + 2
    whole = bodies.complete(found, top, bottom)
    np.testing.assert_allclose([whole[0].z_mm, whole[-1].z_mm], [top, bottom])
    assert whole[1:-1] == found[1:-1]


@pytest.mark.parametrize("count", [0, 1, 4])
def test_bodies_away_from_the_ends_stay(count):
    found = spine(count)
    assert bodies.complete(found, found[0].z_mm + 40, found[-1].z_mm - 40) == found
    # S1 at the end, and a single body, say nothing about the height of a cut one.
    short = bodies.complete(found, found[0].z_mm + 40, found[-1].z_mm)
    assert short == found
