"""Compiler options change the speed of an epoch, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.engine.cpu import compiling
from mtl.engine.engine import make_engine
from tests.mtl import tiny


# Slow, because `make test` compiles with less optimization.
@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [8, compiling.LARGE_BATCH])
@pytest.mark.parametrize(("wide", "tolerance"), [(True, 1e-12), (False, 1e-5)])
def test_an_epoch_is_the_same_with_and_without_options(batch_size, wide, tolerance):
    with jax.enable_x64(wide):
        kind = jnp.float64 if wide else jnp.float32
        t = tiny.training()
        params, data = jax.tree.map(lambda x: x.astype(kind), (t.params, t.data))
        engine = make_engine(t.tasks, data, batch_size=8)
        weights, rate, state = jnp.ones(2, kind), kind(0.01), engine.init(params)
        run = compiling.compiled(engine.epoch, batch_size)
        plain = jax.jit(engine.epoch)
        for epoch in range(3):
            inputs = data, weights, rate, jax.random.fold_in(t.key, epoch)
            got, expected = run(state, *inputs), plain(state, *inputs)
            for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected)):  # noqa: B905
                np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
            state = expected[0]
