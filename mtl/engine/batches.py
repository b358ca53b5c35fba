"""The rows of each task in each mini-batch, in arrays of fixed shape.

If few examples take part in a task, its update steps should cost what these examples
cost, and not what a whole batch costs. So each task has row numbers of its own, as many
as a mini-batch can need.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key, Shaped

from mtl.engine.split_rows import whole_fields
from mtl.engine.task import Data, Task


class BatchIndices(NamedTuple):
    """Row numbers of a task's examples in mini-batches, and whether they are valid.

    A row that is not valid repeats one that takes part. Any other row may lack x or y,
    and its NaN would enter the gradient, for 0 times NaN is NaN.
    """

    row: Int[Array, "*steps rows"]
    valid: Bool[Array, "*steps rows"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Rows:
    """A field of the data; example i is `table[at[i]]`. Runs can share the table."""

    table: Shaped[Array, "entries ..."]
    at: Int[Array, " examples"]

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, rows: Int[Array, " rows"]) -> Shaped[Array, "rows ..."]:
        return self.table[self.at[rows]]


def shuffle(
    key: Key[Array, ""], total: int, batch_size: int
) -> Int[Array, "steps {batch_size}"]:
    """Row numbers in random order; -1 fills the last batch up.

    `jax.random.permutation` sorts twice, because random words can be equal: with 50,000
    rows, one pair in three shuffles. If few rows have a label, a second sort takes much
    of an epoch's time on a CPU.
    """
    steps = -(-total // batch_size)
    order = jnp.argsort(jax.random.bits(key, (total,)))
    fill = jnp.full(steps * batch_size - total, -1, order.dtype)
    return jnp.concatenate([order, fill]).reshape(steps, batch_size)


def members(task: Task, data: Data) -> Bool[Array, " examples"]:
    """The examples that take part in a task."""
    if task.rows is None:
        return jnp.ones(length(data), bool)
    return jnp.asarray(task.rows(whole_fields(data)))


def select_members(
    shuffled: Int[Array, "steps batch"], member: Bool[Array, " examples"], max_rows: int
) -> BatchIndices:
    """Indices [steps, max_rows]: in each batch, the rows that take part come first.

    Args:
      shuffled: from `shuffle`.
      member: the examples that take part.
      max_rows: rows of a batch beyond this number are left out.
    """

    def one(batch: Int[Array, " batch"]) -> Int[Array, " rows"]:
        takes_part = (batch >= 0) & member[batch]
        at = jnp.flatnonzero(takes_part, size=max_rows, fill_value=len(batch))
        return jnp.append(batch, -1)[at]

    row = jax.vmap(one)(shuffled)
    return BatchIndices(jnp.where(row < 0, row.max(), row), row >= 0)


def draw(
    key: Key[Array, ""], member: Bool[Array, " examples"], steps: int, count: int
) -> BatchIndices:
    """Indices [steps, count], all valid, of a task that draws its own examples.

    An epoch goes through these in one random order, as often as it needs to.
    """
    at_random = jax.random.uniform(key, member.shape)
    order = jnp.argsort(jnp.where(member, at_random, 1))  # Members come first.
    at = jnp.arange(steps * count) % member.sum()
    return BatchIndices(order[at].reshape(steps, count), jnp.ones((steps, count), bool))


def pad(indices: BatchIndices, divisor: int) -> BatchIndices:
    """Adds slots that are not valid until `divisor` divides the slots of a batch."""
    extra = (0, 0), (0, -indices.row.shape[1] % divisor)
    row = jnp.pad(indices.row, extra, mode="edge")
    return BatchIndices(row, jnp.pad(indices.valid, extra))


def take(data: Data, indices: BatchIndices) -> dict[str, Array]:
    """The batch that a task's loss gets."""
    return {"valid": indices.valid} | {k: v[indices.row] for k, v in data.items()}


def length(data: Data) -> int:
    """The number of examples."""
    return len(next(iter(data.values())))


def max_rows_per_batch(
    tasks: Sequence[Task], data: Data, batch_size: int, risk: float = 1e-12
) -> tuple[int, ...]:
    """For each task, a number of rows that a batch exceeds with probability < `risk`.

    The examples of a task in a shuffled mini-batch are hypergeometric. The number is a
    multiple of 8 and at most B. For a task that draws its own examples, it is
    `Task.draws`; for one without any example, 0. `engine.Metrics.dropped` counts the
    rows that still exceed it.
    """
    total, limits = length(data), []
    for task in tasks:
        rows = int(members(task, data).sum())
        if rows == 0 or task.draws:
            limits.append(task.draws if rows else 0)
            continue
        most = _isf(risk, total, rows, min(batch_size, total))
        limits.append(min(-(-most // 8) * 8, batch_size))
    return tuple(limits)


@functools.cache
def _isf(risk: float, total: int, rows: int, batch_size: int) -> int:
    """Chunks of a stream often have as many rows of a task; this takes milliseconds."""
    from scipy import stats  # Its import takes a third of a second.

    return int(stats.hypergeom.isf(risk, total, rows, batch_size))


def never_empty(tasks: Sequence[Task], data: Data, batch_size: int) -> tuple[bool, ...]:
    """For each task, whether every mini-batch has an example of it.

    That is so if the other examples cannot fill the last batch, the shortest one.
    """
    total = length(data)
    shortest = total % batch_size or batch_size
    return tuple(
        t.draws > 0 or total - int(members(t, data).sum()) < shortest for t in tasks
    )
