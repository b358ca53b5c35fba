"""A training, before any of it is computed, and what is checked of it."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from mtl.engine import sharding
from mtl.engine.spec import Order
from mtl.engine.streams import Stream, check_fields
from mtl.engine.task import Data, Params, Task
from mtl.engine.weighting import Weighting


@dataclasses.dataclass(frozen=True)
class Training:
    """A training, before any of it is computed.

    Attributes:
      tasks, order, optimizer, batch_size, weighting: see `engine.make_engine`.
      loss_weights: [epochs, tasks]; 1 where a weighting sets them.
      learning_rates: [epochs].
      data: fields [N, ...], on the device; or a stream; each epoch trains one
        chunk of it.
      params: the initial parameters.
      key: the PRNG key of the whole run.
      evaluate: `params -> {name: number}`; names like "valid/error".
      monitor: the metric that chooses the best epoch.
      monitor_mode: whether it is lowest ("min") or highest ("max") there.
      finalize_params: `params -> params`, from those that training changes to those
        that are evaluated and saved as the best. With batch normalisation, it sets the
        statistics of the training set. None: they are the same.
      eval_every: epochs between two evaluations. The last epoch is always evaluated.
      save_every: epochs between two checkpoints. The last epoch is always saved.
      save_minutes: the longest time between two checkpoints, in minutes.
      patience: stop after so many epochs without a better `monitor`; 0: never.
      mesh: the devices that share the rows of a mini-batch (`sharding.data_mesh`);
        None: one. `finalize_params` and `evaluate` run on one device.
      shard_data: whether each device of the mesh holds its part of the rows of `data`
        alone (`split_rows`), and not all of them. The result is the same. Arrays are
        best NumPy's then, so that no device has held them whole.
      quiet: whether to print nothing.
    """

    tasks: Sequence[Task]
    loss_weights: np.ndarray
    learning_rates: np.ndarray
    data: Data | Stream
    params: Params
    key: jax.Array
    evaluate: Callable[[Params], dict[str, Any]]
    monitor: str
    batch_size: int
    monitor_mode: Literal["min", "max"] = "min"
    order: Order = "alternate"
    optimizer: optax.GradientTransformation | None = None
    weighting: Weighting | None = None
    finalize_params: Callable[[Params], Params] | None = None
    eval_every: int = 1
    save_every: int = 1
    save_minutes: float = math.inf
    patience: int = 0
    mesh: Mesh | None = None
    shard_data: bool = False
    quiet: bool = False


def check(t: Training) -> None:
    """Refuses a training that contradicts itself, before anything is computed.

    Raises:
      ValueError: names the field, its value and the fix.
    """
    shape, tasks = np.shape(t.loss_weights), len(t.tasks)
    if len(shape) != 2 or shape[1] != tasks:
        raise ValueError(
            f"loss_weights has shape {shape}, but must be [epochs, tasks] for {tasks} "
            "tasks; see schedules.table"
        )
    if np.shape(t.learning_rates) != shape[:1]:
        raise ValueError(
            f"learning_rates has shape {np.shape(t.learning_rates)}, but must have one "
            f"value for each of the {shape[0]} epochs of loss_weights"
        )
    if not isinstance(t.data, Stream):
        check_fields(t.data)


def check_monitor(t: Training) -> None:
    """Evaluates the initial parameters, to see whether `monitor` is there."""
    names = sorted(t.evaluate(finalized(t, t.params)))
    if t.monitor not in names:
        raise ValueError(
            f"monitor={t.monitor!r}, but `evaluate` returns {', '.join(names)}"
        )


def finalized(t: Training, params: Params) -> Params:
    """The parameters that are evaluated, on one device."""
    params = sharding.on_one_device(params, t.mesh)
    return t.finalize_params(params) if t.finalize_params else params
