"""Which rows a step takes: shared tables, and draws of several tasks."""

import jax
import jax.numpy as jnp
import numpy as np

from mtl.engine import batches, engine
from mtl.engine.task import Task


def test_rows_of_a_shared_table_are_found_by_their_numbers():
    rows = batches.Rows(jnp.array([[10], [11], [12], [13]]), jnp.array([3, 0, 2]))
    assert len(rows) == 3
    assert rows[jnp.array([2, 0, 0])].tolist() == [[12], [13], [13]]


def test_two_tasks_that_draw_their_rows_draw_different_orders():
    def seen(name):
        def loss(params, batch, key):
            return -jnp.take(params[name], batch["row"])

        return Task(name, loss, (name,), reduction="sum", draws=4)

    e = engine.make_engine([seen("a"), seen("b")], batch_size=20)
    state = e.init({"a": jnp.zeros(20), "b": jnp.zeros(20)})
    data = {"row": jnp.arange(20)}
    after, _ = e.epoch(state, data, jnp.ones(2), 1.0, jax.random.key(0))
    drawn = [np.flatnonzero(after.params[name]).tolist() for name in ("a", "b")]
    assert [len(d) for d in drawn] == [4, 4]
    assert drawn[0] != drawn[1]
