"""Loss weights that adapt: missing examples, tasks without a weight, ties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.engine import adaptive, engine
from mtl.engine.weighting import Batch, Weighting
from tests.mtl.engine.test_adaptive_formulas import TASKS, problem


def test_an_unknown_layer_of_gradnorm_is_refused():
    params = {"encoder": {"kernel": jnp.ones((2, 2))}, "head": jnp.ones(2)}
    weighting = adaptive.gradnorm(2, "encoder")
    e = engine.make_engine(TASKS, batch_size=4, weighting=weighting)
    message = "layer is 'encoder', but the parameters are encoder/kernel, head"
    with pytest.raises(ValueError, match=message):
        e.init(params)


def test_dwa_keeps_the_loss_of_a_task_without_examples(x64):
    w = adaptive.dwa(2)
    state = w.init()
    for sums, rows in [
        ([6.0, 4.0], [2, 2]),
        ([2.0, 4.0], [2, 2]),
        ([0.0, 2.0], [0, 2]),
    ]:
        state = w.epoch(state, jnp.array(sums), jnp.array(rows))
    # The means were 3, 1, and 1 again; and 2, 2, 1.
    e = np.exp([1 / 2, 1 / 4])
    np.testing.assert_allclose(w.weights(state, None), 2 * e / e.sum(), 1e-9)


def test_the_ratio_keeps_the_loss_of_an_epoch_without_examples(x64):
    w = adaptive.ratio("valid/loss")
    state = w.init()
    for loss, rows in [(1.5, 3), (0.0, 0)]:
        state = w.epoch(state, jnp.array([9.0, loss]), jnp.array([9, rows]))
    state = w.observe(state, {"valid/loss": 2.0})
    np.testing.assert_allclose(w.weights(state, None), [0.75, 0.25], 1e-9)


def plateau_weights(w, values):
    """The first weight after each evaluation."""
    state, found = w.init(), []
    for value in values:
        state = w.observe(state, {"valid/loss": value})
        found.append(float(w.weights(state, None)[0]))
    return found


def test_a_plateau_compares_with_the_best_evaluation_so_far():
    w = adaptive.plateau("valid/loss", factor=0.5, wait=2)
    assert plateau_weights(w, [5.0, 7.0, 6.0]) == [0.5, 0.5, 0.25]


def test_a_plateau_keeps_a_weight_equal_to_the_cutoff():
    w = adaptive.plateau("valid/loss", factor=0.5, wait=1, cutoff=0.25)
    assert plateau_weights(w, [5.0, 5.0, 5.0]) == [0.5, 0.25, 0]


def one_batch(weights):
    """An epoch of one mini-batch, `weights -> (present, metrics)`.

    The weighting multiplies the given weights by 2 and 3.
    """
    spy = Weighting(
        init=lambda: jnp.ones(2, bool),
        weights=lambda present, batch: jnp.array([2.0, 3.0]),
        in_batch=True,
        step=lambda present, batch: batch.present,
    )
    data, params = problem()
    data = {k: jnp.asarray(v[:7]) for k, v in data.items()}  # All have y.
    e = engine.make_engine(TASKS, batch_size=7, weighting=spy)
    given = data, jnp.array(weights), 0.1, jax.random.key(0)
    state, metrics = e.epoch(e.init(params), *given)
    return state.weighting_state.tolist(), metrics


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.0, 1.0), (1.0, 0.0)])
def test_a_task_whose_given_weight_is_0_is_not_present(weights):
    present, _ = one_batch(weights)
    assert present == [w > 0 for w in weights]


def test_reported_weights_are_the_given_ones_times_the_weighting():
    _, metrics = one_batch((0.5, 1.0))
    assert metrics.loss_weights.tolist() == [1, 3]


def test_the_ratio_of_losses_that_are_both_0_is_no_gap():
    w = adaptive.ratio("valid/loss")
    state = w.observe(w.init(), {"valid/loss": 0.0})
    assert w.weights(state, None).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("cost", [[0.0, 2.0], [0.0, 0.0]])
def test_gradnorm_with_a_first_loss_of_0_stays_finite(cost):
    w = adaptive.gradnorm(2, "encoder")
    norm = jnp.array([0.0, 1.0])
    batch = Batch(jnp.array(cost), jnp.array([True, True]), 0.1, norm, norm)
    state = w.step(w.init(), batch)
    state = w.step(state, batch._replace(cost=jnp.array([1.0, 2.0])))
    weights = w.weights(state, None)
    assert np.isfinite(weights).all()
    np.testing.assert_allclose(weights.sum(), 2, 1e-6)
