"""One epoch of multi-task training, as one pure function.

The objective is J = sum over tasks of loss_weight_task(epoch) * J_task, each J_task
over its own examples. An epoch shuffles, and in each mini-batch makes one gradient step
for each *update*. An update is one task, or several tasks at once:

    alternate             a step for each task, in order (Algorithm 1 of ESANN 2016,
                          Algorithm 2 of arXiv 1504.07550)
    alternate_then_joint  a step for each task but the last, then one for the weighted
                          sum of all (the program of arXiv 1504.07550)
    joint                 one step for the weighted sum

Each update has an optimizer state of its own. An update without an example in the
batch, or with loss weights of 0 alone, makes no step: its parameters and its optimizer
state stay as they are.

Loss weights are data, so another schedule runs in the same compiled program.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Key

from mtl.engine import batches, sharding, steps
from mtl.engine.spec import Order, Spec
from mtl.engine.split_rows import are_split
from mtl.engine.task import Data, Params, Task, flatten, trainable_params, unflatten
from mtl.engine.weighting import Weighting, WeightingState


class State(NamedTuple):
    """What training changes.

    params: the parameters.
    optimizer_states: one for each update.
    weighting_state: of the weighting; () without one.
    """

    params: Params
    optimizer_states: steps.OptimizerStates
    weighting_state: WeightingState = ()


class Metrics(NamedTuple):
    """The metrics of an epoch, an entry a task, in the order of the tasks.

    loss: sum of the losses of all examples in the task's update steps.
    rows: number of these examples; an example counts in each step it takes part in.
    dropped: examples beyond `Spec.max_rows_per_batch`. If not 0, the epoch is void.
    finite: whether all parameters are finite after the epoch.
    loss_weights: means of those that a weighting set; () without a weighting.
    """

    loss: Float[Array, " tasks"]
    rows: Int[Array, " tasks"]
    dropped: Int[Array, " tasks"]
    finite: Bool[Array, ""]
    loss_weights: Float[Array, " tasks"] | tuple[()] = ()


class Engine(NamedTuple):
    """Pure functions of a spec, to be composed with `jit`, `vmap` and `scan`."""

    spec: Spec

    def init(self, params: Params) -> State:
        """The state before the first epoch.

        Raises:
          ValueError: a task or the weighting names a parameter that is not there.
        """
        spec = self.spec
        _check_layer(spec.weighting, params)
        trained = [
            trainable_params([spec.tasks[i] for i in update], params)
            for update in spec.updates
        ]
        weighting_state = spec.weighting.init() if spec.weighting else ()
        optimizer_states = tuple(spec.optimizer.init(p) for p in trained)
        return State(params, optimizer_states, weighting_state)

    def epoch(
        self,
        state: State,
        data: Data,
        loss_weights: Float[Array, " tasks"],
        learning_rate: float | Float[Array, ""],
        key: Key[Array, ""],
        active: tuple[bool, ...] | None = None,
    ) -> tuple[State, Metrics]:
        """Trains one epoch.

        Args:
          state: after the epoch before.
          data: fields with a row for each example.
          loss_weights: of this epoch.
          learning_rate: of this epoch.
          key: a PRNG key, of this epoch.
          active: static; for each task, whether its loss weight may differ from 0. An
            inactive task costs no time. None: the loss weights are not known yet.
        """
        with sharding.splitting_rows(self.spec.mesh):
            return _epoch(
                self.spec, state, data, loss_weights, learning_rate, key, active
            )

    def for_data(self, data: Data) -> "Engine":
        """The same engine for other training data; a task may have no example there."""
        given = self.spec.tasks, data, self.spec.batch_size
        spec = dataclasses.replace(
            self.spec,
            max_rows_per_batch=batches.max_rows_per_batch(*given),
            never_empty=batches.never_empty(*given),
        )
        return Engine(spec)

    def with_all_rows(self) -> "Engine":
        """The same engine, slower, with room for every row of a mini-batch."""
        room = _all_rows(self.spec.tasks, self.spec.batch_size)
        return Engine(dataclasses.replace(self.spec, max_rows_per_batch=room))


def make_engine(
    tasks: Sequence[Task],
    data: Data | None = None,
    *,
    batch_size: int,
    optimizer: optax.GradientTransformation | None = None,
    order: Order = "alternate",
    weighting: Weighting | None = None,
    mesh: Mesh | None = None,
) -> Engine:
    """Builds the engine of some tasks.

    Args:
      tasks: see `Spec`.
      data: the training data, fields [N, ...]. A step then costs what the task's own
        examples cost, however few they are. None: it costs what a whole batch costs.
      batch_size: see `Spec`.
      optimizer: makes updates for a learning rate of 1; default `optax.sgd(1.0)`.
      order: see the module.
      weighting: sets loss weights that multiply those of the schedule.
      mesh: see `Spec`; `sharding.data_mesh` makes it.

    Raises:
      ValueError: no example of the data takes part in a task.
    """
    tasks = tuple(tasks)
    spec = Spec(
        tasks=tasks,
        batch_size=batch_size,
        optimizer=optimizer or optax.sgd(1.0),
        order=order,
        max_rows_per_batch=_all_rows(tasks, batch_size),
        never_empty=(False,) * len(tasks),
        weighting=weighting,
        mesh=mesh,
    )
    if data is None:
        return Engine(spec)
    engine = Engine(spec).for_data(data)
    for task, rows in zip(tasks, engine.spec.max_rows_per_batch, strict=True):
        if rows == 0:
            raise ValueError(f"no example takes part in task {task.name!r}")
    return engine


def _check_layer(weighting: Weighting | None, params: Params) -> None:
    layer, names = weighting.layer if weighting else None, flatten(params)
    if layer is not None and layer not in names:
        raise ValueError(
            f"the weighting's layer is {layer!r}, but the parameters are "
            + ", ".join(names)
        )


def _all_rows(tasks: Sequence[Task], batch_size: int) -> tuple[int, ...]:
    """`Spec.max_rows_per_batch` with room for every row of a mini-batch."""
    return tuple(task.draws or batch_size for task in tasks)


def _epoch(
    spec: Spec,
    state: State,
    data: Data,
    loss_weights: Array,
    learning_rate: float | Array,
    key: Array,
    active: tuple[bool, ...] | None,
) -> tuple[State, Metrics]:
    known = active or (False,) * len(spec.tasks)
    always = tuple(a and c for a, c in zip(known, spec.never_empty, strict=True))
    shuffle_key, step_key = jax.random.split(key)
    loss_weights = jnp.asarray(loss_weights)
    weighting = spec.weighting
    if weighting and not weighting.in_batch:
        loss_weights = loss_weights * weighting.weights(state.weighting_state, None)
    members = [batches.members(task, data) for task in spec.tasks]
    if are_split(data):
        members = sharding.constrain(members, spec.mesh, split=False)
    indices = _indices(spec, shuffle_key, members, batches.length(data))

    def body(carry: Any, number_and_rows: Any) -> tuple[Any, Any]:
        flat, optimizer_states, weighting_state = carry
        number, rows = number_and_rows
        rows = sharding.constrain(rows, spec.mesh, split=False)
        inputs = steps.Inputs(
            data, rows, loss_weights, learning_rate,
            jax.random.fold_in(step_key, number),
            active or (True,) * len(spec.tasks), always,
        )  # fmt: skip
        used: Any = ()
        if weighting and weighting.in_batch:
            result, weighting_state, used = steps.adaptive_minibatch(
                spec, inputs, flat, optimizer_states, weighting_state
            )
        else:
            result = steps.minibatch(spec, inputs, flat, optimizer_states)
        carry = result.flat, result.optimizer_states, weighting_state
        return carry, (result.loss, result.rows, used)

    start = flatten(state.params), state.optimizer_states, state.weighting_state
    count = len(indices[0].row)
    (flat, optimizer_states, weighting_state), (loss, rows, used) = jax.lax.scan(
        body, start, (jnp.arange(count), indices)
    )
    finite = jnp.stack([jnp.isfinite(p).all() for p in flat.values()]).all()
    dropped = _dropped(spec, members, indices)
    metrics = Metrics(loss.sum(0), rows.sum(0), dropped, finite)
    if weighting:
        used = used.mean(0) if weighting.in_batch else loss_weights
        metrics = metrics._replace(loss_weights=used)
        weighting_state = weighting.epoch(weighting_state, metrics.loss, metrics.rows)
    return State(unflatten(flat), optimizer_states, weighting_state), metrics


def _indices(
    spec: Spec, key: Array, members: Sequence[Array], total: int
) -> list[batches.BatchIndices]:
    """The rows of each task in each mini-batch of an epoch."""
    shuffled = batches.shuffle(key, total, spec.batch_size)
    chosen = [
        batches.draw(jax.random.fold_in(key, i), member, len(shuffled), task.draws)
        if task.draws
        else batches.select_members(shuffled, member, max(max_rows, 1))
        for i, (task, member, max_rows) in enumerate(
            zip(spec.tasks, members, spec.max_rows_per_batch, strict=True)
        )
    ]
    if spec.mesh is None:
        return chosen
    return [batches.pad(indices, spec.mesh.size) for indices in chosen]


def _dropped(
    spec: Spec,
    members: Sequence[Array],
    indices: Sequence[batches.BatchIndices],
) -> Int[Array, " tasks"]:
    """The numbers of examples that no mini-batch has room for."""
    counts = [
        member.sum() * 0 if task.draws else member.sum() - index.valid.sum()
        for task, member, index in zip(spec.tasks, members, indices, strict=True)
    ]
    return jnp.stack(counts)
