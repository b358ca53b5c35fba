"""Which rows a step takes: shared tables, and draws of several tasks."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from mtl.engine import batches, engine
from mtl.engine.task import Task


def test_rows_of_a_shared_table_are_found_by_their_numbers():
    rows = batches.Rows(jnp.array([[10], [11], [12], [13]]), jnp.array([3, 0, 2]))
    assert len(rows) == 3
    assert rows[jnp.array([2, 0, 0])].tolist() == [[12], [13], [13]]


def max_rows(total, members, batch_size):
    task = Task("one", lambda *_: None, (), rows=lambda data: data["row"] < members)
    return batches.max_rows_per_batch([task], {"row": jnp.arange(total)}, batch_size)[0]


def test_a_batch_has_room_for_its_rows_and_for_few_more():
    """The number of rows of a batch is hypergeometric; the room is a multiple of 8."""
    rows = max_rows(total=1000, members=100, batch_size=100)
    assert rows % 8 == 0
    too_many = scipy.stats.hypergeom(1000, 100, 100).sf
    assert too_many(rows) <= 1e-12 < too_many(rows - 8)


def test_the_room_is_at_most_a_batch_which_may_be_larger_than_the_data():
    assert max_rows(total=100, members=100, batch_size=10) == 10
    assert max_rows(total=5, members=3, batch_size=20) == 8


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


def test_the_order_of_drawn_rows_is_random():
    member = jnp.arange(50) < 20
    draws = [batches.draw(jax.random.key(i), member, 4, 10).row for i in range(2)]
    assert all(d.shape == (4, 10) and d.max() < 20 for d in draws)
    assert all(len(set(d[:2].ravel().tolist())) == 20 for d in draws)
    assert (draws[0] != draws[1]).any()
