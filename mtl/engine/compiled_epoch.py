"""Compiled epochs: one program for each set of tasks with a loss weight."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from mtl.engine import sharding
from mtl.engine.cpu.compiling import compiled
from mtl.engine.engine import Engine, Metrics, State
from mtl.engine.spec import Spec
from mtl.engine.split_rows import are_split
from mtl.engine.steps import sums_dtype
from mtl.engine.task import Data


class CompiledEpoch:
    """`Engine.epoch`, compiled when it is needed.

    All calls must have data of the same shapes. Trainings with the same tasks can share
    it.

    Args:
      engine: see below.
      runs_at_once: whether state, data and key have a leading axis of runs, which train
        at the same time (`fit_many`); the metrics have this axis, too.

    Attributes:
      engine: the engine of this epoch.
      seconds: of compilation, so far.
    """

    def __init__(self, engine: Engine, runs_at_once: bool = False):
        self.engine = engine
        self._runs_at_once = runs_at_once
        self.seconds = 0.0
        self._programs: dict[tuple[Any, ...], Any] = {}

    @property
    def programs(self) -> list[jax.stages.Compiled]:
        """The programs that were compiled so far."""
        return list(self._programs.values())

    def __call__(
        self,
        state: State,
        data: Data,
        loss_weights: Float[np.ndarray, " tasks"],
        learning_rate: float | np.floating | Float[np.ndarray, ""],
        key: Key[Array, "*runs"],
        engine: Engine | None = None,
    ) -> tuple[State, Metrics]:
        """Trains one epoch; see `Engine.epoch`.

        Args:
          state: after the epoch before.
          data: fields with a row for each example, on the device; with a mesh, on each
            of its devices (`sharding.replicate`), or they are copied in each epoch;
            or split over these (`split_rows.place`).
          loss_weights: of this epoch, on the host; weight 0 costs no time.
          learning_rate: of this epoch.
          key: a PRNG key, of this epoch.
          engine: for these data (`Engine.for_data`); None: `self.engine`.

        Returns:
          The new state on the device, and the metrics on the host.
        """
        # At least float32, whatever the parameters' type: losses are sums of many.
        dtype = sums_dtype(jax.tree.leaves(state.params)[0].dtype)
        engine = engine or self.engine
        active = _active(engine.spec, state, loss_weights)
        mesh = self.engine.spec.mesh
        if not are_split(data):
            data = sharding.replicate(data, mesh)
        others = np.asarray(loss_weights, dtype), np.asarray(learning_rate, dtype), key
        state, others = sharding.replicate((state, others), mesh)
        inputs = state, data, *others

        def run(engine: Engine) -> tuple[State, Metrics]:
            new, metrics = self._program(engine, active, inputs)(*inputs)
            return new, jax.device_get(metrics)

        return rerun_on_overflow(engine, run)

    def _program(
        self, engine: Engine, active: tuple[bool, ...], inputs: tuple[Any, ...]
    ) -> Any:
        spec, runs = engine.spec, inputs[-1].shape  # Of the keys: () or (runs,).
        key = spec.max_rows_per_batch, spec.never_empty, runs, active
        if key not in self._programs:
            start = time.perf_counter()
            epoch = compiled(
                _epoch_of_runs(engine) if self._runs_at_once else engine.epoch,
                engine.spec.batch_size,
                static_argnames="active",
                **sharding.replicated_results(engine.spec.mesh),
            )
            self._programs[key] = epoch.lower(*inputs, active=active).compile()
            self.seconds += time.perf_counter() - start
        return self._programs[key]


def _active(spec: Spec, state: State, loss_weights: np.ndarray) -> tuple[bool, ...]:
    weighting = spec.weighting
    if weighting and not weighting.in_batch:
        loss_weights = loss_weights * weighting.weights(state.weighting_state, None)
    given = zip(loss_weights, spec.max_rows_per_batch, strict=True)
    return tuple(bool(weight != 0) and rows > 0 for weight, rows in given)


def _epoch_of_runs(engine: Engine) -> Callable[..., tuple[State, Metrics]]:
    def epoch(
        state: State,
        data: Data,
        loss_weights: Float[Array, " tasks"],
        learning_rate: Float[Array, ""],
        key: Key[Array, " runs"],
        active: tuple[bool, ...],
    ) -> tuple[State, Metrics]:
        one = partial(engine.epoch, active=active)
        return jax.vmap(one, (0, 0, None, None, 0))(
            state, data, loss_weights, learning_rate, key
        )

    return epoch


def rerun_on_overflow(
    engine: Engine, run: Callable[[Engine], tuple[State, Any]]
) -> tuple[State, Any]:
    """Runs, and runs again with room for all rows if a mini-batch had more than fit.

    Args:
      engine: with a limit of rows that a batch exceeds once in 10^12 times.
      run: gives a state, and a result on the host with a field `dropped`.
    """
    state, result = run(engine)
    if not np.any(result.dropped):
        return state, result
    return run(engine.with_all_rows())
