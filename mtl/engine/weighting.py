"""Importance weights that set themselves, where a table of them is not enough.

What such a method remembers is a tree of arrays, `engine.State.memory`. One that learns
in a mini-batch sets its weights at the beginning of it, from the J of all tasks there,
and learns at its end. With one joint step this is what the papers do. With steps in
turn it is the natural reading: the same weights, used step by step.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl.engine.task import Flat, Task, moved_by, unflatten

Memory = Any


class Batch(NamedTuple):
    """What a weighting sees of a mini-batch, an entry a task, in the tasks' order.

    cost: [T] J before the steps, with the rows and noise of the task's step.
    present: bool[T], whether there is a row of the task, and it is to be weighted.
    rate: [] the learning rate.
    norm: [T] Euclidean, of J's gradient for `Weighting.layer`, before the steps.
    after: [T] J after the steps, if `Weighting.looks_back`.
    """

    cost: jax.Array
    present: jax.Array
    rate: jax.Array
    norm: jax.Array
    after: jax.Array


def _keep(memory: Memory, *_: Any) -> Memory:
    return memory


class Weighting(NamedTuple):
    """A method, as pure functions, to be composed with `jit`, `vmap`, `scan`.

    The engine calls all but `observe`, which is for who evaluates.

    init: `() -> Memory`.
    weights: `(memory, batch) -> [T]`.
    in_batch: whether each mini-batch gets weights of its own; else an epoch has the
      same throughout, and `batch` is None.
    step: `(memory, batch) -> memory`, after each mini-batch, if `in_batch`.
    epoch: `(memory, loss[T], rows[T]) -> memory`, after each epoch; sums, as in
      `engine.Metrics`.
    observe: `(memory, {name: number}) -> memory`, after each evaluation.
    layer: the parameter, as in "encoder/1/kernel", whose gradients' norms `step` needs.
    looks_back: whether `step` needs the costs after the steps.
    """

    init: Callable[[], Memory]
    weights: Callable[[Memory, Any], jax.Array]
    in_batch: bool = False
    step: Callable[[Memory, Batch], Memory] = _keep
    epoch: Callable[[Memory, jax.Array, jax.Array], Memory] = _keep
    observe: Callable[[Memory, Mapping[str, Any]], Memory] = _keep
    layer: str | None = None
    looks_back: bool = False


def around(
    w: Weighting,
    tasks: Sequence[Task],
    updates: Sequence[tuple[int, ...]],
    objective: Callable[..., tuple[jax.Array, jax.Array]],
    minibatch: Callable[..., tuple],
) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Puts a weighting around the mini-batch of an engine, whose functions it takes.

    Returns:
      `((flat, opts, memory), given) -> ((flat, opts, memory), (loss, rows, weights))`.
    """
    gradient = jax.value_and_grad(objective, has_aux=True)
    first = [
        next(n for n, u in enumerate(updates) if i in u) for i in range(len(tasks))
    ]

    def look(i: int, moved: Flat, flat: Flat, given: Any) -> tuple[tuple, Flat]:
        """A task's (J, sum of losses) as its first step has them, and the gradient."""
        key = jax.random.fold_in(given.key, first[i])
        ones = jnp.ones_like(given.weights)
        return gradient(moved, flat, (i,), given._replace(key=key, weights=ones))

    def weighted(carry: Any, given: Any) -> tuple[Any, Any]:
        flat, opts, memory = carry
        costs, sums, norms, grads = [], [], [], []
        for i, task in enumerate(tasks):
            moved = {w.layer: flat[w.layer]} if w.layer else {}
            if first[i] == 0:  # The step that comes first has no need to look again.
                moved = moved_by([task], unflatten(flat))
            (cost, own), grad = look(i, moved, flat, given)
            costs.append(cost)
            sums.append(own[0])
            norms.append(optax.tree.norm(grad[w.layer] if w.layer else {}))
            grads.append(grad)
        size = jnp.stack([s.valid.sum() for s in given.slots])
        present = (size > 0) & (given.weights != 0) & np.array(given.active)
        before = jnp.stack(costs)
        seen = Batch(before, present, given.rate, jnp.stack(norms), before)
        given = given._replace(weights=given.weights * w.weights(memory, seen))
        total: Flat = {}
        for i in updates[0]:
            for name, g in grads[i].items():
                total[name] = total.get(name, 0) + given.weights[i] * g
        known = total, jnp.stack([sums[i] for i in updates[0]])
        flat, opts, loss, rows = minibatch(flat, opts, given, known)
        if w.looks_back:
            after = [look(i, {}, flat, given)[0][0] for i in range(len(tasks))]
            seen = seen._replace(after=jnp.stack(after))
        return (flat, opts, w.step(memory, seen)), (loss, rows, given.weights)

    return weighted
