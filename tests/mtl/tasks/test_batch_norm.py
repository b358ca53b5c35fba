"""Batch normalisation against NumPy, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.tasks import batch_norm, classify
from tests.mtl import numpy_network
from tests.mtl.numpy_network import KEY, ROWS, VALID, network, on_device


def test_moments_are_those_of_the_valid_rows(x64):
    z = np.random.default_rng(0).normal(3, 2, (ROWS, 4))
    found = batch_norm.moments(jnp.asarray(z), jnp.asarray(VALID))
    np.testing.assert_allclose(found.mean, np.mean(z[:7], 0), 1e-12)
    np.testing.assert_allclose(found.variance, np.var(z[:7], 0), 1e-12)
    expected = (z - np.mean(z[:7], 0)) / np.sqrt(np.var(z[:7], 0) + 1e-5)
    ours = batch_norm.normalise(jnp.asarray(z), found)
    np.testing.assert_allclose(ours, expected, 1e-12)


def test_normalisation_has_the_gradient_of_central_differences(x64):
    rng = np.random.default_rng(0)
    z, weight = rng.normal(3, 2, (7, 4)), rng.normal(size=(7, 4))

    def ours(z):
        m = batch_norm.moments(z, jnp.ones(7, bool))
        return (weight * batch_norm.normalise(z, m)).sum()

    def theirs(z):
        return (weight * (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5)).sum()

    slope, h = np.zeros_like(z), 1e-5
    for i in np.ndindex(z.shape):
        step = np.zeros_like(z)
        step[i] = h
        slope[i] = (theirs(z + step) - theirs(z - step)) / (2 * h)
    np.testing.assert_allclose(jax.grad(ours)(jnp.asarray(z)), slope, 1e-6, 1e-8)


@pytest.mark.parametrize("level", [0.0, 0.3])
def test_the_classification_loss_equals_numpy(x64, level):
    c = numpy_network.config(unsupervised="vat", model__noise=level)
    label = numpy_network.problem(c)[1]["label"][VALID]

    def costs(p, x):
        logits, _, _ = numpy_network.encode(p, x, numpy_network.noises(KEY, level))
        return -np.log(numpy_network.softmax(logits)[np.arange(7), label])

    numpy_network.assert_same(classify.task(c, network(c)), c, costs)


def test_settled_statistics_are_those_of_all_rows(x64):
    c = numpy_network.config()
    params, batch = numpy_network.problem(c)
    x = batch["image"] / 100
    quiet = [0.0] * 4
    logits, _, moments = numpy_network.encode(params, x, quiet)
    settled = network(c).set_batch_stats(on_device(params), jnp.asarray(x))
    for k, (mean, variance) in enumerate(moments, start=1):
        found = settled["statistics"][str(k)]
        np.testing.assert_allclose(found["mean"], mean, 1e-9, 1e-12)
        np.testing.assert_allclose(found["variance"], variance, 1e-9)
    # One image alone then gets the logits that it had among the others.
    alone = network(c).logits(settled, jnp.asarray(x[:1]))
    np.testing.assert_allclose(alone, logits[:1], 1e-9)
