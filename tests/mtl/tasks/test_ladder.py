"""The ladder's costs against loops in NumPy, in float64 (Rasmus et al. 2015)."""

import jax
import numpy as np
import pytest

from mtl.tasks import ladder
from tests.mtl import numpy_network
from tests.mtl.numpy_network import KEY, network
from tests.mtl.reference import sigmoid


def combined(a, z, u):
    """Equation 2 for each row and unit; unit j has the ten parameters a[:, j]."""
    estimate = np.zeros(z.shape, np.result_type(a, z, u))
    for i, j in np.ndindex(z.shape):
        a1, a2, a3, a4, a5, a6, a7, a8, a9, a10 = a[:, j]
        v = u[i, j]
        mean = a1 * sigmoid(a2 * v + a3) + a4 * v + a5
        gate = a6 * sigmoid(a7 * v + a8) + a9 * v + a10
        estimate[i, j] = (z[i, j] - mean) * gate + mean
    return estimate


def denoising_costs(p, x, weights):
    """[B]: algorithm 1, from the top layer down to the lowest one with a weight."""
    _, clean, moments = numpy_network.encode(p, x, [0.0] * 4)
    logits, noisy, _ = numpy_network.encode(p, x, numpy_network.noises(KEY, 0.3))
    estimate, total = numpy_network.softmax(logits), 0
    lowest = next(k for k, weight in enumerate(weights) if weight > 0)
    for k in range(3, lowest - 1, -1):
        u = estimate if k == 3 else estimate @ p[f"decoder/{k}/kernel"]
        u, _, _ = numpy_network.standard(u)
        estimate = combined(p[f"decoder/{k}/combinator"], noisy[k], u)
        scaled = estimate
        if k > 0:
            mean, variance = moments[k - 1]
            scaled = (estimate - mean) / (variance + numpy_network.EPSILON) ** 0.5
        total = total + weights[k] * ((scaled - clean[k]) ** 2).mean(1)
    return total


@pytest.mark.parametrize(
    ("name", "costs", "weights"),
    [
        ("ladder", (3.0, 2.0, 0.5), [3.0, 2.0, 0.5, 0.5]),
        ("ladder", (0.0, 2.0, 0.0, 1.0), [0.0, 2.0, 0.0, 1.0]),
        ("gamma", (1.0,), [0.0, 0.0, 0.0, 0.7]),
    ],
)
def test_denoising_costs_and_gradients_equal_numpy(x64, name, costs, weights):
    c = numpy_network.config(unsupervised=name, gamma__cost=0.7)
    c.ladder.costs = costs
    task = ladder.task(c, network(c))
    assert task.name == name
    numpy_network.assert_same(task, c, lambda p, x: denoising_costs(p, x, weights))


def test_the_decoder_starts_with_slopes_of_1_inside_its_sigmoids():
    c = numpy_network.config(ladder__costs=(0.0, 1.0))
    decoder = network(c).init(jax.random.key(0))["decoder"]
    shapes = jax.tree.map(np.shape, decoder)
    assert shapes == {
        "1": {"combinator": (10, 5), "kernel": (4, 5)},
        "2": {"combinator": (10, 4), "kernel": (3, 4)},
        "3": {"combinator": (10, 3)},
    }
    for layer in decoder.values():
        start = np.asarray(layer["combinator"])
        assert (start.T == [0, 1, 0, 0, 0, 0, 1, 0, 0, 0]).all()
    bound = np.sqrt(6 / (4 + 5))
    assert 0.5 * bound < np.abs(decoder["1"]["kernel"]).max() <= bound
