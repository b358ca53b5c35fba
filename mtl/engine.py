"""One epoch of multi-task training, as one pure function.

The objective is J = sum over tasks of weight_task(epoch) * J_task, each J over its own
examples. An epoch shuffles, and in each mini-batch makes one gradient step an
*update*; an update is one task, or several tasks at once:

    alternate             a step for each task, in order (Algorithm 1 of ESANN 2016,
                          Algorithm 2 of arXiv 1504.07550)
    alternate_then_joint  a step for each task but the last, then one for the weighted
                          sum of all (the program that goes with arXiv 1504.07550)
    joint                 one step for the weighted sum

Each update has an optimizer state of its own. An update with no example in the batch,
or whose weights are all 0, makes no step: neither parameters nor optimizer state move.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.stats

from mtl.task import Data, Flat, Params, Task, flatten, moved_by, unflatten

Order = Literal["alternate", "alternate_then_joint", "joint"]
ORDERS = ("alternate", "alternate_then_joint", "joint")


class State(NamedTuple):
    """What training moves: the parameters, and an optimizer state for each update."""

    params: Params
    opt: tuple[optax.OptState, ...]


class Metrics(NamedTuple):
    """What an epoch reports, an entry a task, in the order of the tasks.

    loss: [T] sum of the losses of all the examples that the task stepped on.
    rows: [T] how many these were (an example counts each time it is stepped on).
    dropped: [T] examples that did not fit into `capacity`; 0, or the epoch is void.
    finite: [] whether all parameters are finite after the epoch.
    """

    loss: jax.Array
    rows: jax.Array
    dropped: jax.Array
    finite: jax.Array


class Engine(NamedTuple):
    """A pair of pure functions, to be composed with `jit`, `vmap`, `scan`.

    init: `(params) -> State`.
    epoch: `(state, data, weights[T], rate[], key) -> (State, Metrics)`.
    """

    init: Callable[[Params], State]
    epoch: Callable[..., tuple[State, Metrics]]


def make_engine(
    tasks: Sequence[Task],
    *,
    batch_size: int,
    optimizer: optax.GradientTransformation | None = None,
    order: Order = "alternate",
    capacity: Sequence[int] | None = None,
) -> Engine:
    """Builds the engine of some tasks.

    Args:
      tasks: in the order of their steps; with `alternate_then_joint` the main task
        comes last.
      batch_size: B, rows drawn from the data for each mini-batch; the last one of an
        epoch may be shorter.
      optimizer: makes updates for a rate of 1, default `optax.sgd(1.0)`; the rate of
        the epoch multiplies them.
      order: see the module.
      capacity: for each task, how many of its examples a mini-batch can hold; default
        B. A step costs what its capacity costs. `capacities` finds safe ones.
    """
    tasks = tuple(tasks)
    optimizer = optimizer or optax.sgd(1.0)
    capacity = tuple(capacity or [batch_size] * len(tasks))
    updates = _updates(order, len(tasks))

    def init(params: Params) -> State:
        moved = [moved_by([tasks[i] for i in u], params) for u in updates]
        return State(params, tuple(optimizer.init(m) for m in moved))

    def gradient_step(members, flat, opt, data, firsts, slots, weights, rate, key):
        """One step on the weighted sum of some tasks; also their sums of losses."""

        def objective(moved: Flat) -> tuple[jax.Array, jax.Array]:
            params, total, sums = unflatten({**flat, **moved}), jnp.zeros(()), []
            for i in members:
                batch = _take(data, slots[i], firsts[i])
                each = _loss_each(tasks[i], params, batch, jax.random.fold_in(key, i))
                sums.append(each.sum())
                mean = tasks[i].reduction == "mean"
                count = jnp.maximum(batch["valid"].sum(), 1) if mean else 1
                total += weights[i] * sums[-1] / count
            return total, jnp.stack(sums)

        moved = moved_by([tasks[i] for i in members], unflatten(flat))
        grads, sums = jax.grad(objective, has_aux=True)(moved)
        steps, opt = optimizer.update(grads, opt, moved)
        steps = jax.tree.map(lambda s: rate * s, steps)
        return {**flat, **optax.apply_updates(moved, steps)}, opt, sums

    def epoch(
        state: State, data: Data, weights: jax.Array, rate: jax.Array, key: jax.Array
    ) -> tuple[State, Metrics]:
        shuffle_key, step_key = jax.random.split(key)
        total = len(next(iter(data.values())))
        rows = [jnp.ones(total, bool) if t.rows is None else t.rows(data) for t in tasks]
        firsts = [jnp.argmax(r) for r in rows]
        shuffled = _shuffle(shuffle_key, total, batch_size)
        plan = [_compact(shuffled, r, c) for r, c in zip(rows, capacity, strict=True)]

        def minibatch(carry, inputs):
            (flat, opts), (step, slots) = carry, inputs
            opts, key = list(opts), jax.random.fold_in(step_key, step)
            sizes = jnp.stack([(s >= 0).sum() for s in slots])
            loss, count = jnp.zeros(len(tasks), dtype), jnp.zeros_like(sizes)
            for u, members in enumerate(updates):
                who = np.array(members)

                def move(flat, opt, members=members, u=u):
                    k = jax.random.fold_in(key, u)
                    return gradient_step(
                        members, flat, opt, data, firsts, slots, weights, rate, k
                    )

                def stay(flat, opt, who=who):
                    return flat, opt, jnp.zeros(len(who), dtype)

                active = jnp.any((weights[who] != 0) & (sizes[who] > 0))
                flat, opts[u], sums = jax.lax.cond(active, move, stay, flat, opts[u])
                loss = loss.at[who].add(sums)
                count = count.at[who].add(jnp.where(active, sizes[who], 0))
            return (flat, tuple(opts)), (loss, count)

        flat = flatten(state.params)
        dtype = jnp.result_type(*flat.values())
        (flat, opts), (loss, count) = jax.lax.scan(
            minibatch, (flat, state.opt), (jnp.arange(len(shuffled)), plan)
        )
        left = [r.sum() - (s >= 0).sum() for r, s in zip(rows, plan, strict=True)]
        finite = jnp.stack([jnp.isfinite(p).all() for p in flat.values()]).all()
        metrics = Metrics(loss.sum(0), count.sum(0), jnp.stack(left), finite)
        return State(unflatten(flat), opts), metrics

    return Engine(init, epoch)


def compiled(epoch: Callable) -> Callable:
    """`jax.jit` with the compiler options that suit an epoch, where there are any.

    On a CPU, XLA hands matrix products to a library that took half as long again as
    its own ones on the sizes of these networks (`benchmarks/README.md`).
    """
    cpu = {"xla_cpu_experimental_ynn_fusion_type": ""}
    return jax.jit(
        epoch, compiler_options=cpu if jax.default_backend() == "cpu" else None
    )


def capacities(
    tasks: Sequence[Task], data: Data, batch_size: int, risk: float = 1e-12
) -> tuple[int, ...]:
    """For each task, a capacity that a batch exceeds with probability below `risk`.

    The examples of a task in a shuffled mini-batch are hypergeometric. Multiples of 8,
    at most B. What the risk leaves is caught by `Metrics.dropped`.

    Raises:
      ValueError: no example takes part in a task.
    """
    found = []
    for task in tasks:
        total = len(next(iter(data.values())))
        rows = total if task.rows is None else int(task.rows(data).sum())
        if rows == 0:
            raise ValueError(f"no example takes part in task {task.name!r}")
        batch = min(batch_size, total)
        most = int(scipy.stats.hypergeom.isf(risk, total, rows, batch))
        found.append(min(-(-most // 8) * 8, batch_size))
    return tuple(found)


def _updates(order: Order, tasks: int) -> tuple[tuple[int, ...], ...]:
    each, joint = tuple((i,) for i in range(tasks)), tuple(range(tasks))
    return {
        "alternate": each,
        "alternate_then_joint": (*each[:-1], joint),
        "joint": (joint,),
    }[order]


def _shuffle(key: jax.Array, total: int, batch_size: int) -> jax.Array:
    """[steps, B] row numbers in random order; -1 fills the last batch up."""
    steps = -(-total // batch_size)
    order = jax.random.permutation(key, total)
    fill = jnp.full(steps * batch_size - total, -1, order.dtype)
    return jnp.concatenate([order, fill]).reshape(steps, batch_size)


def _compact(shuffled: jax.Array, rows: jax.Array, capacity: int) -> jax.Array:
    """[steps, capacity] row numbers of each batch that take part; -1 in free slots."""

    def one(batch: jax.Array) -> jax.Array:
        member = (batch >= 0) & rows[batch]
        at = jnp.flatnonzero(member, size=capacity, fill_value=len(batch))
        return jnp.append(batch, -1)[at]

    return jax.vmap(one)(shuffled)


def _take(data: Data, slots: jax.Array, first: jax.Array) -> dict[str, jax.Array]:
    """The rows in the slots; a free slot repeats the task's first example.

    Not just any row: one without x or y would bring its NaN into the gradient, which
    multiplying by 0 does not remove.
    """
    at = jnp.where(slots >= 0, slots, first)
    return {"valid": slots >= 0} | {k: v[at] for k, v in data.items()}


def _loss_each(
    task: Task, params: Params, batch: dict[str, jax.Array], key: jax.Array
) -> jax.Array:
    """[B] losses, 0 where the batch is only filled up."""
    each = task.loss(params, batch, key)
    if each.shape != batch["valid"].shape:
        raise ValueError(
            f"the loss of task {task.name!r} must give one value an example, shape "
            f"{batch['valid'].shape}, but it has shape {each.shape}"
        )
    return jnp.where(batch["valid"], each, 0)
