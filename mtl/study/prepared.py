"""The inputs of a group's runs, which train in one program."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from ml_collections import ConfigDict

from mtl import methods, networks, optimizers
from mtl.data import label_choice
from mtl.data.datasets import Dataset
from mtl.engine import batches
from mtl.engine.engine import Engine, make_engine
from mtl.engine.task import Task
from mtl.study.grid import Run, one_config
from mtl.study.program import PER_RUN, Given
from mtl.tasks.network import Mlp


class Prepared(NamedTuple):
    """A group's runs, R with those that fill it up, as a program takes them.

    Attributes:
      config: of the first of them.
      network: of all of them.
      seeds: [R].
      engine: of all of them.
      given: their data, on the devices.
      weights: their loss weights [R, epochs, tasks], on the host.
    """

    config: ConfigDict
    network: Mlp
    seeds: np.ndarray
    engine: Engine
    given: Given
    weights: np.ndarray


def prepare(
    config: ConfigDict, dataset: Dataset, runs: Sequence[Run], mesh: Mesh
) -> Prepared:
    """Prepares runs; the last one is repeated until all devices have as many.

    Args:
      config: of the study.
      dataset: that all runs draw from.
      runs: that share their shapes.
      mesh: the devices, on an axis "run".
    """
    first, d = one_config(config, runs[0]), dataset
    network = networks.build(first, d.shape, d.classes)
    tasks = _tasks(first, network)
    made: list[tuple[np.ndarray, ...]] = []
    runs = [*runs, *[runs[-1]] * (-len(runs) % jax.device_count())]
    for run in runs:
        c = one_config(config, run)
        rows, label = label_choice.choose_rows(
            d.train.y, d.classes, run.labelled, run.unlabelled, run.seed,
            c.data.balanced,
        )  # fmt: skip
        made.append((rows, label, _weights(c, len(tasks))))
    fields = [jnp.asarray(np.stack(x)) for x in zip(*made, strict=True)]
    keys = jnp.stack([jax.random.split(jax.random.key(r.seed))[1] for r in runs])
    given = Given(fields[0], fields[1], fields[2], keys)
    return Prepared(
        config=first,
        network=network,
        seeds=np.array([run.seed for run in runs]),
        engine=_engine(first, tasks, given),
        given=jax.device_put(given, NamedSharding(mesh, PER_RUN)),
        weights=np.stack([m[2] for m in made]),
    )


def _engine(c: ConfigDict, tasks: Sequence[Task], given: Given) -> Engine:
    """One engine for all runs; their numbers of labelled rows may differ.

    An active task has a loss weight in some of the runs, and not in all of them. So the
    engine is made without data, and no task is sure to update the parameters.
    """
    engine = make_engine(
        tasks,
        batch_size=c.batch_size,
        order=c.order,
        optimizer=optimizers.make(c.optim),
        weighting=methods.weighting(c),
    )
    _, one_of_each = np.unique((given.label >= 0).sum(1), return_index=True)
    rows = [
        batches.max_rows_per_batch(tasks, {"label": given.label[i]}, c.batch_size)
        for i in one_of_each
    ]
    most = tuple(map(max, zip(*rows, strict=True)))
    return Engine(dataclasses.replace(engine.spec, max_rows_per_batch=most))


def _tasks(c: ConfigDict, network: Mlp) -> list[Task]:
    """Those of the methods that share a program: baselines have all, weighted 0."""
    own = ConfigDict(c.to_dict())
    if own.method in methods.BASELINES:
        own.method = "linear"
    return methods.make_tasks(own, network)


def _weights(c: ConfigDict, tasks: int) -> np.ndarray:
    """[epochs, tasks] of a run; a baseline has the last task alone, others 0."""
    own = methods.loss_weights(c).astype(np.float32)
    return np.pad(own, ((0, 0), (tasks - own.shape[1], 0)))
