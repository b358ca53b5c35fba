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
That is a choice between two results, not a branch: a branch on the device would copy
all that it may change. What a step costs is saved before compilation, by `active`: the
tasks whose weight is not 0 in the epoch.

Weights come as data. A `Weighting` multiplies them by others that it sets itself.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl.engine import batches
from mtl.engine.task import Data, Flat, Params, Task, flatten, moved_by, unflatten
from mtl.engine.weighting import Memory, Weighting, around

Order = Literal["alternate", "alternate_then_joint", "joint"]
ORDERS = get_args(Order)


class State(NamedTuple):
    """What training moves.

    params: the parameters.
    opt: an optimizer state for each update.
    memory: what the weighting remembers; () without one.
    """

    params: Params
    opt: tuple[optax.OptState, ...]
    memory: Memory = ()


class Metrics(NamedTuple):
    """What an epoch reports, an entry a task, in the order of the tasks.

    loss: [T] sum of the losses of all the examples that the task stepped on.
    rows: [T] how many these were (an example counts each time it is stepped on).
    dropped: [T] examples that did not fit into `capacity`; 0, or the epoch is void.
    finite: [] whether all parameters are finite after the epoch.
    weights: [T] the mean of those that a weighting set; () without one, for they are
      the ones that were given.
    """

    loss: jax.Array
    rows: jax.Array
    dropped: jax.Array
    finite: jax.Array
    weights: jax.Array | tuple[()] = ()


class Engine(NamedTuple):
    """A pair of pure functions, to be composed with `jit`, `vmap`, `scan`.

    init: `(params) -> State`.
    epoch: `(state, data, weights[T], rate[], key, active=None) -> (State, Metrics)`.
      `active`, static: a bool a task, whether its weight is not 0; tasks without it
      cost nothing. None: not known before the weights are.
    """

    init: Callable[[Params], State]
    epoch: Callable[..., tuple[State, Metrics]]


class _Given(NamedTuple):
    """What a mini-batch of training is given, beside what it moves."""

    data: Data
    slots: Sequence[batches.Slots]
    weights: jax.Array
    rate: jax.Array
    key: jax.Array
    active: tuple[bool, ...]
    sure: tuple[bool, ...]  # Tasks that certainly have a weight and examples.


def make_engine(
    tasks: Sequence[Task],
    *,
    batch_size: int,
    optimizer: optax.GradientTransformation | None = None,
    order: Order = "alternate",
    capacity: Sequence[int] | None = None,
    certain: Sequence[bool] | None = None,
    weighting: Weighting | None = None,
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
        B. A step costs what its capacity costs. `batches.capacities` finds safe ones.
      certain: for each task, whether every mini-batch has an example of it
        (`batches.certain`), default none: then a step has nothing to choose.
      weighting: what sets the weights, which those that are given multiply; default:
        these are the weights.
    """
    tasks = tuple(tasks)
    optimizer = optimizer or optax.sgd(1.0)
    capacity = tuple(capacity or [batch_size] * len(tasks))
    certain = tuple(certain or [False] * len(tasks))
    updates = _updates(order, len(tasks))

    def init(params: Params) -> State:
        moved = [moved_by([tasks[i] for i in u], params) for u in updates]
        memory = weighting.init() if weighting else ()
        return State(params, tuple(optimizer.init(m) for m in moved), memory)

    def objective(
        moved: Flat, flat: Flat, update: tuple[int, ...], given: _Given
    ) -> tuple[jax.Array, jax.Array]:
        """The weighted sum of an update's tasks, and the sum of losses of each."""
        params, total, sums = unflatten({**flat, **moved}), jnp.zeros(()), []
        for i in update:
            if not given.active[i]:
                sums.append(jnp.zeros(()))
                continue
            batch = batches.take(given.data, given.slots[i])
            loss = _losses(tasks[i], params, batch, jax.random.fold_in(given.key, i))
            sums.append(loss.sum())
            count, penalty = batch["valid"].sum(), tasks[i].penalty
            mean = tasks[i].reduction == "mean"
            cost = sums[-1] / jnp.maximum(count, 1) if mean else sums[-1]
            if penalty:
                cost += jnp.where(count > 0, penalty(params), 0)
            total += given.weights[i] * cost
        return total, jnp.stack(sums).astype(given.weights.dtype)

    def step(
        update: tuple[int, ...],
        given: _Given,
        flat: Flat,
        opt: optax.OptState,
        moves: jax.Array | Literal[True],
        known: tuple[Flat, jax.Array] | None,
    ) -> tuple[Flat, optax.OptState, jax.Array]:
        """One gradient step, if it `moves`; what it moved, and the sums of losses.

        `known`: its gradient and the sums, where somebody has looked before.
        """
        old = moved_by([tasks[i] for i in update], unflatten(flat)), opt
        gradient = jax.grad(objective, has_aux=True)
        grads, sums = known or gradient(old[0], flat, update, given)
        steps, opt = optimizer.update(grads, opt, old[0])
        steps = jax.tree.map(lambda s: given.rate * s, steps)
        new = optax.apply_updates(old[0], steps), opt
        if moves is not True:
            new = jax.tree.map(partial(jnp.where, moves), new, old)
        return *new, sums

    def minibatch(
        flat: Flat,
        opts: tuple[optax.OptState, ...],
        given: _Given,
        known: tuple[Flat, jax.Array] | None = None,
    ) -> tuple[Flat, tuple[optax.OptState, ...], jax.Array, jax.Array]:
        """All the updates, in order; the tasks' sums of losses and rows."""
        size = jnp.stack([s.valid.sum() for s in given.slots])
        loss, rows = jnp.zeros_like(given.weights), jnp.zeros_like(size)
        new = []
        for u, (update, opt) in enumerate(zip(updates, opts, strict=True)):
            if not any(given.active[i] for i in update):
                new.append(opt)
                continue
            who = np.array(update)
            moves = any(given.sure[i] for i in update) or jnp.any(
                (given.weights[who] != 0) & (size[who] > 0)
            )
            key = jax.random.fold_in(given.key, u)
            here, found = given._replace(key=key), known if u == 0 else None
            moved, opt, sums = step(update, here, flat, opt, moves, found)
            flat = {**flat, **moved}
            new.append(opt)
            counts = moves & (given.weights[who] != 0)
            loss = loss.at[who].add(jnp.where(counts, sums, 0))
            rows = rows.at[who].add(jnp.where(counts, size[who], 0))
        return flat, tuple(new), loss, rows

    def epoch(
        state: State,
        data: Data,
        weights: jax.Array,
        rate: jax.Array,
        key: jax.Array,
        active: tuple[bool, ...] | None = None,
    ) -> tuple[State, Metrics]:
        known = active or (False,) * len(tasks)
        sure = tuple(a and c for a, c in zip(known, certain, strict=True))
        active = active or (True,) * len(tasks)
        shuffle_key, step_key = jax.random.split(key)
        weights = jnp.asarray(weights)
        if weighting and not weighting.in_batch:
            weights = weights * weighting.weights(state.memory, None)
        shuffled = batches.shuffle(shuffle_key, batches.length(data), batch_size)
        members = [batches.members(task, data) for task in tasks]
        keys = [jax.random.fold_in(shuffle_key, i) for i in range(len(tasks))]
        plan = [
            batches.draw(k, m, len(shuffled), t.draws)
            if t.draws
            else batches.compact(shuffled, m, c)
            for t, m, c, k in zip(tasks, members, capacity, keys, strict=True)
        ]

        def body(carry: Any, inputs: Any) -> tuple[Any, Any]:
            number, slots = inputs
            key = jax.random.fold_in(step_key, number)
            given = _Given(data, slots, weights, rate, key, active, sure)
            if weighting and weighting.in_batch:
                run = around(weighting, tasks, updates, objective, minibatch)
                return run(carry, given)
            flat, opts, memory = carry
            flat, opts, loss, rows = minibatch(flat, opts, given)
            return (flat, opts, memory), (loss, rows, ())

        start = flatten(state.params), state.opt, state.memory
        (flat, opts, memory), (loss, rows, used) = jax.lax.scan(
            body, start, (jnp.arange(len(shuffled)), plan)
        )
        dropped = [
            m.sum() * 0 if t.draws else m.sum() - slots.valid.sum()
            for t, m, slots in zip(tasks, members, plan, strict=True)
        ]
        finite = jnp.stack([jnp.isfinite(p).all() for p in flat.values()]).all()
        metrics = Metrics(loss.sum(0), rows.sum(0), jnp.stack(dropped), finite)
        if weighting:
            used = used.mean(0) if weighting.in_batch else weights
            metrics = metrics._replace(weights=used)
            memory = weighting.epoch(memory, metrics.loss, metrics.rows)
        return State(unflatten(flat), opts, memory), metrics

    return Engine(init, epoch)


def _updates(order: Order, tasks: int) -> tuple[tuple[int, ...], ...]:
    """Which tasks each step of a mini-batch takes, by their numbers."""
    each, joint = tuple((i,) for i in range(tasks)), tuple(range(tasks))
    return {
        "alternate": each,
        "alternate_then_joint": (*each[:-1], joint),
        "joint": (joint,),
    }[order]


def _losses(
    task: Task, params: Params, batch: dict[str, jax.Array], key: jax.Array
) -> jax.Array:
    """[C] losses, 0 in the slots that are free."""
    loss = task.loss(params, batch, key)
    if loss.shape != batch["valid"].shape:
        raise ValueError(
            f"the loss of task {task.name!r} must give one value an example, shape "
            f"{batch['valid'].shape}, but it has shape {loss.shape}"
        )
    return jnp.where(batch["valid"], loss, 0)
