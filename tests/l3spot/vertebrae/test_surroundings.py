"""What lies around a vertebra, and what it says about names."""

import jax
import numpy as np
import optax
import pytest

from configs.l3spot import vertebrae as configs
from l3spot.training import surroundings as training
from l3spot.vertebrae import levels, model, surroundings
from l3spot.vertebrae.levels import Signs
from l3spot.vertebrae.surroundings import COLUMNS, NAMES, PIXELS, ROWS, SPINE
from tests.l3spot.vertebrae.test_levels import chain


@pytest.mark.parametrize("pitch", [20.0, 35.0])
def test_a_crop_has_the_scale_of_the_vertebrae(pitch):
    """Two distances to the right and one above are the same pixels in any body."""
    hu = np.full((500, 400), -1000.0)
    row, column = 250 - round(pitch), 200 + round(2 * pitch)
    hu[row - 3 : row + 4, column - 3 : column + 4] = 800
    grey = surroundings.crop(surroundings.thicken(hu), 250.0, 200.0, pitch)
    at = np.argwhere(grey > 0.4).mean(0)
    middle = (ROWS - 1) / 2 - PIXELS, (COLUMNS - 1) / 2 + 2 * PIXELS
    assert np.abs(np.subtract(at, middle)).max() <= 1
    assert grey.max() == pytest.approx(1000 / 1200)


def test_a_crop_leaves_out_the_spine_and_is_black_beyond_the_scan():
    grey = surroundings.crop(np.full((90, 90), 300.0), 45.0, 45.0, 30.0)
    spine = slice(COLUMNS // 2 - SPINE, COLUMNS // 2 + SPINE)
    assert not grey[:, spine].any()
    assert grey[ROWS // 2, spine.stop] > 0.4
    assert not grey[0].any()


def sure(first, count, share=0.98):
    """Log-probabilities of bodies; `first` is the name of the first one."""
    names = NAMES.index(first) + np.arange(count)
    p = np.full((count, len(NAMES)), (1 - share) / (len(NAMES) - 1))
    p[np.arange(count), names] = share
    return np.log(p)


def test_surroundings_tell_between_bodies_that_are_equally_near():
    c = chain(5, s1=False)
    z = [body.z_mm for body in c.bodies]
    between = (z[1] + z[2]) / 2
    for first, l3 in (("L1", 2), ("L2", 1)):
        n = levels.number(c, between, 0.9, Signs(names=sure(first, len(z))))
        assert n.l3_z_mm == pytest.approx(z[l3])
        assert n.probability > 0.6


def test_the_frontal_position_counts_less_beside_surroundings():
    """Both come from one picture, so even names that say nothing weaken it."""
    c = chain(5, s1=False)
    unknown = np.full((len(c.bodies), len(NAMES)), -np.log(len(NAMES)))
    z_mm = c.bodies[2].z_mm
    alone, beside = (
        levels.number(c, z_mm, 0.9, signs).probability
        for signs in (Signs(), Signs(names=unknown))
    )
    assert beside < alone - 0.05


def test_surroundings_alone_are_not_believed_against_ribs_and_sacrum():
    even = levels.surroundings_evidence(np.arange(-2, 7), sure("L1", 5))
    assert even.argmax() == 4
    assert even.max() / even.min() <= (1 + levels.MIN_SURROUNDINGS) / (
        levels.MIN_SURROUNDINGS
    )


def test_nothing_below_s1_is_seen():
    """Nothing is known of four bodies, so L3 is not the first of them: S2 follows."""
    unknown = np.full((4, len(NAMES)), -np.log(len(NAMES)))
    evidence = levels.surroundings_evidence(np.array([-1, 0, 1]), unknown)
    assert evidence[0] < evidence[1] == evidence[2]


def test_augmentation_keeps_the_spine_black_and_changes_the_rest():
    c = configs.get_config("smoke").surroundings
    grey = np.full((32, ROWS, COLUMNS), 0.5, np.float32)
    grey[:, :, COLUMNS // 2 - SPINE : COLUMNS // 2 + SPINE] = 0
    made = np.asarray(training.augment(c, grey, jax.random.key(0)))
    assert not made[:, :, COLUMNS // 2 - SPINE : COLUMNS // 2 + SPINE].any()
    assert 0 <= made.min() < made.max() <= 1
    assert len(np.unique(made.mean((1, 2)))) == 32
    cut = (made == 0).all(2)  # Rows beyond the ends of a scan.
    assert 0 < cut[:, 0].mean() < 0.6
    assert not cut[:, ROWS // 2].any()


@pytest.mark.slow
def test_a_network_learns_to_name_what_can_be_seen():
    """A bright row says which vertebra it is."""
    c = configs.get_config("smoke")
    c.data.count, c.data.validation = 8, 2
    name = np.tile(np.arange(len(NAMES), dtype=np.int32), 40)
    grey = np.full((len(name), ROWS, COLUMNS), 60, np.uint8)
    for i, n in enumerate(name):
        grey[i, 4 * n + 6 : 4 * n + 10, :] = 220
    grey[:, :, COLUMNS // 2 - SPINE : COLUMNS // 2 + SPINE] = 0
    run = training.make_training(c, training.Crops(grey, name))
    assert len(run.data["grey"]) == 300
    batch = {k: np.asarray(v)[:60] for k, v in run.data.items()}
    optimizer = optax.adam(3e-3)

    @jax.jit
    def update(params, state, key):
        value, slope = jax.value_and_grad(
            lambda p: training.loss(c, p, batch, key).mean()
        )(params)
        change, state = optimizer.update(slope, state)
        return optax.apply_updates(params, change), state, value

    params, state, values = run.params, optimizer.init(run.params), []
    for key in jax.random.split(jax.random.key(1), 60):
        params, state, value = update(params, state, key)
        values.append(float(value))
    assert np.mean(values[-5:]) < 0.8 * np.mean(values[:5])
    before, after = run.evaluate(run.params), run.evaluate(params)
    assert after["valid/error"] < before["valid/error"] - 0.3


def test_a_mirror_image_has_the_same_names():
    params = model.init(jax.random.key(0))["surroundings"]
    grey = np.random.default_rng(0).uniform(size=(2, ROWS, COLUMNS))
    logits = [model.name_logits(params, g) for g in (grey, grey[:, :, ::-1])]
    np.testing.assert_allclose(*logits, rtol=1e-5, atol=1e-6)
