"""Virtual adversarial training against NumPy, in float64 (Miyato et al.)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.tasks import vat
from tests.mtl import numpy_network
from tests.mtl.numpy_network import (
    INPUTS,
    KEY,
    ROWS,
    VALID,
    divergence,
    network,
    on_device,
    softmax,
)


def slope(kl, r):
    """The gradient of `kl` at r, by complex steps."""
    found = np.zeros(r.shape)
    for i in np.ndindex(r.shape):
        probe = r.astype(complex)
        probe[i] += 1e-150j
        found[i] = kl(probe).imag / 1e-150
    return found


def hessian(kl, shape, h=1e-5):
    """[n, n]: the second derivatives of `kl` at 0, by central differences."""
    n = int(np.prod(shape))
    steps = h * np.eye(n).reshape(n, *shape)
    rows = [(slope(kl, s) - slope(kl, -s)).ravel() / (2 * h) for s in steps]
    return np.array(rows)


def unit(d):
    return d / np.sqrt((d**2).sum(1, keepdims=True))


def sum_of_divergences(predict, x):
    """`r -> sum over images of KL(p(y | x) || p(y | x + r))`."""
    p = predict(x).real
    return lambda r: divergence(p, predict(x + r)).sum()


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize(
    ("iterations", "entropy", "xi"), [(1, 0.0, 0.0), (3, 0.5, 0.0), (2, 0.0, 0.2)]
)
def test_losses_and_gradients_equal_numpy(x64, norm, iterations, entropy, xi):
    level = 0.3 if norm == "batch" else 0.0
    fields = dict(model__norm=norm, model__noise=level, vat__scale=2.0, vat__xi=xi)
    fields |= dict(vat__iterations=iterations, vat__entropy=entropy, vat__epsilon=0.7)
    c = numpy_network.config(unsupervised="vat", **fields)
    start, noise_key = jax.random.split(KEY)
    noise = numpy_network.noises(noise_key, level)
    params, batch = numpy_network.problem(c)
    x = batch["image"][VALID]

    def predict(p, x):
        return softmax(numpy_network.encode(p, x, noise, norm == "batch")[0])

    kl = sum_of_divergences(functools.partial(predict, params), x)
    d = np.asarray(jax.random.normal(start, (ROWS, INPUTS), float))[VALID]
    matrix = None if xi else hessian(kl, x.shape)
    for _ in range(iterations):
        d = unit(d)
        d = slope(kl, xi * d) if xi else (matrix @ d.ravel()).reshape(d.shape)
    r, clean = unit(d), predict(params, x)  # Constants to the gradient.

    def costs(p, x):
        q = predict(p, x)
        cost = divergence(clean, predict(p, x + 0.7 * r))
        return 2 * (cost - entropy * (q * np.log(q)).sum(1))

    numpy_network.assert_same(vat.task(c, network(c)), c, costs)


def test_the_direction_is_the_dominant_eigenvector_of_the_hessian(x64):
    c = numpy_network.config(unsupervised="vat", model__norm="none", model__noise=0.0)
    params, batch = numpy_network.problem(c)
    x = batch["image"][VALID]
    logits = functools.partial(network(c).logits, on_device(params))
    d = jax.random.normal(KEY, x.shape, float)
    clean, r = vat.adversarial(
        logits, jnp.asarray(x), jnp.ones(len(x), bool), d, iterations=60
    )

    def predict(x):
        return softmax(numpy_network.encode(params, x, [0.0] * 4, norm=False)[0])

    np.testing.assert_allclose(jax.nn.softmax(clean), predict(x), 1e-9)
    seen = 0
    for i in range(len(x)):
        matrix = hessian(sum_of_divergences(predict, x[i : i + 1]), (1, INPUTS))
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        if values[-2] < 0.7 * values[-1] and values[-1] > 1e-6:
            seen += 1
            np.testing.assert_allclose(abs(vectors[:, -1] @ r[i]), 1, 1e-6)
    assert seen >= 4, "the test must see clear eigenvectors"


def test_a_row_that_is_not_valid_changes_no_direction(x64):
    c = numpy_network.config(unsupervised="vat", model__noise=0.0)
    params, batch = numpy_network.problem(c)
    d = jax.random.normal(KEY, (ROWS, INPUTS), float)

    def directions(rows):
        x, valid = jnp.asarray(batch["image"][rows]), jnp.asarray(VALID[rows])

        def logits(x):
            return network(c).training_logits(on_device(params), x, valid, KEY)

        return jax.jit(lambda: vat.adversarial(logits, x, valid, d[rows], 2)[1])()

    everyone, alone = directions(np.arange(ROWS)), directions(np.flatnonzero(VALID))
    np.testing.assert_allclose(everyone[VALID], alone, 1e-9)


def test_a_confident_network_has_directions_of_length_1():
    d = jnp.array([[3e-30, 4e-30], [0.0, 0.0], [3e20, 4e20]])
    np.testing.assert_allclose(vat.unit(d), [[0.6, 0.8], [0, 0], [0.6, 0.8]], 1e-6)
