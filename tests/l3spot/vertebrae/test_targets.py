"""The targets of phantoms, and what the decoder makes of perfect maps."""

import jax
import numpy as np
import pytest
from scipy.special import logit

from l3spot.phantom.sagittal import spine
from l3spot.phantom.sagittal.picture import PIXEL_MM
from l3spot.training import bodies as training
from l3spot.vertebrae import bodies, network, targets
from l3spot.vertebrae.slab import Tile

pytestmark = pytest.mark.slow  # It draws phantoms.


@pytest.fixture(scope="module")
def pictures():
    return training.phantoms(seed=5, count=6)


def test_phantoms_repeat(pictures):
    again = training.phantoms(seed=5, count=2)
    for a, b in zip(again, pictures, strict=True):
        np.testing.assert_array_equal(a, b[:2])


def test_perfect_maps_give_the_phantoms_bodies_back(pictures):
    """Each body with both end plates in the picture, S1 among them, and no other."""
    made = jax.device_get(jax.jit(jax.vmap(targets.maps))(pictures))
    for i, grey in enumerate(pictures.grey):
        maps = np.zeros((*made.body[i].shape, network.MAPS))
        maps[..., :2] = logit(np.clip(made.peaks[i], 1e-3, 1 - 1e-3))
        maps[..., network.VOTES] = made.votes[i]
        tile = Tile(grey / 255, 0.0, 0.0, PIXEL_MM)
        found = bodies.find([tile], maps[None]).bodies
        wanted = np.flatnonzero(pictures.inside[i][: spine.S1 + 1])
        plates = pictures.plates[i]
        assert [body.is_s1 for body in found] == [n == spine.S1 for n in wanted]
        for body, n in zip(found, wanted, strict=True):
            np.testing.assert_allclose([body.upper, body.lower], plates[n], atol=0.01)


def test_end_plates_are_where_the_targets_say(pictures):
    """The step from body to disc is steepest there, not a few mm beside it."""
    steps = {}
    for shift_mm in (-6, -3, 0, 3, 6):
        steps[shift_mm] = []
        for i, grey in enumerate(pictures.grey):
            for n in np.flatnonzero(pictures.inside[i][: spine.S1]):
                upper, lower = pictures.plates[i, n]
                axis = (upper - lower) / np.linalg.norm(upper - lower)
                at = [upper + (shift_mm + d) * axis for d in (-2.5, 2.5)]
                body, disc = (
                    int(grey[round(-z / PIXEL_MM), round(y / PIXEL_MM)]) for y, z in at
                )
                steps[shift_mm].append(body - disc)
    means = {shift_mm: np.mean(values) for shift_mm, values in steps.items()}
    assert max(means, key=means.get) == 0
    assert means[0] > 5 + max(means[-6], means[6])


def test_stacked_bodies_do_not_overlap(pictures):
    present = pictures.present[0][: spine.S1 + 1]
    upper, lower = np.swapaxes(pictures.plates[0][: spine.S1 + 1][present], 0, 1)
    assert (np.linalg.norm(lower[:-1] - upper[1:], axis=1) > 0.2).all()
    assert (lower[:-1, 1] > upper[1:, 1]).mean() > 0.9
