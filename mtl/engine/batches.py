"""Which examples go into which step of an epoch, with shapes that never change.

When few examples take part in a task, its steps must cost what these cost and not what
the whole batch costs: they get slots of their own, as many as a batch can need.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import scipy.stats

from mtl.engine.task import Data, Task


class Slots(NamedTuple):
    """Row numbers int[..., C] of the examples that a task takes; `valid` bool[..., C].

    A free slot repeats an example that takes part. Not just any row: one without x or y
    would bring its NaN into the gradient, which multiplying by 0 does not remove.
    """

    row: jax.Array
    valid: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Rows:
    """A field whose example i is `table[at[i]]`: data sets that share a table.

    table: [M, ...]; at: int[N]. Many runs at once each have an `at` of their own.
    """

    table: jax.Array
    at: jax.Array

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, rows: jax.Array) -> jax.Array:
        return self.table[self.at[rows]]


def shuffle(key: jax.Array, total: int, batch_size: int) -> jax.Array:
    """[steps, B] row numbers in random order; -1 fills the last batch up.

    `jax.random.permutation` sorts twice, for the sake of ties among its random words:
    with 50,000 rows, one pair in three shuffles. Where few rows have a label, sorting
    is much of an epoch on a CPU.
    """
    steps = -(-total // batch_size)
    order = jnp.argsort(jax.random.bits(key, (total,)))
    fill = jnp.full(steps * batch_size - total, -1, order.dtype)
    return jnp.concatenate([order, fill]).reshape(steps, batch_size)


def members(task: Task, data: Data) -> jax.Array:
    """bool[N]: the examples that take part in a task."""
    return jnp.ones(length(data), bool) if task.rows is None else task.rows(data)


def compact(shuffled: jax.Array, member: jax.Array, capacity: int) -> Slots:
    """[steps, capacity] slots: of each batch, the rows that take part come first."""

    def one(batch: jax.Array) -> jax.Array:
        takes_part = (batch >= 0) & member[batch]
        at = jnp.flatnonzero(takes_part, size=capacity, fill_value=len(batch))
        return jnp.append(batch, -1)[at]

    row = jax.vmap(one)(shuffled)
    return Slots(jnp.where(row < 0, row.max(), row), row >= 0)


def draw(key: jax.Array, member: jax.Array, steps: int, count: int) -> Slots:
    """[steps, count] slots, none free, of a task that draws its own examples.

    An epoch goes through them in one random order, again and again.
    """
    at_random = jax.random.uniform(key, member.shape)
    order = jnp.argsort(jnp.where(member, at_random, 1))  # The others come last.
    at = jnp.arange(steps * count) % member.sum()
    return Slots(order[at].reshape(steps, count), jnp.ones((steps, count), bool))


def take(data: Data, slots: Slots) -> dict[str, jax.Array]:
    """The batch that a task's loss gets."""
    return {"valid": slots.valid} | {k: v[slots.row] for k, v in data.items()}


def length(data: Data) -> int:
    """N, the number of examples."""
    return len(next(iter(data.values())))


def capacities(
    tasks: Sequence[Task], data: Data, batch_size: int, risk: float = 1e-12
) -> tuple[int, ...]:
    """For each task, a capacity that a batch exceeds with probability below `risk`.

    The examples of a task in a shuffled mini-batch are hypergeometric. Multiples of 8,
    at most B; of a task that draws its own, just as many. What the risk leaves is
    caught by `engine.Metrics.dropped`.

    Raises:
      ValueError: no example takes part in a task.
    """
    total, found = length(data), []
    for task in tasks:
        rows = int(members(task, data).sum())
        if rows == 0:
            raise ValueError(f"no example takes part in task {task.name!r}")
        if task.draws:
            found.append(task.draws)
            continue
        most = scipy.stats.hypergeom.isf(risk, total, rows, min(batch_size, total))
        found.append(min(-(-int(most) // 8) * 8, batch_size))
    return tuple(found)


def certain(tasks: Sequence[Task], data: Data, batch_size: int) -> tuple[bool, ...]:
    """For each task, whether every mini-batch is bound to have an example of it.

    It is where the others do not fill the last batch, which may be the shortest.
    """
    total = length(data)
    shortest = total % batch_size or batch_size
    return tuple(
        t.draws > 0 or total - int(members(t, data).sum()) < shortest for t in tasks
    )
