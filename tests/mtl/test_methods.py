"""What `methods` and `experiment` make of a config: loss weights, learning rates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl import config as configs
from mtl import methods, optimizers
from mtl.engine import batches, engine
from mtl.engine.task import flatten
from mtl.engine.weighting import Batch
from tests.mtl import reference
from tests.mtl.engine.test_adaptive_formulas import Adam
from tests.mtl.test_algorithm1 import (
    BATCH,
    build,
    naive_classify,
    naive_reconstruct,
    problem,
    small,
)

# Learning rates.


def test_the_learning_rate_falls_over_the_last_500_of_5000_epochs():
    rates = optimizers.learning_rates(configs.default())
    assert rates.shape == (5000,)
    assert (rates[:4501] == 0.01).all()
    # 1/500 of 0.01 less in each epoch; it would be 0 in epoch 5000, the one after.
    assert rates[4501] == pytest.approx(0.01 - 0.00002, rel=1e-12)
    assert rates[4750] == pytest.approx(0.005, rel=1e-12)
    assert rates[4999] == pytest.approx(0.00002, rel=1e-12)


def test_without_decay_the_learning_rate_is_constant():
    c = configs.default()
    c.epochs, c.optim.decay_epochs = 7, 0
    assert optimizers.learning_rates(c).tolist() == [0.01] * 7


def test_the_learning_rate_may_fall_from_the_first_epoch():
    c = configs.default()
    c.epochs, c.optim.decay_epochs = 4, 4
    np.testing.assert_allclose(
        optimizers.learning_rates(c), [0.01, 0.0075, 0.005, 0.0025]
    )


# GradNorm.


def naive_norms(c, data, params, key, layer):
    """Norms of the gradients of J_r and J_s for a parameter, on the only batch."""
    order_key, step_key = jax.random.split(key)
    batch = np.asarray(batches.shuffle(order_key, BATCH, BATCH))[0]
    x, y = np.asarray(data["image"]), np.asarray(data["label"])
    step_key = jax.random.fold_in(step_key, 0)
    noise_key = jax.random.fold_in(jax.random.fold_in(step_key, 0), 0)
    costs = [
        naive_reconstruct(c, "reconstruct", x[batch], noise_key),
        naive_classify(c, x, y, batch),
    ]
    p = {k: np.asarray(v) for k, v in flatten(params).items()}
    grads = [reference.gradient(cost, p, [layer])[layer] for cost in costs]
    return [np.sqrt((g**2).sum()) for g in grads]


@pytest.mark.parametrize("hidden", [(4, 3), (5, 4, 3)], ids=str)
def test_gradnorm_gets_the_gradients_for_the_last_shared_layer(x64, hidden):
    c = small("gradnorm", **{"model.hidden": hidden})
    data, params = problem(c)
    data = {k: v[:BATCH] for k, v in data.items()}
    # The state of this weighting is the norms that it got last.
    spy = methods.weighting(c)._replace(
        init=lambda: jnp.zeros(2),
        weights=lambda norms, batch: jnp.ones(2),
        step=lambda norms, batch: batch.norm,
    )
    e = engine.make_engine(build(c)[0], batch_size=BATCH, weighting=spy)
    key = jax.random.key(3)
    state, _ = e.epoch(e.init(params), data, jnp.ones(2), 0.3, key)
    expected = [
        naive_norms(c, data, params, key, f"encoder/{k}/kernel")
        for k in range(1, len(hidden) + 1)
    ]
    np.testing.assert_allclose(state.weighting_state, expected[-1], 1e-6)
    for other in expected[:-1]:
        assert np.abs(np.log(np.divide(other, expected[-1]))).min() > 0.05


# Uncertainty.


@pytest.mark.parametrize(
    ("fields", "factor"),
    [
        ({"reconstruct.loss": "squared_error"}, 0.5),
        ({"reconstruct.loss": "cross_entropy"}, 1.0),
        ({"unsupervised": "vat"}, 1.0),
        ({"unsupervised": "ladder"}, 0.5),
        ({"unsupervised": "gamma"}, 0.5),
    ],
    ids=str,
)
def test_uncertainty_halves_the_weight_of_a_squared_error_alone(fields, factor):
    w = methods.weighting(small("uncertainty", **fields))
    assert w.weights(w.init(), None).tolist() == [factor, 1.0]


def test_uncertainty_has_the_weights_computed_by_hand(x64):
    """s = log sigma^2 falls by 0.1 (1/2 - w J); w = exp(-s) / 2 or exp(-s)."""
    w = methods.weighting(small("uncertainty", **{"reconstruct.loss": "squared_error"}))
    s, ones = w.init(), jnp.ones(2)
    for losses, s1, s2 in [
        # Slopes 0.5 - 0.5 * 3 = -1 and 0.5 - 1 * 0.2 = 0.3.
        ((3.0, 0.2), 0.1, -0.03),
        # Slopes 0.5 - 0.5 exp(-0.1) 2 and 0.5 - exp(0.03) 4.
        ((2.0, 4.0), 0.1 + 0.0404837418, -0.03 + 0.3621818136),
    ]:
        batch = Batch(jnp.array(losses), ones > 0, 0.1, ones, ones)
        s = w.step(s, batch)
        expected = [0.5 * np.exp(-s1), np.exp(-s2)]
        np.testing.assert_allclose(w.weights(s, batch), expected, 1e-9)


# The fields of `config.weighting`.


def adaptive(method, **fields):
    c = small(method, **{f"weighting.{k}": v for k, v in fields.items()})
    c.monitor, c.schedule.cutoff = "valid/error", 0.05
    return methods.weighting(c)


def test_dwa_has_the_temperature_of_the_config(x64):
    w = adaptive("dwa", temperature=0.5)
    state, rows = w.init(), jnp.array([2, 2])
    for sums in ([4.0, 4.0], [2.0, 4.0]):
        state = w.epoch(state, jnp.array(sums), rows)
    # Ratios 1/2 and 1.
    expected = 2 * np.exp([1.0, 2.0]) / np.exp([1.0, 2.0]).sum()
    np.testing.assert_allclose(w.weights(state, None), expected, 1e-9)


def test_plateau_has_monitor_factor_wait_and_cutoff_of_the_config():
    w = adaptive("plateau", factor=0.25, wait=3)
    state, found = w.init(), []
    for value in range(12):
        # The loss grows and the error stays as it is.
        state = w.observe(state, {"valid/error": 0.5, "valid/loss": -value})
        found.append(float(w.weights(state, None)[0]))
    assert found == [0.5] * 3 + [0.125] * 3 + [0] * 6


def two_steps(w, norms, costs, after):
    """The state after two mini-batches, and the last of them."""
    state, ones = w.init(), jnp.ones(2)
    for n, j, a in zip(norms, costs, after, strict=True):
        batch = Batch(jnp.array(j), ones > 0, 0.1, jnp.array(n), jnp.array(a))
        state = w.step(state, batch)
    return state, batch


def test_gradnorm_has_alpha_and_rate_of_the_config(x64):
    w = adaptive("gradnorm", alpha=0.1, rate=0.2)
    costs = [[4.0, 3.0], [2.0, 3.0]]
    state, batch = two_steps(w, [[2.0, 1.0], [1.0, 1.0]], costs, costs)
    adam, weight = Adam(), np.ones(2)
    # Norms 2 and 1, both to be 3/2.
    weight = weight - adam.step(np.array([2.0, -1.0]), 0.2)
    np.testing.assert_allclose(weight, [0.8, 1.2], 1e-6)
    # Norms 0.8 and 1.2; the first task has halved its J: 0.96 and 1.03 are the targets.
    weight = weight - adam.step(np.array([-1.0, 1.0]), 0.2)
    expected = 2 * weight / weight.sum()
    np.testing.assert_allclose(w.weights(state, batch), expected, 1e-6)


def test_gradnorm_lets_no_weight_fall_below_a_thousandth(x64):
    w = adaptive("gradnorm", rate=2.0)
    batch = Batch(jnp.ones(2), jnp.array([True, True]), 0.1, jnp.array([2.0, 1.0]), 0)
    # The first step of Adam is the rate: from 1 to -1 and to 3.
    expected = np.array([0.001, 3]) * 2 / 3.001
    weights = w.weights(w.step(w.init(), batch), batch)
    np.testing.assert_allclose(weights, expected, 1e-6)


def test_famo_has_rate_and_decay_of_the_config(x64):
    w = adaptive("famo", rate=0.2, decay=0.5)
    costs, after = [[4.0, 3.0], [2.0, 3.0]], [[2.0, 2.5], [1.9, 1.0]]
    state, batch = two_steps(w, [[1.0, 1.0]] * 2, costs, after)
    adam, xi = Adam(), np.zeros(2)
    for j, a in zip(costs, after, strict=True):
        z = np.exp(xi) / np.exp(xi).sum()
        slope = (np.diag(z) - np.outer(z, z)) @ np.log(np.divide(j, a))
        xi = xi - adam.step(slope + 0.5 * xi, 0.2)
    share = np.exp(xi) / costs[-1]
    np.testing.assert_allclose(w.weights(state, batch), share / share.sum(), 1e-6)


def test_the_config_gives_cutoff_constant_weight_and_draws():
    c = small("exponential", **{"schedule.sigma": 1.0, "schedule.cutoff": 0.2})
    table = methods.loss_weights(c)
    np.testing.assert_allclose(table[:, 0], [1, np.exp(-1), 0], 1e-12)
    c = small("constant", **{"schedule.weight": 0.3, "classify.draws": 7})
    tasks, table = build(c)
    np.testing.assert_allclose(table, [[0.3, 0.7]] * 3, 1e-12)
    assert [t.draws for t in tasks] == [0, 7]
