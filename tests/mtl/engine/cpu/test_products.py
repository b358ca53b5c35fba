"""Products with a gradient written in another way, against plain ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.engine.cpu.products import MAX_ROWS, matmul


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("rows", [1, 10, MAX_ROWS, MAX_ROWS + 1])
def test_a_product_and_its_gradients_are_the_plain_ones(x64, rows, transposed):
    rng = np.random.default_rng(0)
    x, w, d = (jnp.asarray(rng.normal(size=s)) for s in ((rows, 7), (7, 5), (rows, 5)))

    def ours(x, w):
        return jnp.vdot(matmul(x, w.T if transposed else w, transposed), d)

    def plain(x, w):
        return jnp.vdot(x @ w, d)

    found, expected = (jax.value_and_grad(f, (0, 1))(x, w) for f in (ours, plain))
    for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(a, b, 1e-13, 1e-13)


def test_each_of_many_weights_has_its_own_product():
    rng = np.random.default_rng(0)
    x, w = (jnp.asarray(rng.normal(size=s)) for s in ((10, 7), (3, 7, 5)))
    grad = jax.vmap(jax.grad(lambda w: jnp.square(matmul(x, w)).sum()))(w)
    expected = [2 * x.T @ (x @ each) for each in w]
    np.testing.assert_allclose(grad, expected, 1e-4)
