"""One compiled program that takes many runs through some epochs.

An accelerator trains the runs at once (`vmap`); a CPU trains them one after the other,
for its cache does not hold more, on as many devices as it has cores. Several devices
share the runs out. First and last epoch are data, so that parts of any length share a
program.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from mtl.engine import batches
from mtl.engine.engine import Engine, State
from mtl.engine.task import Params

PER_RUN, REPLICATED = PartitionSpec("run"), PartitionSpec()


class Given(NamedTuple):
    """What each run is given [R, ...]: rows, labels, weights [epochs, tasks], key."""

    rows: jax.Array
    label: jax.Array
    weights: jax.Array
    key: jax.Array


# Images and labels of the validation and the test set, by name.
Held: TypeAlias = dict[str, tuple[jax.Array, jax.Array]]


class Shared(NamedTuple):
    """What all runs read: training images, the rate of each epoch, what evaluates."""

    images: jax.Array
    rates: jax.Array
    held: Held


Carry: TypeAlias = tuple[State, jax.Array, jax.Array]  # State, finite, dropped rows.


class Part(NamedTuple):
    """The result of a chunk of epochs for each run: finite, dropped rows, metrics."""

    fine: jax.Array
    dropped: jax.Array
    row: dict[str, jax.Array]


def make(
    engine: Engine,
    measure: Callable[[Params, batches.Rows, Held], dict[str, jax.Array]],
    active: tuple[bool, ...],
    mesh: Mesh,
    at_once: bool,
) -> Callable[..., tuple[State, Part]]:
    """`(states [R], given [R], shared, start, stop) -> (states, part [R])`.

    Args:
      engine: of all the runs.
      measure: evaluates parameters, given the training images, on `Shared.held`.
      active: see `engine.Engine`; tasks that any of the runs has a weight for.
      mesh: devices on an axis "run", which R is a multiple of.
      at_once: whether the runs of a device step together.
    """

    def one(
        own: tuple[State, Given], shared: Shared, start: jax.Array, stop: jax.Array
    ) -> tuple[State, Part]:
        state, given = own
        rows = batches.Rows(shared.images, given.rows)
        data = {"image": rows, "label": given.label}

        def epoch(t: jax.Array, carry: Carry) -> Carry:
            state, fine, dropped = carry
            key = jax.random.fold_in(given.key, t)
            weights, rate = given.weights[t], shared.rates[t]
            state, m = engine.epoch(state, data, weights, rate, key, active)
            fine &= m.finite & jnp.isfinite(m.loss).all()
            return state, fine, dropped + m.dropped.sum()

        first = state, jnp.array(True), jnp.array(0)
        state, fine, dropped = jax.lax.fori_loop(start, stop, epoch, first)
        row = measure(state.params, rows, shared.held)
        weighting = engine.spec.weighting
        if weighting:  # It learns from the evaluation.
            observed = weighting.observe(state.weighting_state, row)
            state = state._replace(weighting_state=observed)
        return state, Part(fine, dropped, row)

    def every(
        states: State, given: Given, shared: Shared, start: jax.Array, stop: jax.Array
    ) -> tuple[State, Part]:
        each = partial(one, shared=shared, start=start, stop=stop)
        runs = (states, given)
        return jax.vmap(each)(runs) if at_once else jax.lax.map(each, runs)

    specs = (PER_RUN, PER_RUN, REPLICATED, REPLICATED, REPLICATED)
    return jax.shard_map(
        every, mesh=mesh, in_specs=specs, out_specs=PER_RUN, check_vma=False
    )
