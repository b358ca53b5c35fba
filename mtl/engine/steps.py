"""The update steps of one mini-batch, as pure functions of a `Spec`.

`minibatch` makes one gradient step an update. `adaptive_minibatch` first asks a
`Weighting` for the loss weights, from the costs of all tasks before the steps.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, Key

from mtl.engine import batches, sharding
from mtl.engine.spec import Spec
from mtl.engine.task import (
    Data,
    Flat,
    Params,
    Task,
    trainable_params,
    unflatten,
)
from mtl.engine.weighting import Batch, WeightingState

OptimizerStates = tuple[optax.OptState, ...]


class Inputs(NamedTuple):
    """The inputs of a mini-batch, besides the state.

    data: all examples.
    indices: the rows of each task.
    loss_weights: of the mini-batch.
    learning_rate: of the mini-batch.
    key: a PRNG key.
    active: for each task, whether it may have a loss weight other than 0.
    always_updates: for each task, whether every batch has it, with a loss weight.
    """

    data: Data
    indices: Sequence[batches.BatchIndices]
    loss_weights: Float[Array, " tasks"]
    learning_rate: float | Float[Array, ""]
    key: Key[Array, ""]
    active: tuple[bool, ...]
    always_updates: tuple[bool, ...]


class MinibatchResult(NamedTuple):
    """A mini-batch's results: the state, and sums of losses and numbers of rows."""

    flat: Flat
    optimizer_states: OptimizerStates
    loss: Float[Array, " tasks"]
    rows: Int[Array, " tasks"]


def objective(
    trained: Flat, flat: Flat, spec: Spec, update: tuple[int, ...], inputs: Inputs
) -> tuple[Float[Array, ""], Float[Array, " updated"]]:
    """J of an update, the weighted sum of its tasks' costs, at least in float32.

    Args:
      trained: the parameters that J is differentiated for.
      flat: all parameters.
      spec: of the engine.
      update: the numbers of its tasks.
      inputs: of the mini-batch.

    Returns:
      J, and the sum of losses of each of the tasks.
    """
    params, total, sums = unflatten({**flat, **trained}), jnp.zeros(()), []
    for i in update:
        if not inputs.active[i]:
            sums.append(jnp.zeros(()))
            continue
        task, key = spec.tasks[i], jax.random.fold_in(inputs.key, i)
        batch = batches.take(inputs.data, inputs.indices[i])
        batch = sharding.constrain(batch, spec.mesh, split=True)
        loss = _losses(task, params, batch, key)
        sums.append(loss.sum())
        count = inputs.indices[i].valid.sum()
        mean = task.reduction == "mean"
        cost = sums[-1] / jnp.maximum(count, 1) if mean else sums[-1]
        if task.penalty:
            cost += jnp.where(count > 0, task.penalty(params), 0)
        total += inputs.loss_weights[i] * cost
    return total, jnp.stack(sums).astype(sums_dtype(inputs.loss_weights.dtype))


def minibatch(
    spec: Spec,
    inputs: Inputs,
    flat: Flat,
    optimizer_states: OptimizerStates,
    first_grad: tuple[Flat, Float[Array, " updated"]] | None = None,
) -> MinibatchResult:
    """Makes all update steps of a mini-batch, in order.

    Args:
      spec: of the engine.
      inputs: of the mini-batch.
      flat: all parameters.
      optimizer_states: one for each update.
      first_grad: the first update's gradient and sums of losses, if already computed.
    """
    size = jnp.stack([index.valid.sum() for index in inputs.indices])
    dtype = sums_dtype(inputs.loss_weights.dtype)
    loss, rows = jnp.zeros_like(inputs.loss_weights, dtype), jnp.zeros_like(size)
    new = []
    for u, (update, old) in enumerate(zip(spec.updates, optimizer_states, strict=True)):
        if not any(inputs.active[i] for i in update):
            new.append(old)
            continue
        numbers = np.array(update)
        do_update = any(inputs.always_updates[i] for i in update) or jnp.any(
            (inputs.loss_weights[numbers] != 0) & (size[numbers] > 0)
        )
        own = inputs._replace(key=jax.random.fold_in(inputs.key, u))
        cached_grad = first_grad if u == 0 else None
        trained, state, sums = _step(
            spec, update, own, flat, old, do_update, cached_grad
        )
        flat = {**flat, **trained}
        new.append(state)
        counts = do_update & (inputs.loss_weights[numbers] != 0)
        loss = loss.at[numbers].add(jnp.where(counts, sums, 0))
        rows = rows.at[numbers].add(jnp.where(counts, size[numbers], 0))
    return MinibatchResult(flat, tuple(new), loss, rows)


def adaptive_minibatch(
    spec: Spec,
    inputs: Inputs,
    flat: Flat,
    optimizer_states: OptimizerStates,
    weighting_state: WeightingState,
) -> tuple[MinibatchResult, WeightingState, Float[Array, " tasks"]]:
    """A mini-batch with loss weights that the weighting sets.

    Returns:
      The mini-batch's result, the new weighting state, and the loss weights.
    """
    weighting = spec.weighting
    assert weighting is not None
    costs = [_task_cost(spec, i, flat, inputs) for i in range(len(spec.tasks))]
    before = jnp.stack([c.cost for c in costs])
    norms = [
        optax.tree.norm(c.grad[weighting.layer] if weighting.layer else {})
        for c in costs
    ]
    size = jnp.stack([index.valid.sum() for index in inputs.indices])
    present = (size > 0) & (inputs.loss_weights != 0) & np.array(inputs.active)
    batch = Batch(before, present, inputs.learning_rate, jnp.stack(norms), before)
    adapted = inputs.loss_weights * weighting.weights(weighting_state, batch)
    inputs = inputs._replace(loss_weights=adapted)
    # The tasks' gradients, already computed, are those of the first update.
    grads: Flat = {}
    for i in spec.updates[0]:
        for name, g in costs[i].grad.items():
            grads[name] = grads.get(name, 0) + (adapted[i] * g).astype(g.dtype)
    sums = jnp.stack([costs[i].loss for i in spec.updates[0]])
    result = minibatch(spec, inputs, flat, optimizer_states, (grads, sums))
    if weighting.needs_cost_after:
        after = [
            _task_cost(spec, i, result.flat, inputs, grad=False).cost
            for i in range(len(spec.tasks))
        ]
        batch = batch._replace(after=jnp.stack(after))
    return result, weighting.step(weighting_state, batch), adapted


class _Cost(NamedTuple):
    """J and the sum of losses of one task, and the gradient of J."""

    cost: Float[Array, ""]
    loss: Float[Array, ""]
    grad: Flat


def _task_cost(
    spec: Spec, i: int, flat: Flat, inputs: Inputs, grad: bool = True
) -> _Cost:
    """The cost of a task with the key of the first update that it takes part in.

    The gradient is for the parameters of the task, if this update is the first one, and
    for the weighting's layer otherwise; none if `grad` is False.
    """
    first = next(n for n, update in enumerate(spec.updates) if i in update)
    layer = spec.weighting.layer if spec.weighting else None
    trained: Flat = {}
    if grad and first == 0:
        trained = trainable_params([spec.tasks[i]], unflatten(flat))
    elif grad and layer:
        trained = {layer: flat[layer]}
    own = inputs._replace(
        key=jax.random.fold_in(inputs.key, first),
        loss_weights=jnp.ones_like(inputs.loss_weights),
    )
    value_and_grad = jax.value_and_grad(objective, has_aux=True)
    (cost, sums), grads = value_and_grad(trained, flat, spec, (i,), own)
    return _Cost(cost, sums[0], grads)


def _step(
    spec: Spec,
    update: tuple[int, ...],
    inputs: Inputs,
    flat: Flat,
    optimizer_state: optax.OptState,
    do_update: Bool[Array, ""] | Literal[True],
    cached_grad: tuple[Flat, Array] | None,
) -> tuple[Flat, optax.OptState, Float[Array, " updated"]]:
    """One gradient step, if `do_update`.

    Returns:
      The update's parameters, its optimizer state, and the sums of losses.
    """
    trained = trainable_params([spec.tasks[i] for i in update], unflatten(flat))
    gradient = jax.grad(objective, has_aux=True)
    grads, sums = cached_grad or gradient(trained, flat, spec, update, inputs)
    steps, state = spec.optimizer.update(grads, optimizer_state, trained)
    steps = jax.tree.map(lambda s: inputs.learning_rate * s, steps)
    new: Any = optax.apply_updates(trained, steps), state
    if do_update is not True:
        # A choice between two results. A branch would copy all that it may change.
        keep = partial(jnp.where, do_update)
        new = jax.tree.map(keep, new, (trained, optimizer_state))
    return *new, sums


def _losses(
    task: Task, params: Params, batch: dict[str, Array], key: Array
) -> Float[Array, " batch"]:
    """The losses, 0 in rows that only fill the batch up, at least in float32."""
    loss = task.loss(params, batch, key)
    if loss.shape != batch["valid"].shape:
        raise ValueError(
            f"the loss of task {task.name!r} must give one value an example, shape "
            f"{batch['valid'].shape}, but it has shape {loss.shape}"
        )
    return jnp.where(batch["valid"], loss, 0).astype(sums_dtype(loss.dtype))


def sums_dtype(dtype: DTypeLike) -> np.dtype:
    """The type of sums of numbers of a type: float32 for narrower types."""
    return jnp.promote_types(dtype, jnp.float32)
